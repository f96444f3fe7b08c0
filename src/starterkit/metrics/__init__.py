"""The figures by which a model is judged: what they are called, which way is better, and how they are computed."""

from starterkit.metrics.figures import WeightedFigure, compute_scores, weighted_figure
from starterkit.metrics.names import METRICS, Metric, Scores, metrics_for

__all__ = ["METRICS", "Metric", "Scores", "WeightedFigure", "compute_scores", "metrics_for", "weighted_figure"]
