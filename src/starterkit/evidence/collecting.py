"""What the gate is told: every candidate's answers over the same holdout rows, given as the API would give them."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from starterkit.contract import Prediction, Scalar
from starterkit.data import Dataset, slices_of
from starterkit.errors import ContractError
from starterkit.evidence.cost import measure_costs
from starterkit.evidence.overlap import find_overlap, overlap_if_known
from starterkit.evidence.reactions import observe_reactions
from starterkit.inference import Predictor
from starterkit.problem import Problem
from starterkit.registry import ModelRegistry, Version
from starterkit.settings import Stage
from starterkit.tracking import Tracker
from starterkit.training import evaluate, naive_baseline, predict, single_feature_shares
from starterkit.verdict import Candidate, Evidence

_OTHER_DATA = "A model for other data is another model: give the problem a new name"


def collect_evidence(
    problem: Problem,
    dataset: Dataset,
    registry: ModelRegistry,
    tracker: Tracker,
    version: Version,
    champion: Version | None,
) -> Evidence:
    """The evidence for or against a version, taken from its registered files and its run, not from memory."""
    challenger = registry.open(version)
    serving, fault = None, None
    if champion is not None:
        try:
            serving = str(champion), registry.open(champion)
        except ContractError as error:
            fault = _not_compared(str(champion), error)
    evidence = weigh(problem, dataset, (str(version), challenger), serving)
    return replace(
        evidence,
        champion_fault=fault or evidence.champion_fault,
        origin=Stage.STAGING if registry.stage is Stage.PROD else registry.stage,
        policy=dataset.policy,
        overlap=find_overlap(tracker, version.run, dataset),
        champion_overlap=overlap_if_known(tracker, champion.run, dataset) if champion else None,
    )


def weigh(
    problem: Problem,
    dataset: Dataset,
    challenger: tuple[str, Predictor],
    champion: tuple[str, Predictor] | None,
) -> Evidence:
    """The evidence about a challenger, beside the champion where there is one that can be opened. Both have names."""
    holdout, (name, predictor) = dataset.holdout, challenger
    guess = _guess(problem, dataset, predictor.contract.classes)
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
        baseline=evaluate("naive guess", problem.task, holdout, guess, predictor.contract.classes),
        champion=answered,
        champion_contract=champion[1].contract if champion else None,
        champion_fault=fault,
        leaks=single_feature_shares(problem, dataset),
        strong=problem.strong,
        cost=costs[0],
        champion_cost=costs[1],
        reactions=observe_reactions(problem, dataset, predictor),
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
    return ContractError(f"{champion} serves, but cannot be compared: {error.what}", error.mend)


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
    return evaluate(name, problem.task, holdout, predictor.predict(holdout.columns), contract.classes)
