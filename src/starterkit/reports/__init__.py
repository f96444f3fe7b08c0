"""Plain data in, figures, Markdown and HTML out."""

from starterkit.reports.descriptions import (
    Place,
    Trained,
    experiment_text,
    model_text,
    run_text,
    version_text,
)
from starterkit.reports.figures import (
    confusion_figure,
    importance_figure,
    latency_figure,
    residual_figure,
    roc_figure,
)
from starterkit.reports.gate_page import gate_page

__all__ = [
    "Place",
    "Trained",
    "confusion_figure",
    "experiment_text",
    "gate_page",
    "importance_figure",
    "latency_figure",
    "model_text",
    "residual_figure",
    "roc_figure",
    "run_text",
    "version_text",
]
