"""The figures by which a model is judged: what they are called, which way is better, and how they are computed."""

import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starterkit.contract import Prediction, Scalar, Task
from starterkit.errors import KitError, ProblemError, place_of

Scores = Mapping[str, float]
"""Figures by metric name."""

# --- A metric is a function of the rows' weights, so that a figure and a resampled figure are one definition.
#
# A row that a resample draws three times weighs three. Weights of one give the plain figure, which is scikit-learn's.

Weights = NDArray[np.float64]
"""b × n: how much each of n rows counts in each of b resamples."""
WeightedFigure = Callable[[Weights], NDArray[np.float64]]
"""Gives b figures for b × n weights, NaN where a resample has none (a class that it lacks)."""

_MOST_RESAMPLES = 2000
_LEAST_RESAMPLES = 500
_ROWS_ASKED = 5_000_000
"""A function that is called for each resample sees about so many rows in all: 2,000 resamples of 2,500 rows."""


@dataclass(frozen=True)
class Metric:
    """One figure of a project's own: how it is computed, and which way is better.

    Attributes
    ----------
    name
        What it is called everywhere, also in ``gate.limits``: letters, digits and underscores.
    function
        ``function(actual, answers)`` gives one number for n rows, as scikit-learn's functions do. One that takes
        `sample_weight`, too, is given the weights of n rows; another one sees a row as often as it counts. It may give
        NaN for some of the rows, such as those of one class, but not for the whole holdout.
    greater_is_better
        Which way is better.
    probabilities
        Whether `function` is given a classifier's probabilities instead of its labels: n numbers, of the second of two
        classes, or n × k for more classes.
    best
        The figure of a model that never errs. ``gate.tolerance`` is a share of the champion's distance from it, and
        where there is none, of the champion's figure.
    """

    name: str
    function: Callable[..., Any]
    _: KW_ONLY
    greater_is_better: bool
    probabilities: bool = False
    best: float | None = None

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", self.name) or self.name.startswith("baseline_"):
            what = f"metric '{self.name}' has other signs than letters, digits and _, or begins with 'baseline_'"
            raise ProblemError(what, "Rename it, as in 'cost_per_case'")
        if not callable(self.function):
            what = f"metric '{self.name}' has a {type(self.function).__name__} for a function"
            raise ProblemError(what, "Give a function of the actual values and the answers, which gives a number")

    def __str__(self) -> str:
        return self.name

    def loss(self, figure: float) -> float:
        """What is left to improve."""
        return abs(figure - (self.best or 0))

    def shortfall(self, figure: float, reference: float) -> float:
        """How much worse `figure` is than `reference`, in the metric's own unit; negative where it is better."""
        return reference - figure if self.greater_is_better else figure - reference

    def resamples(self, rows: int) -> int:
        """From how many resamples of so many rows an interval is made."""
        return max(_LEAST_RESAMPLES, min(_MOST_RESAMPLES, _ROWS_ASKED // max(1, rows)))

    def score(self, actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> float:
        """The figure over n actual values and the prediction for them.

        Raises
        ------
        ProblemError
            The function fails, or gives no number for answers that are numbers.
        """
        figure = float(self.weighted(actual, prediction, classes)(np.ones((1, len(actual))))[0])
        if np.isnan(figure) and not is_broken(prediction):
            raise ProblemError(f"metric '{self.name}' gives NaN for these {len(actual):,} rows ({self._place})", _HINT)
        return figure

    def weighted(self, actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> WeightedFigure:
        """The metric of these answers, as a function of the rows' weights.

        `classes` are a classifier's labels in the order of its probabilities.
        """
        if is_broken(prediction):
            return lambda weights: np.full(len(weights), np.nan)
        given, answers = self._given(actual, prediction, classes)
        first, place = _alike(given, answers) if self.weighs else (np.arange(len(given)), None)
        given, answers = given[first], answers[first]

        def figures(weights: Weights) -> NDArray[np.float64]:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # a resample may lack a class, and scikit-learn says so each time
                return np.array([self._of_rows(given, answers, _summed(row, place)) for row in weights])

        return figures

    @cached_property
    def weighs(self) -> bool:
        """Whether the function takes the rows' weights."""
        try:
            return "sample_weight" in inspect.signature(self.function).parameters
        except (TypeError, ValueError):  # one that is written in C says nothing of its arguments
            return False

    def _given(
        self, actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        """What the function is called with."""
        probabilities = prediction.probabilities
        if not self.probabilities or probabilities is None:
            return actual, prediction.values
        return actual, probabilities[:, 1] if len(classes) == 2 else probabilities

    def _of_rows(self, actual: NDArray[Any], answers: NDArray[Any], weights: NDArray[np.float64]) -> float:
        there = weights > 0
        if self.weighs:
            return self._call(actual[there], answers[there], sample_weight=weights[there])
        rows = np.repeat(np.arange(len(actual)), weights.astype(np.int64))
        return self._call(actual[rows], answers[rows])

    def _call(self, actual: NDArray[Any], answers: NDArray[Any], **weights: NDArray[np.float64]) -> float:
        try:
            figure = self.function(actual, answers, **weights)
        except (KitError, MemoryError):
            raise
        except Exception as error:  # the project's own code may fail in any way, and its words could repeat a value
            what = f"metric '{self.name}' fails with {type(error).__name__} ({place_of(error)})"
            raise ProblemError(what, _HINT) from error
        try:
            return float(figure)
        except (TypeError, ValueError):
            what = f"metric '{self.name}' gives a {type(figure).__name__}, not a number ({self._place})"
            raise ProblemError(what, _HINT) from None

    @property
    def _place(self) -> str:
        code = getattr(inspect.unwrap(self.function), "__code__", None)
        return f"{code.co_filename}, line {code.co_firstlineno}" if code else repr(type(self.function).__name__)


_HINT = "Mend the project's code"


def is_broken(prediction: Prediction) -> bool:
    """Whether an answer is no number."""
    numbers = prediction.numbers
    return numbers.dtype.kind == "f" and bool(np.isnan(numbers).any())


def _alike(actual: NDArray[Any], answers: NDArray[Any]) -> tuple[NDArray[np.integer], NDArray[np.integer] | None]:
    """Rows that differ from each other, and for each row its place among these; a classifier's labels make few."""
    if answers.ndim == 1:
        codes, labels = (np.unique(values, return_inverse=True)[1] for values in (actual, answers))
        _, first, place = np.unique(codes * len(codes) + labels, return_index=True, return_inverse=True)
        if len(first) <= len(codes) // 2:
            return first, place
    return np.arange(len(actual)), None


def _summed(weights: NDArray[np.float64], place: NDArray[np.integer] | None) -> NDArray[np.float64]:
    return weights if place is None else np.bincount(place, weights).astype(np.float64)


def compute_scores(
    metrics: Iterable[Metric], actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]
) -> Scores:
    """Every metric over n actual values and the prediction for them; without probabilities those that need none.

    `classes` are a classifier's labels in the order of its probabilities.
    """
    return {
        metric.name: metric.score(actual, prediction, classes)
        for metric in metrics
        if prediction.probabilities is not None or not metric.probabilities
    }


# --- The kit's own metrics, for all resamples at once.

_SMALLEST = np.finfo(np.float64).eps
"""A probability of zero counts as this in the log loss, as in scikit-learn."""


@dataclass(frozen=True)
class BuiltIn(Metric):
    """A metric that every model of its task has. `function` makes one of the rows' weights."""

    task: Task

    def resamples(self, rows: int) -> int:
        return _MOST_RESAMPLES

    def score(self, actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> float:
        return float(self.weighted(actual, prediction, classes)(np.ones((1, len(actual))))[0])

    def weighted(self, actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> WeightedFigure:
        return self.function(actual, prediction, classes)


def _mean(values: NDArray[np.float64]) -> WeightedFigure:
    return lambda weights: weights @ values / weights.sum(axis=1)


def _accuracy(actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> WeightedFigure:
    return _mean((prediction.values == actual).astype(np.float64))


def _numbers(actual: NDArray[Any], prediction: Prediction) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The actual values and the errors."""
    known = np.asarray(actual, dtype=np.float64)
    return known, np.asarray(prediction.values, dtype=np.float64) - known


def _rmse(actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> WeightedFigure:
    mean = _mean(_numbers(actual, prediction)[1] ** 2)
    return lambda weights: np.sqrt(mean(weights))


def _mae(actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> WeightedFigure:
    return _mean(np.abs(_numbers(actual, prediction)[1]))


def _r2(actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> WeightedFigure:
    """One minus squared error over the squared distance from the (weighted) mean. A constant target has none."""
    known, error = _numbers(actual, prediction)
    square, centred = error**2, known - known.mean()  # the sums below lose digits far from zero

    def figure(weights: Weights) -> NDArray[np.float64]:
        total = weights.sum(axis=1)
        around = weights @ centred**2
        spread = around - (weights @ centred) ** 2 / total
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(spread > 1e-12 * around, 1 - weights @ square / spread, np.nan)

    return figure


def _probabilities(prediction: Prediction) -> NDArray[np.float64]:
    assert prediction.probabilities is not None
    return prediction.probabilities


def _log_loss(actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> WeightedFigure:
    probabilities = _probabilities(prediction)
    own = np.full(len(actual), np.nan)
    for place, label in enumerate(classes):
        mine = actual == label
        own[mine] = probabilities[mine, place]
    return _mean(-np.log(np.clip(own, _SMALLEST, 1 - _SMALLEST)))


def _roc_auc(actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> WeightedFigure:
    """The area for the second of two classes; with more, the mean over each class against the rest."""
    probabilities = _probabilities(prediction)
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


METRICS: Mapping[str, BuiltIn] = {
    metric.name: metric
    for metric in (
        BuiltIn("rmse", _rmse, task="regression", greater_is_better=False),
        BuiltIn("mae", _mae, task="regression", greater_is_better=False),
        BuiltIn("r2", _r2, task="regression", greater_is_better=True, best=1),
        BuiltIn("log_loss", _log_loss, task="classification", greater_is_better=False, probabilities=True),
        BuiltIn("roc_auc", _roc_auc, task="classification", greater_is_better=True, probabilities=True, best=1),
        BuiltIn("accuracy", _accuracy, task="classification", greater_is_better=True, best=1),
    )
}


def metrics_for(task: Task) -> tuple[BuiltIn, ...]:
    """The metrics that are computed for every model of a task."""
    return tuple(metric for metric in METRICS.values() if metric.task == task)
