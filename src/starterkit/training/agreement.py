"""`Asked`: what an estimator answers for rows, where its own rule ties, and whether it says so of each row alone.

Imports no converter: the export compares a new graph so, and the gate a version that is registered.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from starterkit.contract import Parity, Prediction, Task
from starterkit.data.dataset import Dataset, as_columns
from starterkit.serving.graph import AT_ONCE
from starterkit.serving.predictor import Predictor, compare, differing, tied_among
from starterkit.training import TrainedModel, predict

_MOST_OTHERS = 100
_FEW = 200
"""Of as many rows, 87 in 100 times one is unstable where one in a hundred of all is; of two in a hundred, 98."""

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Measure:
    """What counts as the same answer: the largest difference, and the scale of a regression's.

    Of the data `alone` rows at most are asked one by one, for an estimator takes a millisecond and more for each, and a
    share of `unstable` may be answered otherwise then. Classes no further apart than `near_tie` may change places.
    """

    allowed: float
    scale: float
    alone: int
    unstable: float
    near_tie: float = 0.0


class Asked:
    """An estimator's answers for n rows, all asked at once as far as memory goes.

    Parameters
    ----------
    estimator, task
        A fitted estimator.
    rows
        n rows with its features.
    """

    def __init__(self, estimator: Any, task: Task, rows: pd.DataFrame) -> None:
        self._estimator, self._task, self._rows = estimator, task, rows
        with _quietly():
            self.answers = _joined([predict(estimator, task, some) for some in _parts(rows)])

    def of_drawn(self, answered: Prediction, measure: Measure) -> Parity:
        """How closely somebody else answers rows that are nobody's: a tie may go either way."""
        tied = self._nearly_tied(measure)
        if self._task == "classification":
            others = np.flatnonzero((answered.values != self.answers.values) & ~tied)
            if len(others):
                tied[others] = ties(self._estimator, self._rows.iloc[others])
        found = compare(self.answers, answered, allowed=measure.allowed, scale=measure.scale, tied=tied)
        return replace(found, near_tie=measure.near_tie)

    def _nearly_tied(self, measure: Measure) -> Mask:
        """The rows between whose two likeliest classes a float32 may decide otherwise."""
        shares = self.answers.probabilities
        if shares is None or shares.shape[1] < 2 or not measure.near_tie:
            return np.zeros(len(self._rows), np.bool_)
        ordered = np.sort(shares, axis=1)
        return ordered[:, -1] - ordered[:, -2] <= measure.near_tie

    def of_data(self, answered: Prediction, measure: Measure, rowwise: Any = None) -> Parity:
        """How closely somebody else answers rows of the data, where a label that differs is a failure, tie or not.

        Of some rows, and of some that are answered otherwise, it is asked whether the estimator says the same of each
        alone; of more where it does not. `rowwise` is a last step that is known to look at a row by itself.
        """
        count, limits = len(self._rows), {"allowed": measure.allowed, "scale": measure.scale}
        asked, unstable = np.zeros((2, count), np.bool_)
        if measure.alone:
            most = _spread(measure.alone, count)
            few = most[_spread(_FEW, len(most))]
            others = np.flatnonzero(differing(self.answers, answered, **limits))[:_MOST_OTHERS]
            for some in (np.union1d(few, others), most):
                some = some[~asked[some]]
                if not len(some):
                    break
                asked[some] = True
                with _quietly():
                    alone = answers_alone(self._estimator, self._task, self._rows.iloc[some], rowwise)
                unstable[some] = differing(self.answers.of_rows(some), alone, **limits)
                if not unstable.any():
                    break
        found = compare(self.answers, answered, **limits, tied=self._nearly_tied(measure), left_out=unstable)
        counted = {"alone": int(asked.sum()), "unstable": int(unstable.sum()), "unstable_allowed": measure.unstable}
        return replace(found, data_rows=count, near_tie=measure.near_tie, **counted)


def _spread(some: int, count: int) -> NDArray[np.intp]:
    """The places of some rows, evenly among all."""
    return np.unique(np.linspace(0, count - 1, min(some, count)).astype(np.intp))


_SAMPLE = 1000
_SEED = 20041


def beside(estimator: Any, dataset: Dataset, predictor: Predictor) -> Parity:
    """How closely a version answers the holdout, and a sample of the training side, as its estimator does.

    What counts as the same is the contract's. Where the proof found rows at which the estimator is no function, each
    row is asked alone, too.

    Raises
    ------
    ValueError, TypeError
        The estimator does not take these rows.
    """
    training = dataset.training.features
    some = training.sample(min(_SAMPLE, len(training)), random_state=_SEED)
    rows = pd.concat([dataset.holdout.features, some], ignore_index=True)
    proof, task = predictor.contract.parity, predictor.contract.task
    alone = len(rows) if proof.unstable else 0
    measure = Measure(proof.allowed, proof.scale, alone, proof.unstable_allowed, proof.near_tie)
    return Asked(estimator, task, rows).of_data(predictor.predict(as_columns(rows)), measure)


def has_answers(model: TrainedModel, rows: pd.DataFrame) -> bool:
    """Whether a model has a finite answer for each of some rows."""
    try:
        answers = Asked(model.estimator, model.problem.task, rows).answers
    except (ValueError, TypeError):
        return False
    numbers = answers.numbers
    return numbers.dtype.kind not in "fiu" or bool(np.isfinite(numbers).all())


def ties(estimator: Any, rows: pd.DataFrame) -> Mask:
    """The rows between whose classes the estimator's own rule cannot choose.

    That is its decision function where it has one: probabilities that are both rounded to 1 hide what it chose by.
    """
    rule = next((rule for rule in ("decision_function", "predict_proba") if hasattr(estimator, rule)), "")
    if not rule:
        return np.zeros(len(rows), np.bool_)
    with _quietly():
        deciding = np.asarray(getattr(estimator, rule)(rows), np.float64)
    return tied_among(deciding)


def answers_alone(estimator: Any, task: Task, rows: pd.DataFrame, rowwise: Any = None) -> Prediction:
    """Answers for n rows, each asked by itself; where `rowwise` is the last step, the steps in front of it alone."""
    chain = [step for _, step in estimator.steps] if isinstance(estimator, Pipeline) else [estimator]
    trees_end_it = rowwise is not None and chain[-1] is rowwise
    if trees_end_it and len(chain) == 1:
        return predict(estimator, task, rows)
    whole: Any = rows.to_numpy() if _takes_arrays(estimator, rows) else rows
    single = [whole.iloc[at : at + 1] if whole is rows else whole[at : at + 1] for at in range(len(rows))]
    if trees_end_it:
        front = estimator[:-1]
        return predict(chain[-1], task, _stacked([front.transform(row) for row in single]))
    return _joined([predict(estimator, task, row) for row in single])


_BY_NAME = {"ColumnTransformer", "FunctionTransformer"}


def _takes_arrays(estimator: Any, rows: pd.DataFrame) -> bool:
    """Whether the columns' names are nothing to any part: looking them up takes most of the time of a row alone."""
    parts = [estimator, *(estimator.get_params().values() if hasattr(estimator, "get_params") else ())]
    kinds = {type(part) for part in parts if hasattr(part, "get_params")}
    plain = all(kind.__module__.startswith("sklearn.") and kind.__name__ not in _BY_NAME for kind in kinds)
    return plain and all(kind.kind in "fiu" for kind in rows.dtypes)


def _parts(rows: pd.DataFrame) -> list[pd.DataFrame]:
    """A kernel's distances to its fitted rows are a matrix, for a hundred thousand rows one of gigabytes."""
    return [rows.iloc[at : at + AT_ONCE] for at in range(0, len(rows), AT_ONCE)] or [rows]


def _joined(answers: list[Prediction]) -> Prediction:
    joined: Any = (None if parts[0] is None else np.concatenate(parts) for parts in zip(*answers, strict=True))
    return Prediction(*joined)


def _stacked(parts: list[Any]) -> Any:
    if isinstance(parts[0], pd.DataFrame):
        return pd.concat(parts)
    if hasattr(parts[0], "toarray"):
        from scipy.sparse import vstack

        return vstack(parts, format=parts[0].format)
    return np.concatenate(parts)


@contextmanager
def _quietly() -> Iterator[None]:
    """Far out a logarithm or a power warns of what the comparison will see."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        yield
