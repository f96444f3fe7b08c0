"""`Judge` asks the gate about a version and changes nothing; its evidence, as plain data, is kept for good."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from importlib.metadata import version as version_of
from typing import Any

import numpy as np
from pydantic_core import to_jsonable_python

from starterkit.contract import LEAST_PEOPLE
from starterkit.data.dataset import Dataset
from starterkit.errors import ProblemError
from starterkit.files import scratch_folder
from starterkit.problem import Problem
from starterkit.progress import Progress, silent, step
from starterkit.release.evaluation import collect_evidence
from starterkit.release.gate import Decision, Gate
from starterkit.release.gate.comparison import Rule, compare_with_champion
from starterkit.settings import GateSettings, Settings, Stage
from starterkit.tracking.queries import keep_files
from starterkit.tracking.registry import ModelRegistry, Version
from starterkit.tracking.runs import Tracker
from starterkit.verdict import Evidence, Frozen

# --- The evidence as plain data: what the gate was told, what it said, and under which settings. No row is in it.

FORMAT = 1
"""Version of `evidence.json`."""

_MOST_BINS = 10


@dataclass(frozen=True)
class EvidenceRecord:
    """What an auditor asks for about one decision."""

    content: Mapping[str, Any]

    @property
    def text(self) -> str:
        """The same content gives the same bytes. A figure that is not a number is null, for JSON has none."""
        return json.dumps(self.content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False) + "\n"

    @property
    def digest(self) -> str:
        """SHA-256 of the text, hexadecimal."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def make_record(
    stage: Stage,
    version: Version,
    champion: Version | None,
    evidence: Evidence,
    decision: Decision,
    settings: GateSettings,
    judged: datetime,
) -> EvidenceRecord:
    """The record of a decision; `judged` says when it was made."""
    contract = evidence.contract
    groups = None if evidence.groups is None else len(np.unique(evidence.groups))
    content: dict[str, Any] = {
        "format": FORMAT,
        "kit": version_of("mlflow-starter-kit"),
        "judged": judged.isoformat(timespec="seconds"),
        "stage": str(stage),
        "model": version.model,
        "version": version.number,
        "champion": champion.number if champion else None,
        "passed": decision.passed,
        "checks": [verdict.content for verdict in decision.verdicts],
        "settings": settings.model_dump(mode="json"),
        "problem": {"name": contract.problem, "title": contract.title, "task": contract.task},
        "target": {"name": contract.target.name, "unit": contract.target.unit},
        "metric": {"name": evidence.metric.name, "greater_is_better": evidence.metric.greater_is_better},
        "lineage": contract.lineage,
        "columns": [{"name": one.name, "type": one.type, "sensitivity": one.sensitivity} for one in contract.columns],
        "holdout": {"rows": len(evidence.actual), "groups": groups},
        "policy": evidence.policy,
        "scores": {
            "version": evidence.challenger.scores,
            "champion": evidence.champion.scores if evidence.champion else None,
            "naive guess": evidence.baseline.scores,
        },
        "comparison": _comparison(evidence, decision, settings, ""),
        "slices": {
            name: _comparison(evidence, decision, settings, name) | {"rows": int(rows.sum())}
            for name, rows in evidence.slices.items()
        },
        "fit": _fit(evidence),
        "parity": contract.parity,
        "beside": evidence.beside,
        "overlap": evidence.overlap,
        "leaks": evidence.leaks,
        "giveaways": evidence.giveaways,
        "reach": {"version": evidence.reach, "champion": evidence.champion_reach},
        "explanation": evidence.explanation,
        "strong": evidence.strong,
        "cost": evidence.cost,
        "champion_cost": evidence.champion_cost,
        "reactions": evidence.reactions,
    }
    if evidence.frozen:
        content["retraining"] = evidence.frozen
    return EvidenceRecord(to_jsonable_python(content, inf_nan_mode="null", fallback=np.generic.item))


def _comparison(evidence: Evidence, decision: Decision, settings: GateSettings, name: str) -> dict[str, Any]:
    """Challenger against champion in a slice, or over all rows (""), as the gate compared them."""
    rows = evidence.slices.get(name)
    alone = {"units": len(evidence.actual) if rows is None else int(rows.sum())}
    if evidence.champion is None:
        return alone
    known = [verdict.comparisons[name] for verdict in decision.verdicts if name in verdict.comparisons]
    if known:
        return asdict(known[0])
    # The stage has switched the check off: what it would have seen is kept. Or a metric of the project's own failed.
    rule = Rule(settings.tolerance, settings.min_rows)
    parts = 1 if rows is None else len(evidence.slices)
    try:
        return asdict(compare_with_champion(evidence, replace(rule, error_rate=rule.error_rate / parts), rows))
    except ProblemError:
        return alone


def _fit(evidence: Evidence) -> dict[str, Any]:
    """How answers and truth lie to each other, in counts and means that show no single row."""
    if evidence.contract.classes:
        return {"classes": list(evidence.contract.classes), "confusion": _confusion(evidence)}
    answers, actual = evidence.challenger.prediction.values.astype(float), evidence.actual.astype(float)
    bins = np.array_split(np.argsort(answers, kind="stable"), min(_MOST_BINS, len(answers) // LEAST_PEOPLE) or 1)
    means = [(float(answers[rows].mean()), float(actual[rows].mean()), len(rows)) for rows in bins]
    shown = [one for one in means if one[2] >= LEAST_PEOPLE]
    return {"bins": [{"answered": told, "actual": true, "rows": rows} for told, true, rows in shown]}


def _confusion(evidence: Evidence) -> list[list[int]]:
    classes, actual, answers = evidence.contract.classes, evidence.actual, evidence.challenger.prediction.values
    return [[int(((actual == true) & (answers == told)).sum()) for told in classes] for true in classes]


# --- The record, kept with the version.

EVIDENCE_FILE = "evidence.json"
PAGE_FILE = "gate.html"


def keep_evidence(registry: ModelRegistry, version: Version, record: EvidenceRecord) -> str:
    """Log the record and its page with the version's run, and name both in the version's tags; the record's SHA-256.

    Each judgement has a folder of its own, so that judging again loses nothing. Killed in between, the tags name what
    is whole.
    """
    from starterkit.release.pages import gate_page

    place = f"gate/{version.model}-{version.number}/{record.digest[:12]}"
    with scratch_folder() as folder:
        (folder / EVIDENCE_FILE).write_text(record.text, encoding="utf-8", newline="\n")
        (folder / PAGE_FILE).write_text(gate_page(record.content, record.digest), encoding="utf-8")
        keep_files(registry.connection, version.run, folder, place)
    registry.tag(version, {"evidence": record.digest, "evidence_place": place})
    return record.digest


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
    """A judgement that was carried out: the version is champion, or refused; or challenger, if `shadow`."""

    shadow: bool = False

    @property
    def champion(self) -> Version | None:
        """The champion that stands now."""
        return self.version if self.decision.passed and not self.shadow else self.earlier


@dataclass(frozen=True)
class Judge:
    """A stage's gate, told what the stage's data shows of its versions."""

    problem: Problem
    settings: Settings
    gate: Gate
    registry: ModelRegistry
    tracker: Tracker
    progress: Progress = silent

    def judge(
        self,
        dataset: Dataset,
        number: int | None = None,
        against_estimator: bool = False,
        explanation: str = "",
        frozen: tuple[Frozen, Dataset] | None = None,
    ) -> Judgement:
        """Ask about a version (the newest, if none is named); in prod of its estimator only where that is wanted.

        `explanation` says why figures are true that are too good, or odd; `frozen` what guards a retraining.
        """
        asked = self.gate.asks_estimator and self.settings.stage is not Stage.PROD
        with step(self.progress, "ask the gate") as note:
            version, champion = self.registry.version(number), self.registry.champion()
            evidence = collect_evidence(
                self.problem,
                dataset,
                self.registry,
                self.tracker,
                version,
                champion,
                against_estimator=asked or against_estimator,
                explanation=explanation,
                frozen=frozen,
            )
            decision = self.gate.decide(evidence)
            note.text = f"{sum(one.passed for one in decision.asked)} of {len(decision.asked)} checks passed"
        stage, gate = self.settings.stage, self.settings.gate
        record = make_record(stage, version, champion, evidence, decision, gate, datetime.now(UTC))
        return Judgement(version, decision, champion, record, evidence.contract_digest)
