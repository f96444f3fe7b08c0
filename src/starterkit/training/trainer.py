"""`Trainer`: one dataset and one set of parameters in, one fitted and evaluated model out."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from starterkit.contract import Scalar
from starterkit.data import Dataset
from starterkit.errors import DataError
from starterkit.problem import Problem
from starterkit.settings import TrainingSettings
from starterkit.training.evaluation import evaluate, naive_baseline, predict
from starterkit.training.refusals import refusals
from starterkit.verdict import Candidate

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


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
        with refusals("the estimator refuses the data"):
            fitted: Any = clone(self._unfitted).fit(dataset.training.features, dataset.training.target)
        return self.evaluate(fitted, dataset)

    def evaluate(self, fitted: Any, dataset: Dataset) -> TrainedModel:
        """A fitted estimator's figures over the holdout, beside the naive guess's."""
        task, holdout = self._problem.task, dataset.holdout
        classes = tuple(fitted.classes_.tolist()) if task == "classification" else ()
        unseen = set(holdout.target.unique().tolist()) - set(classes)
        if task == "classification" and unseen:
            raise DataError(f"the holdout has {len(unseen)} classes that the training side lacks", "Give more rows")
        with refusals("the estimator refuses the holdout's rows"):
            prediction = predict(fitted, task, holdout.features)
        guess = predict(naive_baseline(task, dataset.training), task, holdout.features)
        return TrainedModel(
            problem=self._problem,
            estimator=fitted,
            parameters=self._parameters,
            classes=classes,
            evaluation=evaluate("challenger", task, holdout, prediction, classes),
            baseline=evaluate("baseline", task, holdout, guess, classes),
        )


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
