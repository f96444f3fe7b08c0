"""The figures by which a model is judged: what they are called, which way is better, and how they are computed."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starterkit.contract import Prediction, Scalar, Task

# --- The names under which MLflow shows the figures, and which way is better.

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


# --- Every metric as a function of the rows' weights, so that a figure and a resampled figure are one definition.
#
# A row that a resample draws three times weighs three. Weights of one give the plain figure, which is scikit-learn's.

Weights = NDArray[np.float64]
"""b × n: how much each of n rows counts in each of b resamples."""
WeightedFigure = Callable[[Weights], NDArray[np.float64]]
"""Gives b figures for b × n weights, NaN where a resample has none (a class that it lacks)."""

_SMALLEST = np.finfo(np.float64).eps
"""A probability of zero counts as this in the log loss, as in scikit-learn."""


def compute_scores(task: Task, actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> Scores:
    """Every metric of the task, over n actual values and the prediction for them.

    `classes` are a classifier's labels in the order of its probabilities.
    """
    once = np.ones((1, len(actual)))
    return {
        metric.name: float(weighted_figure(metric.name, actual, prediction, classes)(once)[0])
        for metric in metrics_for(task)
    }


def weighted_figure(
    metric: str, actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]
) -> WeightedFigure:
    """The metric of these answers, as a function of the rows' weights."""
    if prediction.probabilities is None:
        error = np.asarray(prediction.values, dtype=np.float64) - np.asarray(actual, dtype=np.float64)
        return _REGRESSION[metric](np.asarray(actual, dtype=np.float64), error)
    if metric == "accuracy":
        return _mean((prediction.values == actual).astype(np.float64))
    if metric == "log_loss":
        return _log_loss(actual, prediction.probabilities, classes)
    return _roc_auc(actual, prediction.probabilities, classes)


def _mean(values: NDArray[np.float64]) -> WeightedFigure:
    return lambda weights: weights @ values / weights.sum(axis=1)


def _rmse(actual: NDArray[np.float64], error: NDArray[np.float64]) -> WeightedFigure:
    mean = _mean(error**2)
    return lambda weights: np.sqrt(mean(weights))


def _mae(actual: NDArray[np.float64], error: NDArray[np.float64]) -> WeightedFigure:
    return _mean(np.abs(error))


def _r2(actual: NDArray[np.float64], error: NDArray[np.float64]) -> WeightedFigure:
    """One minus squared error over the squared distance from the (weighted) mean. A constant target has none."""
    square, centred = error**2, actual - actual.mean()  # the sums below lose digits far from zero

    def figure(weights: Weights) -> NDArray[np.float64]:
        total = weights.sum(axis=1)
        around = weights @ centred**2
        spread = around - (weights @ centred) ** 2 / total
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(spread > 1e-12 * around, 1 - weights @ square / spread, np.nan)

    return figure


def _log_loss(actual: NDArray[Any], probabilities: NDArray[np.float64], classes: Sequence[Scalar]) -> WeightedFigure:
    own = np.full(len(actual), np.nan)
    for place, label in enumerate(classes):
        mine = actual == label
        own[mine] = probabilities[mine, place]
    return _mean(-np.log(np.clip(own, _SMALLEST, 1 - _SMALLEST)))


def _roc_auc(actual: NDArray[Any], probabilities: NDArray[np.float64], classes: Sequence[Scalar]) -> WeightedFigure:
    """The area for the second of two classes; with more, the mean over each class against the rest."""
    places = [1] if len(classes) == 2 else range(len(classes))
    areas = [_area(actual == classes[place], probabilities[:, place]) for place in places]
    return lambda weights: np.mean([area(weights) for area in areas], axis=0)


def _area(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> WeightedFigure:
    """The chance that a positive row scores above a negative one, where a tie counts half.

    Source: Hanley and McNeil, "The meaning and use of the area under a ROC curve", Radiology 143 (1982).
    """
    order = np.argsort(score, kind="stable")
    ordered, is_positive = score[order], positive[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])  # equal scores stand together

    def figure(weights: Weights) -> NDArray[np.float64]:
        sorted_weights = weights[:, order]
        positives = np.add.reduceat(sorted_weights * is_positive, starts, axis=1)
        negatives = np.add.reduceat(sorted_weights * ~is_positive, starts, axis=1)
        below = np.cumsum(negatives, axis=1) - negatives
        pairs = positives.sum(axis=1) * negatives.sum(axis=1)
        won = np.sum(positives * (below + negatives / 2), axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(pairs > 0, won / pairs, np.nan)

    if np.isnan(score).any():
        return lambda weights: np.full(len(weights), np.nan)
    return figure


_REGRESSION: Mapping[str, Callable[[NDArray[np.float64], NDArray[np.float64]], WeightedFigure]] = {
    "rmse": _rmse,
    "mae": _mae,
    "r2": _r2,
}
