"""Plain data in, figures and pages out."""

from starterkit.reports.figures import confusion_figure, importance_figure, residual_figure, roc_figure

__all__ = ["confusion_figure", "importance_figure", "residual_figure", "roc_figure"]
