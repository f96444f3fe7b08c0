"""The names under which MLflow shows the figures, and which way is better."""

from collections.abc import Mapping
from dataclasses import dataclass

from starterkit.contract import Task

Scores = Mapping[str, float]
"""Figures by metric name."""


@dataclass(frozen=True)
class Metric:
    """One figure, and which way is better."""

    name: str
    task: Task
    greater_is_better: bool

    def loss(self, figure: float) -> float:
        """What is left to improve. The metrics of which more is better are all bounded by 1."""
        return 1 - figure if self.greater_is_better else figure

    def shortfall(self, figure: float, reference: float) -> float:
        """How much worse `figure` is than `reference`, in the metric's own unit; negative where it is better."""
        return reference - figure if self.greater_is_better else figure - reference


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("rmse", "regression", greater_is_better=False),
        Metric("mae", "regression", greater_is_better=False),
        Metric("r2", "regression", greater_is_better=True),
        Metric("log_loss", "classification", greater_is_better=False),
        Metric("roc_auc", "classification", greater_is_better=True),
        Metric("accuracy", "classification", greater_is_better=True),
    )
}


def metrics_for(task: Task) -> tuple[Metric, ...]:
    """The metrics that are computed for every model of a task."""
    return tuple(metric for metric in METRICS.values() if metric.task == task)
