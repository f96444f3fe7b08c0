"""A problem of which nothing is written yet: read, asked about leaks, its estimators compared, fitted once."""

import math
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import module_from_spec, spec_from_file_location
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from starterkit.cli.init.draft import LINEAR, Choice, Plan
from starterkit.cli.init.rendering import Limits, problem_source
from starterkit.contract import Prediction, Scalar
from starterkit.data import DatasetReader, read_raw
from starterkit.data.dataset import Dataset, Rows, held_out
from starterkit.errors import DataError, ProblemError
from starterkit.files import scratch_folder
from starterkit.problem import Problem
from starterkit.progress import Note
from starterkit.release.gate.comparison import Shortfall, paired_shortfall
from starterkit.settings import DataSettings, Stage, TrainingSettings
from starterkit.training import TrainedModel, Trainer, permutation_importance, predict, refusals
from starterkit.training.leakage import giveaways, single_feature_shares

# --- The first fit.

_LIMITED = {"regression": ("rmse", "r2"), "classification": ("log_loss", "roc_auc")}


@dataclass(frozen=True)
class Trial:
    """What the first fit came to.

    `limits` lie between its figures and the naive guess's, at a third of the way. `suspects` are the features that tell
    the target nearly perfectly together.
    """

    figure: float
    naive: float
    limits: Limits
    suspects: tuple[str, ...] = ()

    @property
    def learnt(self) -> bool:
        return self.figure < self.naive


def _between(figure: float, guess: float) -> float:
    """A third of the way from the figure to the guess, in as few digits as stay between the two."""
    limit = (2 * figure + guess) / 3
    rounded = (float(f"{limit:.{digits}g}") for digits in range(2, 12))
    return next((one for one in rounded if abs(one - limit) < abs(guess - figure) / 10), limit)


@contextmanager
def imported(plan: Plan) -> Iterator[Problem]:
    """The problem of a plan, of which nothing is written yet."""
    with scratch_folder("starting") as folder:
        path = folder / "problem.py"
        path.write_text(problem_source(plan), "utf-8")
        spec = spec_from_file_location(f"starterkit_starting_{folder.name.rpartition('-')[2]}", path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[spec.name] = module  # pandera looks the annotations up there
        try:
            spec.loader.exec_module(module)
            yield replace(module.problem, name=plan.name)
        finally:
            del sys.modules[spec.name]


def read(problem: Problem, data: Path) -> Dataset:
    """
    Raises
    ------
    DataError
        The rows do not fit, or a side of the holdout is empty.
    """
    return DatasetReader(problem, _settings(data), data.resolve().parent, Stage.LOCAL, keep_key=False).read()


def _settings(data: Path) -> DataSettings:
    return DataSettings.model_construct(source=data.name)  # unchecked: its name may be one that no YAML could carry


def times_of(plan: Plan, data: Path) -> pd.Series | None:
    """When each row of the training side was; None where the holdout is not what comes later."""
    if not plan.cutoff:
        return None
    with imported(plan) as problem:
        frame = read_raw(problem, _settings(data), data.resolve().parent)
    return frame.loc[~held_out(problem, frame), problem.side_column.name]


def leaking(problem: Problem, dataset: Dataset, limit: float, note: Note | None = None) -> dict[str, str]:
    """The features that the gate would take for the target in disguise, each with what it gives away."""
    shares = single_feature_shares(problem, dataset, note)
    reason = "alone removes {:.1%} of the naive guess's loss, as the target in disguise does"
    return {name: reason.format(share) for name, share in shares.items() if not share <= limit}


def leaking_together(problem: Problem, dataset: Dataset) -> dict[str, str]:
    """The same of those that do it in another manner: by a formula, by their gaps, as a mean over all rows."""
    found = {}
    for names, how in giveaways(problem, dataset).items():
        together = names.split(", ")
        for name in together:
            others = " and ".join(one for one in together if one != name)
            found[name] = f"with {others} makes the target, by a formula" if others else how
    return found


def try_out(problem: Problem, dataset: Dataset) -> Trial:
    """Fit once, as the first run will, and derive limits that a later version has to keep.

    Raises
    ------
    DataError
        The holdout has a class that the training side lacks, or the estimator refuses the rows.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Trainer(problem, TrainingSettings()).fit(dataset)
    scores, naive = model.evaluation.scores, model.baseline.scores
    metric = problem.deciding_metric.name
    limits = {}
    for name in _LIMITED[problem.task]:
        figure, guess = scores[name], naive[name]
        if math.isfinite(figure) and math.isfinite(guess):
            limits[name] = ("max" if name in ("rmse", "log_loss") else "min", _between(figure, guess))
    suspects = _leaned_on(model, dataset) if _is_nearly_perfect(model, dataset) else ()
    return Trial(scores[metric], naive[metric], limits, suspects)


_NEARLY_PERFECT = 0.02
"""So small a share of the naive guess's squared error, log loss or mistakes is left."""
_LEAST_LEANED_ON = 0.1


def _is_nearly_perfect(model: TrainedModel, dataset: Dataset) -> bool:
    scores, naive = model.evaluation.scores, model.baseline.scores
    if model.problem.task == "regression":
        return bool(scores["r2"] > 1 - _NEARLY_PERFECT)
    actual = dataset.holdout.target.to_numpy()
    wrong, guessed = (np.mean(one.prediction.values != actual) for one in (model.evaluation, model.baseline))
    return bool(scores["log_loss"] < _NEARLY_PERFECT * naive["log_loss"] or wrong < _NEARLY_PERFECT * guessed)


def _leaned_on(model: TrainedModel, dataset: Dataset) -> tuple[str, ...]:
    """The features without which most of the figure goes, the strongest first; at most four."""
    losses = {name: loss for name, (loss, _) in permutation_importance(model, dataset.holdout).items()}
    strongest = sorted(losses, key=losses.__getitem__, reverse=True)[:4]
    return tuple(name for name in strongest if losses[name] > _LEAST_LEANED_ON * losses[strongest[0]])


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

# --- Which estimator a problem begins with: a few are compared by cross-validation, in the time that there is.
# See docs/decisions/0023-selection.md.


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


def select(
    plan: Plan, dataset: Dataset, times: pd.Series | None = None, seconds: float = SECONDS, note: Note | None = None
) -> Selection:
    """Compare on the training side alone; rows that share a side of the holdout share a fold.

    `times` are the training side's, where the holdout is what comes later: each fold is then asked of models that saw
    what came before it. The best figure decides, unless it is that of trees and a linear model is within a standard
    error of it: a line is smaller, quicker and goes on beyond the rows that it saw.
    """
    until = time.process_time() + seconds
    scored, folding = [], None
    for _, choices in groupby(_choices(plan, len(dataset.training)), key=lambda choice: choice.kind):
        first, *others = choices
        with imported(replace(plan, choice=first)) as problem:
            folding = folding or _Folding.of(problem, dataset.training, times)
            for choice in (first, *others):
                (note or Note()).go_on(choice.name, None)
                answers = folding.answers(problem, choice, until if scored else float("inf"))
                if answers is not None:
                    scored.append(_Scored(choice, answers, folding.figure(answers)))
    if not scored or folding is None:
        return Selection(LINEAR, f"estimator: {LINEAR.name}; no cross-validation was possible")
    metric = folding.problem.deciding_metric
    ranked = sorted(scored, key=lambda one: metric.shortfall(one.figure, 0.0))
    taken = ranked[0]
    lines = [one for one in ranked if one.choice.kind == "linear"]
    if lines and folding.shortfall(lines[0], taken, _ONE_STANDARD_ERROR).low <= 0:
        taken = lines[0]
    return Selection(taken.choice, _told(folding, taken, ranked))


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


def _told(folding: "_Folding", taken: _Scored, ranked: Sequence[_Scored]) -> str:
    name = folding.problem.deciding_metric.name
    text = f"estimator: {taken.choice.name}, {name} {taken.figure:.4g} in cross-validation"
    others = [one for one in ranked if one is not taken]
    if not others:
        return f"{text}; there was no time for others"
    other = next((one for one in others if one.choice.kind != taken.choice.kind), others[0])
    apart = folding.shortfall(other, taken, _BOTH_SIDES)
    rest = ", ".join(f"{one.choice.name} {one.figure:.4g}" for one in others if one is not other)
    text += f"; {other.choice.name} has {other.figure:.4g} (by {apart.low:.2g} to {apart.high:.2g} worse, 95%)"
    return f"{text}, {rest}" if rest else text


# --- Answers for every row, each from a model that did not see the row's fold.


@dataclass(frozen=True)
class _Folding:
    """The rows that are compared, and for each round the number of every row's fold.

    Where `forward`, the first fold is only learnt from, and each of the others asked of those before it.
    """

    problem: Problem
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
        return cls(problem, training, units, folds, tuple(classes), times is not None)

    def answers(self, problem: Problem, choice: Choice, until: float) -> Prediction | None:
        """For all rows of all rounds, one behind the other; None where the time or the rows do not suffice."""
        found = []
        for fold in self.folds:
            values = np.empty(len(fold), dtype=self.rows.target.to_numpy().dtype)
            probabilities = np.zeros((len(fold), len(self.classes))) if self.classes else None
            for number in range(self.forward, _FOLDS):
                began = time.process_time()
                asked = fold == number
                try:
                    answered, known = self._fitted(problem, choice, fold < number if self.forward else ~asked, asked)
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
        self, problem: Problem, choice: Choice, seen: NDArray[np.bool_], asked: NDArray[np.bool_]
    ) -> tuple[Prediction, list[Scalar]]:
        # One thread: where the machine is busy, several wait for each other, up to fifty times as long.
        estimator: Any = problem.build(problem.parameters(choice.parameters, TrainingSettings().seed))
        features, target = self.rows.features, self.rows.target
        with warnings.catch_warnings(), refusals("the estimator refuses a fold"), threadpool_limits(1):
            warnings.simplefilter("ignore")
            estimator.fit(features[seen].reset_index(drop=True), target[seen].reset_index(drop=True))
            answered = predict(estimator, problem.task, features[asked].reset_index(drop=True))
        return answered, estimator.classes_.tolist() if self.classes else []

    def figure(self, answers: Prediction) -> float:
        return self.problem.deciding_metric.score(self._actual, answers, self.classes)

    def shortfall(self, one: _Scored, other: _Scored, error_rate: float) -> Shortfall:
        metric = self.problem.deciding_metric
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
    return tuple(name for name, count in counts.items() if (count >= 5).sum() > _MOST_COLUMNS_OF_A_TEXT)
