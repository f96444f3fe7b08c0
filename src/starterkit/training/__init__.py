"""`Trainer`: one dataset and one set of parameters in, one fitted and evaluated model out."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from starterkit.contract import Prediction, Scalar, Task
from starterkit.data.dataset import Dataset, Rows, Table
from starterkit.errors import DataError, KitError, ProblemError, first_line, place_of
from starterkit.metrics import Metric, compute_scores
from starterkit.problem import Problem
from starterkit.settings import TrainingSettings
from starterkit.verdict import Candidate

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

# --- Answers over the holdout, and the figures that judge them.


def predict(estimator: "BaseEstimator", task: Task, features: pd.DataFrame) -> Prediction:
    """A fitted estimator's answers for n rows.

    Raises
    ------
    ProblemError
        It answers several values a row.
    """
    answering: Any = estimator
    values = np.asarray(answering.predict(features))
    count = features.shape[0]  # a sparse matrix, as some steps make, has no length
    if values.size != count:
        what = f"the project's estimator answers {values.size // count} values a row"
        raise ProblemError(what, "Use one that answers one; XGBClassifier does without an objective")
    values = values.ravel()
    if task == "classification" and hasattr(answering, "predict_proba"):
        return Prediction(values, np.asarray(answering.predict_proba(features)))
    if task == "classification" and hasattr(answering, "decision_function"):
        return Prediction(values, decision_values=np.reshape(answering.decision_function(features), (count, -1)))
    return Prediction(values)


def evaluate(
    name: str, metrics: Iterable[Metric], rows: Rows, prediction: Prediction, classes: Sequence[Scalar]
) -> Candidate:
    """Every metric of the problem, for answers over these rows."""
    scores = compute_scores(metrics, rows.target.to_numpy(), prediction, classes)
    return Candidate(name=name, prediction=prediction, scores=scores)


def naive_baseline(task: Task, training: Rows) -> "BaseEstimator":
    """What a guess without looking is worth: always the training mean, or always the classes' shares."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    guess = DummyRegressor(strategy="mean") if task == "regression" else DummyClassifier(strategy="prior")
    return guess.fit(training.features, training.target)


# --- What scikit-learn says when it refuses rows, without the values that it likes to quote.

_QUOTED = re.compile(r"(np\.\w+\()?['\"\[{]")

_ANY_HINT = "Add an imputer or an encoder to the estimator, or change the schema"
_HINTS = {
    "Invalid classes inferred": "XGBoost wants classes that are numbered from 0 on: let load() number them",
    "early stopping": "Leave early stopping out: the kit keeps no further rows for it",
}


@contextmanager
def refusals(what: str, *, is_whole: bool = False) -> Iterator[None]:
    """Raise scikit-learn's refusal of some rows as a `DataError`, and of a parameter as a `ProblemError`.

    Other libraries raise classes of their own, and a project's own step may fail in any way. Where the rows are whole
    and a NaN is refused, a step of the estimator made it.
    """
    from sklearn.utils._param_validation import InvalidParameterError  # it has no public name

    try:
        yield
    except InvalidParameterError as error:
        hint = "Change training.params in config, or KIT_TRAINING__PARAMS where it is set"
        raise ProblemError(f"the estimator refuses a parameter: {error}", hint) from error
    except (ValueError, TypeError) as error:
        if is_whole and ("NaN" in str(error) or "infinity" in str(error)):
            told = "a step of the estimator makes NaN or infinity of rows that have none"
            raise ProblemError(told, "Mend the step, such as a logarithm of zero or a division by it") from error
        hint = next((hint for words, hint in _HINTS.items() if words in str(error)), _ANY_HINT)
        raise DataError(f"{what}: {unquoted(error)}", hint) from error
    except (KitError, OSError, MemoryError):
        raise
    except Exception as error:
        if type(error).__module__.startswith("lightgbm."):
            hint = "Change the target, the columns' names or the estimator's parameters"
            raise DataError(f"{what}: {unquoted(error)}", hint) from error
        what = f"the project's estimator fails with {type(error).__name__} ({place_of(error)})"
        raise ProblemError(what, "Mend the project's code") from error


def unquoted(error: BaseException) -> str:
    """The first line of the message, up to the first thing quoted: it could be a person's."""
    return _QUOTED.split(first_line(error))[0].rstrip(" :,=") or type(error).__name__


@dataclass(frozen=True)
class TrainedModel:
    """A fitted estimator with its figures over the holdout, and a naive guess's beside them.

    `classes` are a classifier's labels in the order of its probabilities.
    """

    problem: Problem
    estimator: "BaseEstimator"
    parameters: dict[str, Any]
    classes: tuple[Scalar, ...]
    evaluation: Candidate
    baseline: Candidate


class Trainer:
    """Fits a problem's estimator on the training side and evaluates it on the holdout."""

    def __init__(self, problem: Problem, settings: TrainingSettings) -> None:
        self._problem = problem
        self._parameters = problem.parameters(settings.params, settings.seed)
        self._unfitted = problem.build(self._parameters)

    @property
    def parameters(self) -> dict[str, Any]:
        """Every parameter of the estimator, with the defaults and the seed."""
        return self._parameters

    def fit(self, dataset: Dataset) -> TrainedModel:
        """
        Raises
        ------
        DataError
            The target has one value only, the holdout has a class of its own, or scikit-learn refuses the rows.
        ProblemError
            scikit-learn refuses a parameter.
        """
        from sklearn.base import clone

        require_contrast(dataset)
        features = dataset.training.features
        with refusals("the estimator refuses the data", is_whole=not features.isna().to_numpy().any()):
            fitted: Any = clone(self._unfitted).fit(features, dataset.training.target)
        return self.evaluate(fitted, dataset)

    def evaluate(self, fitted: Any, dataset: Dataset) -> TrainedModel:
        """A fitted estimator's figures over the holdout, beside the naive guess's.

        Raises
        ------
        ProblemError
            It keeps rows of which the stage may not see every column raw.
        """
        require_shown(fitted, dataset)
        task, metrics, holdout = self._problem.task, self._problem.all_metrics, dataset.holdout
        classes = tuple(fitted.classes_.tolist()) if task == "classification" else ()
        unseen = set(holdout.target.unique().tolist()) - set(classes)
        if task == "classification" and unseen:
            raise DataError(f"the holdout has {len(unseen)} classes that the training side lacks", "Give more rows")
        with refusals("the estimator refuses the holdout's rows"):
            prediction = predict(fitted, task, holdout.features)
        guess = predict(naive_baseline(task, dataset.training), task, holdout.features)
        if prediction.probabilities is None:
            guess = Prediction(guess.values)
            require_labels_metric(task, self._problem.deciding_metric, type(fitted).__name__)
        return TrainedModel(
            problem=self._problem,
            estimator=fitted,
            parameters=self._parameters,
            classes=classes,
            evaluation=evaluate("challenger", metrics, holdout, prediction, classes),
            baseline=evaluate("baseline", metrics, holdout, guess, classes),
        )


_ROW_KEEPERS = {
    "BaseLibSVM", "GaussianProcessClassifier", "GaussianProcessRegressor", "KNNImputer", "KernelPCA", "KernelRidge",
    "NeighborsBase", "Nystroem",
}  # fmt: skip
"""Classes of scikit-learn, and bases of some, whose answers need rows that they were fitted on."""


def rows_kept(estimator: Any) -> tuple[str, ...]:
    """The parts of an estimator that carry training rows, by their classes' names: neighbours, kernels, processes."""
    parts = [estimator, *(estimator.get_params().values() if hasattr(estimator, "get_params") else ())]
    kinds = {type(part) for part in parts if hasattr(part, "get_params")}
    return tuple(sorted(kind.__name__ for kind in kinds if _ROW_KEEPERS & {base.__name__ for base in kind.__mro__}))


def require_shown(estimator: Any, dataset: Dataset) -> None:
    """See that no model carries rows out of a stage that may not see them raw. Made-up rows are nobody's.

    Raises
    ------
    ProblemError
        One would.
    """
    kept, treatments = rows_kept(estimator), set(dataset.policy.values())
    if kept and treatments and "mock" not in treatments:
        what = f"the estimator carries training rows ({', '.join(kept)}), and this stage may not see them raw"
        raise ProblemError(
            what, "Use trees or a linear model, set privacy.sensitive to mock, or train where rows are raw"
        )


def require_labels_metric(task: Task, metric: Metric, estimator: str) -> None:
    """See that a classifier without probabilities is not judged by them.

    Raises
    ------
    ProblemError
        The deciding metric needs probabilities.
    """
    if task == "classification" and metric.probabilities:
        what = f"metric '{metric.name}' needs probabilities, and the estimator ({estimator}) has none"
        hint = "Let Problem(metric=…) be 'accuracy' or 'f1_macro', or put CalibratedClassifierCV around the estimator"
        raise ProblemError(what, hint)


def require_contrast(dataset: Dataset) -> None:
    """See that there is something to learn.

    Raises
    ------
    DataError
        The target has one value only.
    """
    target = dataset.training.target
    if target.nunique() < 2:
        what = f"the training side's target '{target.name}' has one value in all {len(target)} rows"
        raise DataError(what, "Give rows with other values")


# --- How good a model the masked rows make, beside one of the raw rows.


def compare_quality(problem: Problem, training: TrainingSettings, raw: Table, masked: Table) -> dict[str, Any]:
    """The deciding metric of the problem's estimator, trained and scored on raw rows and on masked ones, one seed."""
    trainer, metric = Trainer(problem, training), problem.deciding_metric.name
    found: dict[str, Any] = {"metric": metric}
    for name, table in (("raw", raw), ("treated", masked)):
        try:
            model = trainer.fit(table.split(problem, "the data"))
        except KitError as error:  # what the estimator cannot do is worth a word, and hinders nobody
            return {**found, "not_measured": f"{name} rows: {error.what}"}
        found[name] = model.evaluation.scores[metric]
        found[f"naive_{name}"] = model.baseline.scores[metric]
    return found


# --- What a model looks at.

_REPEATS = 5


def permutation_importance(model: TrainedModel, rows: Rows) -> Mapping[str, tuple[float, float]]:
    """Mean and standard deviation of the deciding metric's loss when one feature is shuffled.

    Source: Breiman, "Random Forests", Machine Learning 45 (2001), as scikit-learn computes it.
    """
    from sklearn.inspection import permutation_importance as compute

    metric, task = model.problem.deciding_metric, model.problem.task
    sign = 1 if metric.greater_is_better else -1

    def score(estimator: Any, features: Any, target: Any) -> float:
        return sign * metric.score(np.asarray(target), predict(estimator, task, features), model.classes)

    found: Any = compute(model.estimator, rows.features, rows.target, scoring=score, n_repeats=_REPEATS, random_state=0)
    return {
        str(feature): (float(mean), float(deviation))
        for feature, mean, deviation in zip(rows.features, found.importances_mean, found.importances_std, strict=True)
    }
