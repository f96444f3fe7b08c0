"""What the gate is told of a version, and `Judge`, who asks it and changes nothing."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from statistics import median
from typing import Any

import numpy as np
import pandas as pd

from starterkit.contract import Parity, Prediction, Scalar
from starterkit.data.dataset import ROWS_FILE, Dataset, RowRecord, slices_of
from starterkit.errors import ContractError, KitError, TrackingError
from starterkit.problem import Problem
from starterkit.progress import Progress, silent, step
from starterkit.release.evidence import EvidenceRecord, make_record
from starterkit.release.gate import Decision, Gate
from starterkit.release.reactions import measure_robustness, reach_of
from starterkit.serving.graph import Columns
from starterkit.serving.predictor import Predictor
from starterkit.settings import Settings, Stage
from starterkit.tracking.registry import ModelRegistry, Version
from starterkit.tracking.runs import Tracker
from starterkit.training.agreement import beside
from starterkit.training.leakage import giveaways, single_feature_shares
from starterkit.training.trainer import evaluate, naive_baseline, predict
from starterkit.verdict import Candidate, Contamination, Cost, Evidence

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
) -> Evidence:
    """The evidence for or against a version, taken from its registered files and its run, not from memory."""
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
    )


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
    problem: Problem,
    dataset: Dataset,
    challenger: tuple[str, Predictor],
    champion: tuple[str, Predictor] | None,
) -> Evidence:
    """The evidence about a challenger, beside the champion where there is one that can be opened. Both have names."""
    holdout, (name, predictor) = dataset.holdout, challenger
    guess = _guess(problem, dataset, predictor.contract.classes)
    guess = guess if predictor.contract.probabilities else Prediction(guess.values)
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


def _guess(problem: Problem, dataset: Dataset, classes: Sequence[Scalar]) -> Prediction:
    """The naive guess, with a probability for each of the version's classes: this data may lack one, or have more."""
    naive: Any = naive_baseline(problem.task, dataset.training)
    guess = predict(naive, problem.task, dataset.holdout.features)
    if guess.probabilities is None:
        return guess
    of_class = dict(zip(naive.classes_.tolist(), guess.probabilities.T, strict=True))
    never = np.zeros(len(guess.values))
    return guess._replace(probabilities=np.column_stack([of_class.get(label, never) for label in classes]))


def _not_compared(champion: str, error: ContractError) -> ContractError:
    return ContractError(f"{champion} serves, but cannot be compared: {error.what}", error.hint)


def _answering(champion: Candidate) -> Candidate:
    """A champion that has no number for some rows, for example where a value is missing now, compares with nobody."""
    prediction = champion.prediction
    numbers = prediction.values if prediction.probabilities is None else prediction.probabilities
    without = int(np.isnan(numbers).reshape(len(numbers), -1).any(axis=1).sum())
    if without:
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


# --- The judge.


@dataclass(frozen=True)
class Judgement:
    """What the gate decided about a version, the champion that it was compared with, and the evidence.

    `contract` is the SHA-256 of the ``contract.json`` that it judged.
    """

    version: Version
    decision: Decision
    earlier: Version | None
    record: EvidenceRecord
    contract: str = ""


@dataclass(frozen=True)
class Promotion(Judgement):
    """A judgement that was carried out: the version is champion, or refused."""

    @property
    def champion(self) -> Version | None:
        """The champion that stands now."""
        return self.version if self.decision.passed else self.earlier


class Judge:
    """A stage's gate, told what the stage's data shows of its versions."""

    def __init__(
        self,
        problem: Problem,
        settings: Settings,
        gate: Gate,
        registry: ModelRegistry,
        tracker: Tracker,
        progress: Progress = silent,
    ) -> None:
        self._problem = problem
        self._settings = settings
        self._gate = gate
        self._registry = registry
        self._tracker = tracker
        self._progress = progress

    def judge(
        self,
        dataset: Dataset,
        number: int | None = None,
        against_estimator: bool = False,
        explanation: str = "",
    ) -> Judgement:
        """Ask about a version (the newest, if none is named); in prod of its estimator only where that is wanted.

        `explanation` says why figures are true that are too good, or odd.
        """
        asked = self._gate.asks_estimator and self._settings.stage is not Stage.PROD
        with step(self._progress, "ask the gate") as note:
            version, champion = self._registry.version(number), self._registry.champion()
            evidence = collect_evidence(
                self._problem,
                dataset,
                self._registry,
                self._tracker,
                version,
                champion,
                against_estimator=asked or against_estimator,
                explanation=explanation,
            )
            decision = self._gate.decide(evidence)
            note.text = f"{sum(one.passed for one in decision.asked)} of {len(decision.asked)} checks passed"
        stage, gate = self._settings.stage, self._settings.gate
        record = make_record(stage, version, champion, evidence, decision, gate, datetime.now(UTC))
        return Judgement(version, decision, champion, record, evidence.contract_digest)
