"""Which estimator a problem begins with: a few are compared by cross-validation, in the time that there is.

See docs/decisions/0023-selection.md.
"""

import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from starterkit.cli.init.draft import LINEAR, Choice, Plan
from starterkit.cli.init.trial import imported
from starterkit.contract import Prediction, Scalar
from starterkit.data.dataset import Dataset, Rows
from starterkit.errors import DataError, ProblemError
from starterkit.problem import Problem
from starterkit.release.gate.comparison import Shortfall, paired_shortfall
from starterkit.settings import TrainingSettings
from starterkit.training.trainer import predict, refusals

CHOICES = (
    LINEAR,
    replace(LINEAR, name="a linear model, strongly regularised", parameters={"regularization": 30.0}),
    Choice(
        "boosted small trees",
        "boosting",
        {"max_iter": 500, "learning_rate": 0.05, "max_leaf_nodes": 6, "min_samples_leaf": 20, "l2_regularization": 1.0},
    ),
    Choice(
        "boosted trees",
        "boosting",
        {"max_iter": 500, "learning_rate": 0.1, "max_leaf_nodes": 31, "min_samples_leaf": 20, "l2_regularization": 0.0},
    ),
    Choice("a random forest", "forest", {"n_estimators": 100, "min_samples_leaf": 5, "max_features": 0.4}),
)
SECONDS = 20.0
"""Of the processor, so that what else the machine does decides nothing."""
_MOST_ROWS = 10_000
_MOST_ROWS_FOR_A_FOREST = 5_000
"""With more it is a large graph, and boosting has enough to learn from."""
_FEWEST_ROWS_FOR_BOOSTING = 100
_FEW_ROWS, _ROUNDS = 500, 2
_FOLDS = 5
_SEED = 0

# --- What came of it.


@dataclass(frozen=True)
class Selection:
    """The estimator that was taken. `line` says so, with the figures and how sure their difference is."""

    choice: Choice
    line: str


@dataclass(frozen=True)
class _Scored:
    choice: Choice
    answers: Prediction
    figure: float


def select(plan: Plan, dataset: Dataset, times: pd.Series | None = None, seconds: float = SECONDS) -> Selection:
    """Compare on the training side alone; rows that share a side of the holdout share a fold.

    `times` are the training side's, where the holdout is what comes later: each fold is then asked of models that saw
    what came before it. The best figure decides, unless it is that of trees and a linear model is within a standard
    error of it: a line is smaller, quicker and goes on beyond the rows that it saw.
    """
    with imported(plan) as problem:
        folding = _Folding.of(problem, dataset.training, times)
    until = time.process_time() + seconds
    scored = []
    for choice in _choices(plan, len(dataset.training)):
        with imported(replace(plan, choice=choice)) as problem:
            answers = folding.answers(problem, until if scored else float("inf"))
        if answers is not None:
            scored.append(_Scored(choice, answers, folding.figure(problem, answers)))
    if not scored:
        return Selection(LINEAR, f"estimator: {LINEAR.name}; no cross-validation was possible")
    metric = problem.deciding_metric
    ranked = sorted(scored, key=lambda one: metric.shortfall(one.figure, 0.0))
    taken = ranked[0]
    lines = [one for one in ranked if one.choice.kind == "linear"]
    if lines and folding.shortfall(problem, lines[0], taken, _ONE_STANDARD_ERROR).low <= 0:
        taken = lines[0]
    return Selection(taken.choice, _told(problem, folding, taken, ranked))


_ONE_STANDARD_ERROR = 0.16
_BOTH_SIDES = 0.025


def _choices(plan: Plan, rows: int) -> list[Choice]:
    """A table that is wider than long is a line's, boosting needs rows to stop by, and a forest grows large."""
    if rows < len(plan.features):
        return [choice for choice in CHOICES if choice.kind == "linear"]
    limits = {
        "linear": (0, rows),
        "boosting": (_FEWEST_ROWS_FOR_BOOSTING, rows),
        "forest": (0, _MOST_ROWS_FOR_A_FOREST),
    }
    return [choice for choice in CHOICES if limits[choice.kind][0] <= rows <= limits[choice.kind][1]]


def _told(problem: Problem, folding: "_Folding", taken: _Scored, ranked: Sequence[_Scored]) -> str:
    name = problem.deciding_metric.name
    text = f"estimator: {taken.choice.name}, {name} {taken.figure:.4g} in cross-validation"
    others = [one for one in ranked if one is not taken]
    if not others:
        return f"{text}; there was no time for others"
    other = next((one for one in others if one.choice.kind != taken.choice.kind), others[0])
    apart = folding.shortfall(problem, other, taken, _BOTH_SIDES)
    rest = ", ".join(f"{one.choice.name} {one.figure:.4g}" for one in others if one is not other)
    text += f"; {other.choice.name} has {other.figure:.4g} (by {apart.low:.2g} to {apart.high:.2g} worse, 95%)"
    return f"{text}, {rest}" if rest else text


# --- Answers for every row, each from a model that did not see the row's fold.


@dataclass(frozen=True)
class _Folding:
    """The rows that are compared, and for each round the number of every row's fold.

    Where `forward`, the first fold is only learnt from, and each of the others asked of those before it.
    """

    rows: Rows
    units: NDArray[np.integer]
    folds: tuple[NDArray[np.integer], ...]
    classes: tuple[Scalar, ...]
    forward: bool

    @classmethod
    def of(cls, problem: Problem, training: Rows, times: pd.Series | None) -> "_Folding":
        random = np.random.default_rng(_SEED)
        shared = training.keys[problem.side_column.name] if times is None else times.to_numpy(dtype=str)
        units = np.unique(shared, return_inverse=True)[1]
        if len(training) > _MOST_ROWS:
            order = random.permutation(units.max() + 1)[units]  # whole units, up to about so many rows
            chosen = np.sort(np.argsort(order, kind="stable")[:_MOST_ROWS])
            features, target = training.features.iloc[chosen], training.target.iloc[chosen]
            training = Rows(features=features.reset_index(drop=True), target=target.reset_index(drop=True), digest="")
            units = np.unique(units[chosen], return_inverse=True)[1]
        count = int(units.max()) + 1
        rounds = _ROUNDS if len(training) < _FEW_ROWS and times is None else 1
        orders = (random.permutation(count) if times is None else np.arange(count) for _ in range(rounds))
        folds = tuple(order[units] * _FOLDS // count for order in orders)
        classes = sorted(training.target.unique().tolist()) if problem.task == "classification" else ()
        return cls(training, units, folds, tuple(classes), times is not None)

    def answers(self, problem: Problem, until: float) -> Prediction | None:
        """For all rows of all rounds, one behind the other; None where the time or the rows do not suffice."""
        found = []
        for fold in self.folds:
            values = np.empty(len(fold), dtype=self.rows.target.to_numpy().dtype)
            probabilities = np.zeros((len(fold), len(self.classes))) if self.classes else None
            for number in range(self.forward, _FOLDS):
                began = time.process_time()
                asked = fold == number
                try:
                    answered, known = self._fitted(problem, fold < number if self.forward else ~asked, asked)
                except (DataError, ProblemError):
                    return None
                values[asked] = answered.values
                if probabilities is not None and answered.probabilities is not None:
                    probabilities[np.ix_(asked, np.searchsorted(self.classes, known))] = answered.probabilities
                left = _FOLDS * len(self.folds) - (len(found) * _FOLDS + number + 1)
                now = time.process_time()
                if now + left * (now - began) > until:
                    return None
            told = fold >= self.forward
            found.append((values[told], None if probabilities is None else probabilities[told]))
        together = np.concatenate([values for values, _ in found])
        return Prediction(together, np.concatenate([shares for _, shares in found]) if self.classes else None)

    def _fitted(
        self, problem: Problem, seen: NDArray[np.bool_], asked: NDArray[np.bool_]
    ) -> tuple[Prediction, list[Scalar]]:
        # One thread: where the machine is busy, several wait for each other, up to fifty times as long.
        estimator: Any = problem.build(problem.parameters({}, TrainingSettings().seed))
        features, target = self.rows.features, self.rows.target
        with warnings.catch_warnings(), refusals("the estimator refuses a fold"), threadpool_limits(1):
            warnings.simplefilter("ignore")
            estimator.fit(features[seen].reset_index(drop=True), target[seen].reset_index(drop=True))
            answered = predict(estimator, problem.task, features[asked].reset_index(drop=True))
        return answered, estimator.classes_.tolist() if self.classes else []

    def figure(self, problem: Problem, answers: Prediction) -> float:
        return problem.deciding_metric.score(self._actual, answers, self.classes)

    def shortfall(self, problem: Problem, one: _Scored, other: _Scored, error_rate: float) -> Shortfall:
        metric = problem.deciding_metric
        figures = (metric.weighted(self._actual, each.answers, self.classes) for each in (one, other))
        groups = np.unique(self._asked(self.units), return_inverse=True)[1]
        return paired_shortfall(metric, *figures, groups=groups, error_rate=error_rate)

    @property
    def _actual(self) -> NDArray[Any]:
        return self._asked(self.rows.target.to_numpy())

    def _asked(self, values: NDArray[Any]) -> NDArray[Any]:
        """Of each row that is asked, one round behind the other."""
        return np.concatenate([values[fold >= self.forward] for fold in self.folds])


# --- Texts that are too many for a column each.

_MOST_COLUMNS_OF_A_TEXT = 30


def texts_of_many_values(plan: Plan, dataset: Dataset) -> tuple[str, ...]:
    """The texts with more values that five rows share than are worth a column each."""
    counts = {one.name: dataset.training.features[one.name].value_counts() for one in plan.texts}
    return tuple(name for name, count in counts.items() if _frequent(count) > _MOST_COLUMNS_OF_A_TEXT)


def _frequent(counts: pd.Series) -> int:
    return int((counts >= 5).sum())
