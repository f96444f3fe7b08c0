"""Plain data in, figures and Markdown out."""

from starterkit.reports.descriptions import (
    Place,
    Trained,
    experiment_text,
    model_text,
    run_text,
    version_text,
)
from starterkit.reports.figures import confusion_figure, importance_figure, residual_figure, roc_figure

__all__ = [
    "Place",
    "Trained",
    "confusion_figure",
    "experiment_text",
    "importance_figure",
    "model_text",
    "residual_figure",
    "roc_figure",
    "run_text",
    "version_text",
]
