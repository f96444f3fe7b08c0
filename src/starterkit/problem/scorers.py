"""scikit-learn's scorers by their names, as metrics: ``balanced_accuracy``, ``neg_median_absolute_error``."""

import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starterkit.contract import Prediction, Scalar, Task
from starterkit.errors import ProblemError, first_line
from starterkit.metrics import METRICS, Metric, is_broken, metrics_for

_QUOTED = re.compile(r"['\"(\[{\d]")


def all_metrics(task: Task, asked: Iterable[str | Metric], classes: int = 0) -> tuple[Metric, ...]:
    """The kit's metrics for a task, and those that a project asks for besides, by name or with a function.

    `classes` counts the target's classes; 0 where nobody said it.

    Raises
    ------
    ProblemError
        A name is neither the kit's nor a scorer's, is not for this task, or stands for two metrics.
    """
    found: dict[str, Metric] = {metric.name: metric for metric in metrics_for(task)}
    for one in asked:
        if isinstance(one, Metric):
            if one.name in METRICS or found.get(one.name, one) != one:
                raise ProblemError(f"two metrics are called '{one.name}'", "Give yours another name")
            found[one.name] = one
        elif one not in found:
            found[one] = _scorer(one, task, classes)
    return tuple(found.values())


def _scorer(name: str, task: Task, classes: int) -> "Scorer":
    from sklearn.metrics import get_scorer_names

    own, known = [metric.name for metric in metrics_for(task)], get_scorer_names()
    hint = f"Use one of {', '.join(own)}, a scorer of scikit-learn's by its name, or a Metric(…) of your own"
    if name not in known and name not in METRICS:
        near = get_close_matches(name, [*own, *known], n=1)
        meant = f" (did you mean {near[0]}?)" if near else ""
        raise ProblemError(f"metric '{name}' is none that the kit or scikit-learn knows{meant}", hint)
    found = _fitting(name, task, classes) if name in known else None
    if found is None:
        several = f" of {classes} classes" if classes > 2 else ""
        raise ProblemError(f"metric '{name}' is not one for {task}{several}", hint)
    return found


@dataclass(frozen=True)
class Scorer(Metric):
    """A scorer, which is told the classes by their numbers: of two, the second is the positive one.

    scikit-learn makes of every error a negative figure, so that more is always better.
    """

    takes_weights: bool = False

    @property
    def weighs(self) -> bool:
        return self.takes_weights

    def score(self, actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> float:
        """
        Raises
        ------
        ProblemError
            scikit-learn refuses these answers, such as those below zero for a logarithm.
        """
        if is_broken(prediction):
            return float("nan")
        try:
            return float(self.function(*self._given(actual, prediction, classes)))
        except ValueError as error:
            said = _QUOTED.split(first_line(error))[0].strip(" :,=.")  # the rest could be a row's value
            hint = "Choose a metric that can judge them, or clip the answers in the estimator"
            raise ProblemError(f"metric '{self.name}' cannot judge these answers: {said}", hint) from error

    def _call(self, actual: NDArray[Any], answers: NDArray[Any], **weights: NDArray[np.float64]) -> float:
        try:
            return float(self.function(actual, answers, **weights))
        except ValueError:  # some of the rows may lack a class
            return float("nan")

    def _given(
        self, actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]
    ) -> tuple[NDArray[Any], NDArray[Any]]:
        if prediction.probabilities is None:
            return np.asarray(actual, dtype=np.float64), np.asarray(prediction.values, dtype=np.float64)
        answers = prediction.probabilities if self.probabilities else _codes(prediction.values, classes)
        return _codes(actual, classes), answers


def _codes(labels: NDArray[Any], classes: Sequence[Scalar]) -> NDArray[np.int64]:
    codes = np.full(len(labels), len(classes))
    for place, label in enumerate(classes):
        codes[labels == label] = place
    return codes


# --- What a scorer is for, which scikit-learn does not say: it is tried on a few rows.

_NUMBERS = np.array([1.0, 2.0, 3.0, 4.0]), np.array([1.5, 2.0, 2.5, 4.5])
_TEXTS = np.array(["a", "b", "a", "b"]), np.array(["a", "b", "b", "b"])


def _fitting(name: str, task: Task, classes: int) -> Scorer | None:
    """The scorer as a metric of a task; None where it is for another one, or judges clusters."""
    score, many = _function_of(name), (classes,) if classes > 1 else (2, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if task == "regression":
            tried = [] if _works(score, *_TEXTS) or not _works(score, *_NUMBERS) else [_NUMBERS]
        elif _works(score, *_NUMBERS):
            tried = []
        else:
            tried = [one for count in many for one in _labels(count) if _works(score, *one)]
        weighs = all(_works(score, actual, answers, np.ones(len(actual))) for actual, answers in tried)
    if not tried:
        return None
    best = 0.0 if name.startswith("neg_") else None if name in _UNBOUNDED else 1.0
    probabilities = all(answers.ndim == 2 for _, answers in tried)
    given = {"greater_is_better": True, "probabilities": probabilities, "best": best}
    return Scorer(name, score, **given, takes_weights=weighs)


_UNBOUNDED = ("positive_likelihood_ratio",)


def _labels(count: int) -> list[tuple[NDArray[Any], NDArray[Any]]]:
    """The numbers of so many classes: answered as labels, and with probabilities."""
    actual = np.tile(np.arange(count), 3)
    shares = np.random.default_rng(0).dirichlet(np.ones(count), len(actual))
    return [(actual, np.sort(actual)), (actual, shares)]


def _works(score: Callable[..., float], *given: NDArray[Any]) -> bool:
    try:
        score(*given)
    except (ValueError, TypeError, AttributeError):
        return False
    return True


def _function_of(name: str) -> Callable[..., float]:
    """A scorer as a function of actual values and answers, given as if an estimator had just answered so."""
    from sklearn.metrics import get_scorer

    scorer = get_scorer(name)

    def score(actual: NDArray[Any], answers: NDArray[Any], sample_weight: NDArray[Any] | None = None) -> float:
        weights = {} if sample_weight is None else {"sample_weight": sample_weight}
        return scorer(_stand_in(actual, answers), None, actual, **weights)

    return score


def _stand_in(actual: NDArray[Any], answers: NDArray[Any]) -> Any:
    """What answers so whatever it is asked."""
    regressor, labels, shares = _stand_ins()
    if answers.ndim == 2:
        return shares(answers, np.arange(answers.shape[1]))
    if answers.dtype.kind == "f":
        return regressor(answers, None)
    return labels(answers, np.unique(actual) if answers.dtype.kind in "OUT" else np.arange(max(2, actual.max() + 1)))


@cache
def _stand_ins() -> tuple[type, type, type]:
    """Estimators that answer numbers, labels and probabilities."""
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin

    class Answering(BaseEstimator):
        def __init__(self, answers: Any, classes_: Any) -> None:
            self.answers = answers
            self.classes_ = classes_

        def predict(self, _: object) -> Any:
            return self.answers

    class Regressor(RegressorMixin, Answering):
        pass

    class Labels(ClassifierMixin, Answering):
        pass

    class Shares(Labels):
        def predict(self, _: object) -> Any:
            return self.answers.argmax(axis=1)

        def predict_proba(self, _: object) -> Any:
            return self.answers

    return Regressor, Labels, Shares
