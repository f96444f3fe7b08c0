"""Answers over the holdout, and the figures that judge them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from starterkit.contract import Prediction, Scalar, Task
from starterkit.data import Rows
from starterkit.errors import ProblemError
from starterkit.metrics import compute_scores
from starterkit.verdict import Candidate

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


def predict(estimator: "BaseEstimator", task: Task, features: pd.DataFrame) -> Prediction:
    """A fitted estimator's answers for n rows.

    Raises
    ------
    ProblemError
        It answers several values a row.
    """
    answering: Any = estimator
    values = np.asarray(answering.predict(features))
    if values.size != len(features):
        what = f"the project's estimator answers {values.size // len(features)} values a row"
        raise ProblemError(what, "Use one that answers one; XGBClassifier does without an objective")
    values = values.ravel()
    probabilities = np.asarray(answering.predict_proba(features)) if task == "classification" else None
    return Prediction(values, probabilities)


def evaluate(name: str, task: Task, rows: Rows, prediction: Prediction, classes: Sequence[Scalar]) -> Candidate:
    """Every metric of the task, for answers over these rows."""
    scores = compute_scores(task, rows.target.to_numpy(), prediction, classes)
    return Candidate(name=name, prediction=prediction, scores=scores)


def naive_baseline(task: Task, training: Rows) -> "BaseEstimator":
    """What a guess without looking is worth: always the training mean, or always the classes' shares."""
    from sklearn.dummy import DummyClassifier, DummyRegressor

    guess = DummyRegressor(strategy="mean") if task == "regression" else DummyClassifier(strategy="prior")
    return guess.fit(training.features, training.target)
