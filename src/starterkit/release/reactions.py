"""How a version answers rows that are changed on purpose: as the problem asks, and beyond the range of its data."""

import numpy as np
from numpy.typing import NDArray

from starterkit.contract import Column, Prediction, Scalar
from starterkit.data.dataset import Dataset
from starterkit.errors import ProblemError
from starterkit.problem import Direction, Expectation, Invariance, Jitter, Problem
from starterkit.serving.graph import Columns
from starterkit.serving.predictor import Predictor
from starterkit.verdict import RobustnessResult

# --- The problem's `robustness`.

_SEED = 104_729
_STILL = 1e-6
"""A change below this share of the target's standard deviation is none: sums may round otherwise."""


def measure_robustness(problem: Problem, dataset: Dataset, predictor: Predictor) -> tuple[RobustnessResult, ...]:
    """One result for each expectation, over the holdout, the same each time."""
    observer = _Observer(problem, dataset, predictor)
    return tuple(observer.observe(expectation) for expectation in problem.robustness)


class _Observer:
    """The version with the holdout and its answers to it."""

    def __init__(self, problem: Problem, dataset: Dataset, predictor: Predictor) -> None:
        self._problem = problem
        self._dataset = dataset
        self._predictor = predictor
        self._rows: Columns = dataset.holdout.columns
        self._answers = predictor.predict(self._rows)
        regression = problem.task == "regression"
        self._scale = float(dataset.training.target.std()) if regression else 1.0

    def observe(self, expectation: Expectation) -> RobustnessResult:
        match expectation:
            case Jitter():
                return self._jitter(expectation)
            case Direction():
                return self._direction(expectation)
            case Invariance():
                return self._invariance(expectation)

    def _jitter(self, asked: Jitter) -> RobustnessResult:
        random = np.random.default_rng(_SEED)
        moved = dict(self._rows)
        for column in self._problem.features:
            if column.type in ("float", "integer") and not column.categories:
                noise = random.normal(0, asked.share * self._deviation(column.name), len(moved[column.name]))
                moved[column.name] = _allowed(column, moved[column.name] + noise)
        metric = self._problem.deciding_metric
        before, after = self._score(self._answers), self._score(self._predictor.predict(moved))
        figure = metric.shortfall(after, before) / abs(before) if before else metric.shortfall(after, before)
        words = f"{metric.name} {before:.4g} becomes {after:.4g} under noise of {asked.share:.0%} of each deviation"
        return RobustnessResult(figure=figure, limit=asked.worse, words=words)

    def _direction(self, asked: Direction) -> RobustnessResult:
        column = next(column for column in self._problem.features if column.name == asked.column)
        given = self._rows[column.name]
        step = self._deviation(column.name)
        raised = _allowed(column, given + (max(1.0, step) if column.type == "integer" else step))
        sign = 1 if asked.answer == "up" else -1
        after = self._predictor.predict({**self._rows, column.name: raised})
        change = sign * (self._number(after, asked.label) - self._number(self._answers, asked.label))
        broken = float(np.mean(~(change >= -_STILL * self._scale)))
        words = f"more '{column.name}' moves the answer {'down' if sign > 0 else 'up'} in {broken:.0%} of the rows"
        return RobustnessResult(figure=broken, limit=asked.broken, words=f"{words}, {asked.broken:.0%} allowed")

    def _invariance(self, asked: Invariance) -> RobustnessResult:
        dealt = np.random.default_rng(_SEED).permutation(self._rows[asked.column])
        again, before = self._predictor.predict({**self._rows, asked.column: dealt}), self._answers
        if self._problem.task == "classification" and before.probabilities is None:
            change = (again.values != before.values).astype(np.float64)
        elif before.probabilities is None or again.probabilities is None:
            change = np.abs(again.values - before.values) / self._scale
        else:
            change = np.abs(again.probabilities - before.probabilities).sum(axis=1) / 2
        figure = float(np.mean(change))
        words = f"other values of '{asked.column}' move the answer by {figure:.1%}, {asked.change:.0%} allowed"
        return RobustnessResult(figure=figure, limit=asked.change, words=words)

    def _deviation(self, name: str) -> float:
        return float(np.nanstd(self._dataset.training.columns[name]))

    def _score(self, answers: Prediction) -> float:
        classes = self._predictor.contract.classes
        actual = self._dataset.holdout.target.to_numpy()
        return self._problem.deciding_metric.score(actual, answers, classes)

    def _number(self, answers: Prediction, label: Scalar | None) -> NDArray[np.float64]:
        """One number a row: the value, or the probability of a class."""
        classes = self._predictor.contract.classes
        if answers.probabilities is None and not classes:
            return answers.values
        if label is None and len(classes) == 2:
            label = classes[1]
        if label not in classes:
            raise ProblemError("Direction(label=…) is none of the classes", "Name one of the target's classes")
        if answers.probabilities is None:  # a label is all there is
            return (answers.values == label).astype(np.float64)
        return answers.probabilities[:, classes.index(label)]


def _allowed(column: Column, values: NDArray[np.float64]) -> NDArray[np.float64]:
    """What a client could send: whole where the column is, and within its bounds."""
    rounded = np.round(values) if column.type == "integer" else values
    low = -np.inf if column.minimum is None else column.minimum
    high = np.inf if column.maximum is None else column.maximum
    return np.clip(rounded, low, high)


# --- How far answers go for rows beyond the data's.

_BEYOND = 0.5
_PROBED = 100


def reach_of(problem: Problem, dataset: Dataset, predictor: Predictor) -> float | None:
    """How far answers go beyond the target's range, in its widths, where one number of a row, or each, goes half of
    its range beyond what the data has, as far as the schema takes it; None for a classification.
    """
    if problem.task == "classification":
        return None
    sides = dataset.training, dataset.holdout
    target = np.concatenate([rows.target.to_numpy(dtype=np.float64) for rows in sides])
    low, width = float(target.min()), float(np.ptp(target))
    rows: Columns = {name: values[:_PROBED] for name, values in dataset.holdout.columns.items()}
    probes: list[Columns] = []
    for sign in (-1, 1):
        moved: dict[str, NDArray[np.float64]] = {}
        for column in problem.features:
            if column.type not in ("float", "integer") or column.categories:
                continue
            known = np.concatenate([one.features[column.name].to_numpy(dtype=np.float64) for one in sides])
            ends = np.nanmin(known), np.nanmax(known)
            edge = ends[sign > 0] + sign * _BEYOND * (ends[1] - ends[0])
            moved[column.name] = _allowed(column, np.full(len(rows[column.name]), edge))
        probes += [{**rows, name: values} for name, values in moved.items()] + [{**rows, **moved}]
    asked = {name: np.concatenate([probe[name] for probe in probes]) for name in rows}
    answers = predictor.predict(asked).values.astype(np.float64)
    beyond = np.maximum(answers - low - width, low - answers) / (width or 1)
    return max(0.0, float(np.max(np.nan_to_num(beyond, nan=np.inf))))
