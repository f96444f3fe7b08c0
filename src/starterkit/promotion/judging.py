"""`Judge` asks the gate about a version and changes nothing."""

from dataclasses import dataclass
from datetime import UTC, datetime

from starterkit.data import Dataset
from starterkit.evidence import EvidenceRecord, collect_evidence, make_record
from starterkit.gate import Decision, Gate
from starterkit.problem import Problem
from starterkit.progress import Progress, silent, step
from starterkit.registry import ModelRegistry, Version
from starterkit.settings import Settings
from starterkit.tracking import Tracker


@dataclass(frozen=True)
class Judgement:
    """What the gate decided about a version, the champion that it was compared with, and the evidence."""

    version: Version
    decision: Decision
    earlier: Version | None
    record: EvidenceRecord


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

    def judge(self, dataset: Dataset, number: int | None = None) -> Judgement:
        """Ask about a version (the newest, if none is named)."""
        with step(self._progress, "ask the gate") as note:
            version, champion = self._registry.version(number), self._registry.champion()
            evidence = collect_evidence(self._problem, dataset, self._registry, self._tracker, version, champion)
            decision = self._gate.decide(evidence)
            passed = sum(verdict.passed for verdict in decision.asked)
            note.text = f"{passed} of {len(decision.asked)} checks passed"
        stage, gate = self._settings.stage, self._settings.gate
        record = make_record(stage, version, champion, evidence, decision, gate, datetime.now(UTC))
        return Judgement(version, decision, champion, record)
