"""The estimator, as a project gives it: built from the settings, measured by scorers, held to expectations."""

import inspect
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, wraps
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import ConfigDict, ValidationError, validate_call

from starterkit.contract import Column, Prediction, Scalar, Task
from starterkit.errors import ProblemError, first_line, meant, place_of
from starterkit.metrics import METRICS, Metric, is_broken, metrics_for

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

Factory = Callable[..., Any]
"""Builds an unfitted estimator; its keyword arguments are the parameters."""


def complete_parameters(estimator: Factory, given: Mapping[str, Scalar | None], seed: int) -> dict[str, Any]:
    """Every parameter of the estimator: those given, the seed, and the defaults of the rest."""
    accepted = inspect.signature(estimator).parameters
    unknown = sorted(set(given) - set(accepted))
    if unknown:
        hint = f"The project's estimator takes {', '.join(accepted) or 'none'}"
        raise ProblemError(f"training.params.{unknown[0]} is not a parameter of the estimator", hint)
    values = {name: parameter.default for name, parameter in accepted.items()} | dict(given)
    if "random_state" in accepted and "random_state" not in given:
        values["random_state"] = seed
    missing = [name for name, value in values.items() if value is inspect.Parameter.empty]
    if missing:
        raise ProblemError(
            f"the estimator's parameter '{missing[0]}' has no value", f"Set training.params.{missing[0]}"
        )
    return values


def build_estimator(estimator: Factory, task: Task, parameters: Mapping[str, Any]) -> "BaseEstimator":
    """An unfitted estimator of the right kind."""
    try:
        built = _strict(estimator)(**parameters)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        what = first["msg"].replace("Input should", "should").partition(", unable to ")[0]
        hint = "Change it where `starterkit config show` says that it comes from"
        raise ProblemError(f"training.params.{first['loc'][0]} {what}", hint) from None
    except Exception as error:  # the project's own code may fail in any way
        what = f"the project's estimator cannot be built: {type(error).__name__}: {error} ({place_of(error)})"
        hint = "Mend the project's code, or the parameter in config or KIT_TRAINING__PARAMS"
        raise ProblemError(what, hint) from error
    _refuse_the_wrong_kind(task, built)
    return built


def _strict(estimator: Factory) -> Factory:
    """`estimator`, which may also be a class or a partial, with its parameters' types enforced."""

    @wraps(estimator)
    def build(**parameters: Any) -> Any:
        return estimator(**parameters)

    declared = inspect.signature(estimator).parameters.values()
    # Without the result's type, which many import for type checkers only.
    build.__annotations__ = {one.name: one.annotation for one in declared if one.annotation is not one.empty}
    return validate_call(config=ConfigDict(arbitrary_types_allowed=True, strict=True))(build)


def _refuse_the_wrong_kind(task: Task, built: Any) -> None:
    from sklearn.base import is_classifier, is_regressor

    hint = f"Return an unfitted scikit-learn estimator for {task}"
    what = f"the project's estimator is a {type(built).__name__}"
    needed = ["fit", "predict", "get_params"]
    lacking = [method for method in needed if isinstance(built, type) or not _has(built, method)]
    if lacking:
        raise ProblemError(f"{what}, which has no {lacking[0]}()", hint)
    if (is_classifier if task == "regression" else is_regressor)(built):
        raise ProblemError(f"{what}, which is not for {task}", hint)


def _has(built: Any, method: str) -> bool:
    """Whether it has a method, or will once it is fitted: a stack without a final estimator shows none before."""
    if hasattr(built, method):
        return True
    if not hasattr(type(built), method):
        return False
    steps = getattr(built, "steps", None)
    inner = steps[-1][1] if steps else getattr(built, "estimator", None)
    return _has(inner, method) if inner is not None else getattr(built, "final_estimator", built) is None


# --- scikit-learn's scorers by their names, as metrics: ``balanced_accuracy``, ``neg_median_absolute_error``.

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
        near = meant(name, [*own, *known])
        raise ProblemError(f"metric '{name}' is none that the kit or scikit-learn knows{near}", hint)
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
        if not classes:  # a regression
            return np.asarray(actual, dtype=np.float64), np.asarray(prediction.values, dtype=np.float64)
        shares = prediction.probabilities if self.probabilities else None
        return _codes(actual, classes), _codes(prediction.values, classes) if shares is None else shares


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


# --- What a project expects of a model beyond its figures: how its answers bear rows that are changed on purpose.


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """Small errors of measurement make the model little worse.

    Attributes
    ----------
    share
        How far each number is moved: the standard deviation of the noise, as a share of the column's own.
    worse
        By which share the deciding metric may get worse.
    """

    share: float = 0.05
    worse: float = 0.05

    def __post_init__(self) -> None:
        _refuse_negative(self, share=self.share, worse=self.worse)


@dataclass(frozen=True, kw_only=True)
class Direction:
    """More of a feature never means less of the answer (or never means more of it).

    Attributes
    ----------
    column
        A number. It is raised by one standard deviation, other things being equal.
    answer
        Where the answer may go: ``"up"`` or ``"down"``.
    label
        The class whose probability is the answer; the second of two if not given.
    broken
        The share of rows in which it may go the other way.
    """

    column: str
    answer: Literal["up", "down"]
    label: Scalar | None = None
    broken: float = 0.05

    def __post_init__(self) -> None:
        if self.answer not in ("up", "down"):
            raise ProblemError(f"Direction(answer='{self.answer}')", "Say 'up' or 'down'")
        _refuse_negative(self, broken=self.broken)


@dataclass(frozen=True, kw_only=True)
class Invariance:
    """A feature hardly moves the answers: they are asked again with the feature's values dealt out anew.

    Attributes
    ----------
    column
        The feature.
    change
        The mean change that is allowed, as a share of the target's standard deviation, or of a probability.
    """

    column: str
    change: float = 0.05

    def __post_init__(self) -> None:
        _refuse_negative(self, change=self.change)


Expectation = Jitter | Direction | Invariance


def refuse_unknown_features(
    features: Sequence[Column], *, slices: Sequence[str], strong: Sequence[str], robustness: Sequence[Expectation]
) -> None:
    """Raise a `ProblemError` for what names no feature, or one of the wrong kind."""
    known = {column.name: column for column in features}
    named = [("slices", name) for name in slices] + [("strong", name) for name in strong]
    named += [(type(one).__name__, one.column) for one in robustness if not isinstance(one, Jitter)]
    for where, name in named:
        if name not in known:
            raise ProblemError(f"{where} names '{name}', which is no feature", f"Use one of {', '.join(known)}")
    for name in slices:
        if known[name].type == "string" and not known[name].categories:  # its values would stand in messages
            what = f"slices names '{name}', a text without declared categories"
            raise ProblemError(what, "Declare them with isin=[…] in the schema")
    for one in robustness:
        if isinstance(one, Direction) and known[one.column].type not in ("integer", "float"):
            raise ProblemError(f"Direction names '{one.column}', which is {known[one.column].kind}", "Name a number")


def _refuse_negative(expectation: object, **shares: float) -> None:
    for name, share in shares.items():
        if not share >= 0:
            raise ProblemError(f"{type(expectation).__name__}({name}={share})", "Use a share such as 0.05")
