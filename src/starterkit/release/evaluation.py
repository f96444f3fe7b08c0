"""What the gate is told of a version: its cost, what it knew before, how it reacts to changes, and its answers."""

import time
from dataclasses import replace
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.contract import Column, Contract, Parity, Prediction, Scalar
from starterkit.data.dataset import ROWS_FILE, Dataset, RowRecord, slices_of
from starterkit.errors import ContractError, KitError, ProblemError, TrackingError
from starterkit.problem import Direction, Expectation, Invariance, Jitter, Problem
from starterkit.serving.graph import Columns
from starterkit.serving.predictor import Predictor
from starterkit.settings import Stage
from starterkit.tracking.registry import ModelRegistry, Version
from starterkit.tracking.runs import Tracker
from starterkit.training import evaluate, naive_baseline, predict
from starterkit.training.agreement import beside
from starterkit.training.leakage import giveaways, single_feature_shares
from starterkit.verdict import Candidate, Contamination, Cost, Evidence, Frozen, RobustnessResult

# --- What answers cost, measured side by side: a busy machine slows both versions down alike.

_MOST_ROWS = 1000
_WARM_UP = 3
_LEAST_ROUNDS = 15
_MOST_ROUNDS = 200
_SECONDS = 1.0


def measure_costs(challenger: Predictor, champion: Predictor, columns: Columns) -> tuple[Cost, Cost]:
    """The cost of both, over the same rows, in turns, with medians over the turns."""
    one = {name: values[:1] for name, values in columns.items()}
    many = {name: values[:_MOST_ROWS] for name, values in columns.items()}
    single, several = (_in_turns(challenger, champion, asked) for asked in (one, many))
    rows = len(next(iter(many.values())))
    ours, theirs = (
        Cost(one_row=single[place], many_rows=several[place], rows=rows, size=predictor.size)
        for place, predictor in enumerate((challenger, champion))
    )
    return ours, theirs


def _in_turns(challenger: Predictor, champion: Predictor, columns: Columns) -> tuple[float, float]:
    """Median seconds of a call, for as many turns as the time allows, but a few in any case."""
    for _ in range(_WARM_UP):
        _seconds(challenger, columns), _seconds(champion, columns)
    turns: list[tuple[float, float]] = []
    end = time.perf_counter() + _SECONDS / 2
    while len(turns) < _LEAST_ROUNDS or (len(turns) < _MOST_ROUNDS and time.perf_counter() < end):
        turns.append((_seconds(challenger, columns), _seconds(champion, columns)))
    return median(turn[0] for turn in turns), median(turn[1] for turn in turns)


def _seconds(predictor: Predictor, columns: Columns) -> float:
    began = time.perf_counter()
    predictor.predict(columns)
    return time.perf_counter() - began


# --- Which rows of the holdout a version knew before, and which have a twin on the training side.


def find_contamination(tracker: Tracker, run: str, dataset: Dataset) -> Contamination:
    """What a run's record of its rows says about the holdout."""
    return contamination_of(RowRecord.from_bytes(tracker.read_file(run, ROWS_FILE), f"run {run}"), dataset)


def contamination_if_known(tracker: Tracker, run: str, dataset: Dataset) -> Contamination:
    """The same for a champion, whose run may be gone: what it knew is worth a word and refuses nobody."""
    try:
        return find_contamination(tracker, run, dataset)
    except TrackingError:
        return Contamination(trained_on=None)


def contamination_of(record: RowRecord | None, dataset: Dataset) -> Contamination:
    """What a record says about a holdout. None, or one of other columns, says nothing."""
    trained_on = record.trained_on(dataset.holdout) if record else None
    if trained_on is None:
        return Contamination(trained_on=None)
    holdout, training = (rows.features.assign(**{"": rows.target}) for rows in (dataset.holdout, dataset.training))
    return Contamination(
        trained_on=trained_on,
        alike=_standing_in(dataset.training.features, dataset.holdout.features),
        copied=_standing_in(training, holdout),
        usual=float(training.duplicated(keep=False).mean()),
    )


def _standing_in(known: pd.DataFrame, asked: pd.DataFrame) -> int:
    """How many rows also stand in the other table."""
    known_hashes, asked_hashes = (pd.util.hash_pandas_object(table, index=False) for table in (known, asked))
    return int(asked_hashes.isin(known_hashes).sum())


# --- How a version answers rows that are changed on purpose: as the problem asks.

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


# --- What the gate is told: every candidate's answers over the same holdout rows, given as the API would give them.

_OTHER_DATA = "A model for other data is another model: give the problem a new name"


def collect_evidence(
    problem: Problem,
    dataset: Dataset,
    registry: ModelRegistry,
    tracker: Tracker,
    version: Version,
    champion: Version | None,
    against_estimator: bool = False,
    explanation: str = "",
    frozen: tuple[Frozen, Dataset] | None = None,
) -> Evidence:
    """The evidence for or against a version, taken from its registered files and its run, not from memory.

    `frozen` is what guards a retraining, and the data whose holdout it is of.
    """
    challenger = registry.open(version)
    serving, fault = None, None
    if champion is not None:
        try:
            serving = str(champion), registry.open(champion)
        except ContractError as error:
            fault = _not_compared(str(champion), error)
    evidence = evaluate_version(problem, dataset, (str(version), challenger), serving)
    parity, unasked = _beside_estimator(dataset, tracker, version, challenger) if against_estimator else (None, "")
    return replace(
        evidence,
        beside=parity,
        beside_fault=unasked,
        champion_fault=fault or evidence.champion_fault,
        origin=Stage.STAGING if registry.stage is Stage.PROD else registry.stage,
        policy=dataset.policy,
        contract_digest=challenger.digest,
        overlap=replace(find_contamination(tracker, version.run, dataset), coarse=problem.coarse),
        champion_overlap=contamination_if_known(tracker, champion.run, dataset) if champion else None,
        explanation=explanation,
        frozen=_over_frozen(problem, *frozen, challenger, evidence, serving) if frozen else None,
    )


def _over_frozen(
    problem: Problem,
    frozen: Frozen,
    dataset: Dataset,
    challenger: Predictor,
    evidence: Evidence,
    champion: tuple[str, Predictor] | None,
) -> Frozen:
    """The deciding metric of both, and of a naive guess, over the frozen holdout."""
    name, holdout, classes = problem.deciding_metric.name, dataset.holdout, challenger.contract.classes
    guess = _guess(problem, dataset, challenger.contract)
    naive = evaluate("naive guess", problem.all_metrics, holdout, guess, classes)
    serving = _candidate(*champion, problem, dataset).scores[name] if champion and evidence.champion else None
    figure = _candidate("challenger", challenger, problem, dataset).scores[name]
    return replace(frozen, figure=figure, serving=serving, naive=naive.scores[name])


def _beside_estimator(
    dataset: Dataset, tracker: Tracker, version: Version, predictor: Predictor
) -> tuple[Parity | None, str]:
    """How closely a version answers as the estimator of its run, or why that cannot be said."""
    try:
        return beside(tracker.load_estimator(version.run), dataset, predictor), ""
    except KitError as error:
        return None, error.what
    except (ImportError, AttributeError, ValueError, TypeError) as error:  # a class that is gone, columns that are
        return None, f"its estimator cannot be asked: {type(error).__name__}"


def evaluate_version(
    problem: Problem, dataset: Dataset, challenger: tuple[str, Predictor], champion: tuple[str, Predictor] | None
) -> Evidence:
    """The evidence about a challenger, beside the champion where there is one that can be opened. Both have names."""
    holdout, (name, predictor) = dataset.holdout, challenger
    guess = _guess(problem, dataset, predictor.contract)
    answered, fault, costs = None, None, (None, None)
    if champion is not None:
        try:
            answered = _answering(_candidate(*champion, problem, dataset))
            costs = measure_costs(predictor, champion[1], holdout.columns)
        except ContractError as error:
            fault = _not_compared(champion[0], error)
    return Evidence(
        contract=predictor.contract,
        metric=problem.deciding_metric,
        actual=holdout.target.to_numpy(),
        features=holdout.columns,
        groups=holdout.groups,
        slices=slices_of(problem, dataset),
        challenger=_candidate(name, predictor, problem, dataset),
        baseline=evaluate("naive guess", problem.all_metrics, holdout, guess, predictor.contract.classes),
        champion=answered,
        champion_contract=champion[1].contract if champion else None,
        champion_fault=fault,
        leaks=single_feature_shares(problem, dataset),
        giveaways=giveaways(problem, dataset),
        reach=reach_of(problem, dataset, predictor),
        champion_reach=reach_of(problem, dataset, champion[1]) if champion and answered else None,
        timed=any(column.role == "time" for column in problem.columns) and not problem.holdout.cutoff,
        strong=problem.strong,
        cost=costs[0],
        champion_cost=costs[1],
        reactions=measure_robustness(problem, dataset, predictor),
    )


def _guess(problem: Problem, dataset: Dataset, contract: Contract) -> Prediction:
    """The naive guess, with a probability for each of the version's classes: this data may lack one, or have more."""
    naive: Any = naive_baseline(problem.task, dataset.training)
    guess = predict(naive, problem.task, dataset.holdout.features)
    if guess.probabilities is None or not contract.probabilities:
        return Prediction(guess.values)
    of_class = dict(zip(naive.classes_.tolist(), guess.probabilities.T, strict=True))
    never = np.zeros(len(guess.values))
    return guess._replace(probabilities=np.column_stack([of_class.get(label, never) for label in contract.classes]))


def _not_compared(champion: str, error: ContractError) -> ContractError:
    return ContractError(f"{champion} serves, but cannot be compared: {error.what}", error.hint)


def _answering(champion: Candidate) -> Candidate:
    """A champion that has no number for some rows, for example where a value is missing now, compares with nobody."""
    prediction = champion.prediction
    numbers = prediction.numbers
    gaps = np.isnan(numbers) if numbers.dtype.kind == "f" else np.zeros(1, np.bool_)  # a label is an answer
    if without := int(gaps.reshape(len(gaps), -1).any(axis=1).sum()):
        raise ContractError(f"it has no answer for {without:,} of the {len(numbers):,} holdout rows", _OTHER_DATA)
    return champion


def _candidate(name: str, predictor: Predictor, problem: Problem, dataset: Dataset) -> Candidate:
    contract, holdout = predictor.contract, dataset.holdout
    lacking = [column for column in contract.names if column not in holdout.columns]
    if lacking:
        raise ContractError(f"it needs column '{lacking[0]}', which the data no longer has", _OTHER_DATA)
    if contract.task != problem.task:
        raise ContractError(f"it answers as a {contract.task} does", _OTHER_DATA)
    for column in contract.columns:
        is_text = holdout.columns[column.name].dtype.kind not in "biuf"
        if is_text != (column.type == "string"):
            raise ContractError(f"it takes column '{column.name}' as {column.kind}, the data has another", _OTHER_DATA)
    if contract.classes and not set(holdout.target.unique().tolist()) <= set(contract.classes):
        raise ContractError("it does not know all classes that the holdout has", _OTHER_DATA)
    return evaluate(name, problem.all_metrics, holdout, predictor.predict(holdout.columns), contract.classes)
