"""What the gate is told: every candidate's answers over the same holdout rows, given as the API would give them."""

from starterkit.data import Dataset
from starterkit.errors import ContractError
from starterkit.inference import Predictor
from starterkit.problem import Problem
from starterkit.registry import ModelRegistry, Version
from starterkit.training import evaluate, naive_baseline, predict
from starterkit.verdict import Candidate, Evidence


def collect_evidence(
    problem: Problem, dataset: Dataset, registry: ModelRegistry, version: Version, champion: Version | None
) -> Evidence:
    """The evidence for or against a version, taken from its registered files and not from memory."""
    holdout = dataset.holdout
    challenger = registry.open(version)
    guess = predict(naive_baseline(problem.task, dataset.training), problem.task, holdout.features)
    serving, fault = None, ""
    if champion is not None:
        try:
            serving = _candidate(str(champion), problem, dataset, registry.open(champion))
        except ContractError as error:
            fault = f"{champion} serves, but cannot be compared: {error}"
    return Evidence(
        contract=challenger.contract,
        metric=problem.deciding_metric,
        actual=holdout.target.to_numpy(),
        features=holdout.columns,
        challenger=_candidate(str(version), problem, dataset, challenger),
        baseline=evaluate("naive guess", problem.task, holdout, guess, challenger.contract.classes),
        champion=serving,
        champion_fault=fault,
    )


def _candidate(name: str, problem: Problem, dataset: Dataset, predictor: Predictor) -> Candidate:
    contract, holdout = predictor.contract, dataset.holdout
    mend = "A model for other data is another model: give the problem a new name"
    lacking = [column for column in contract.names if column not in holdout.columns]
    if lacking:
        raise ContractError(f"it needs column '{lacking[0]}', which the data no longer has", mend)
    if contract.classes and not set(holdout.target.unique().tolist()) <= set(contract.classes):
        raise ContractError("it does not know all classes that the holdout has", mend)
    return evaluate(name, problem.task, holdout, predictor.predict(holdout.columns), contract.classes)
