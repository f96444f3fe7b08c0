"""The record of a decision: whole, the same for the same, and a page that shows it."""

import hashlib
import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from example_project import problem
from starterkit.contract import Prediction
from starterkit.data import DatasetReader
from starterkit.pipeline import Pipeline, Summary
from starterkit.release import pages as reports
from starterkit.release.evaluation import collect_evidence
from starterkit.release.gate import Decision, Gate
from starterkit.release.judgement import EvidenceRecord, make_record
from starterkit.release.pages import gate_page
from starterkit.settings import GateSettings, Stage, load_settings
from starterkit.tracking.registry import ModelRegistry, Version
from starterkit.tracking.runs import Tracker
from starterkit.verdict import Comparison

FIGURES = ("figure", "serving", "low", "high", "units", "differing", "needed")
CARRIED = Comparison(outcome="not worse", same=True, margin=42.0, **dict.fromkeys(FIGURES, 1))
WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
WHOSE = Version(model="dev.diabetes", number=1, run="0123", tags={}, created=WHEN)


@pytest.fixture(scope="module")
def made(first_run: tuple[Path, Summary]) -> tuple[Any, EvidenceRecord]:
    """What the gate was told of the first version against itself, with one more value planted that is no number."""
    root, _ = first_run
    settings = load_settings(root, {})
    registry = ModelRegistry.of(settings, problem.name)
    dataset = DatasetReader(problem, settings.data, root, settings.stage).read()
    tracker = Tracker(registry.connection, f"{settings.stage}.{problem.name}")
    version = registry.version(1)
    evidence = collect_evidence(problem, dataset, registry, tracker, version, version)
    evidence = replace(evidence, leaks={**evidence.leaks, "<script>alert(1)</script>": float("nan")})
    decision = Gate(settings.gate, problem.task).decide(evidence)

    def recorded(decision: Decision) -> EvidenceRecord:
        return make_record(settings.stage, version, version, evidence, decision, settings.gate, WHEN)

    record, off = recorded(decision), tuple(replace(verdict, comparisons={}) for verdict in decision.verdicts)
    assert recorded(decision).digest == record.digest
    assert recorded(Decision(off)).digest == record.digest  # what no check compared is compared for the record alone
    carried = replace(decision.verdicts[-1], comparisons={"": CARRIED})
    assert recorded(Decision((carried,))).content["comparison"]["margin"] == 42  # and what one did is not done again
    return evidence, record


def test_record_says_all_that_was_told_and_decided(made):
    evidence, record = made
    read = json.loads(record.text)
    assert read == record.content
    assert record.digest == hashlib.sha256(record.text.encode()).hexdigest()
    assert read["scores"]["version"] == pytest.approx(dict(evidence.challenger.scores))
    assert read["holdout"]["rows"] == len(evidence.actual)
    assert read["comparison"]["same"]
    assert set(read["slices"]) == set(evidence.slices)
    assert read["leaks"]["<script>alert(1)</script>"] is None
    assert read["lineage"]["data_digest"] == evidence.contract.lineage.data_digest
    assert [one["check"] for one in read["checks"]][:3] == ["policy", "parity", "estimator"]
    assert not read["passed"]  # a share that is no number is never a pass


def test_record_holds_no_row(made):
    evidence, record = made
    bins = record.content["fit"]["bins"]
    assert sum(one["rows"] for one in bins) == len(evidence.actual)
    assert min(one["rows"] for one in bins) >= 5
    numbers = set(re.findall(r"-?\d+\.\d{6,}", record.text))
    answers = {repr(float(value)) for value in evidence.challenger.prediction.values}
    assert not answers & numbers
    told = replace(evidence.challenger, prediction=Prediction(evidence.challenger.prediction.values[:4]))
    few = replace(evidence, actual=evidence.actual[:4], challenger=told, champion=None, slices={})
    said = make_record(Stage.DEV, WHOSE, None, few, Decision(()), GateSettings(), WHEN)
    assert said.content["fit"]["bins"] == []
    assert "Answers and truth" not in gate_page(said.content, said.digest)


def test_page_shows_the_decision_and_fetches_nothing(made):
    _, record = made
    page = gate_page(record.content, record.digest)
    assert [words for words in ("The gate refuses it", record.digest, "&lt;script&gt;") if words not in page] == []
    assert "<script" not in page
    addresses = set(re.findall(r"(?:https?:)?//[a-z][^\s\"'<)]+", page))
    assert addresses <= {"http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"}
    assert gate_page(record.content, record.digest) == page
    fit = {"classes": ["no", "<b>yes</b>"], "confusion": [[5, 1], [2, 7]]}
    page = gate_page({**made[1].content, "fit": fit}, "0")
    assert "How many held-out rows of each class got which answer." in page
    assert "<b>yes</b>" not in page


def test_promotion_keeps_the_evidence_with_the_version_and_judging_alone_nothing(first_run, tmp_path):
    root, summary = first_run
    settings = load_settings(root, {})
    registry = ModelRegistry.of(settings, "diabetes")
    connection, version = registry.connection, registry.version(1)
    record = summary.promotion.record
    assert version.tags["evidence"] == record.digest
    client = MlflowClient(connection.uri, connection.uri)
    kept = Path(client.download_artifacts(version.run, version.tags["evidence_place"], str(tmp_path)))
    assert (kept / "evidence.json").read_text("utf-8") == record.text
    assert "The gate lets it pass" in (kept / "gate.html").read_text("utf-8")
    assert client.get_run(version.run).info.status == "FINISHED"
    pipeline = Pipeline(problem, settings)
    judged = pipeline.judge(pipeline.read(), 1)
    assert pipeline.registry.version(1) == version
    assert judged.record.content["version"] == 1
    assert np.isfinite(judged.record.content["comparison"]["figure"])


STYLE = Path(reports.__file__).with_name("templates") / "style.css"
DARK = "@media screen and (prefers-color-scheme: dark)"  # paper is white, whatever the screen is


def colours(text: str) -> dict[str, str]:
    return dict(re.findall(r"--(\w+): (#[0-9a-f]{6});", text))


def luminance(colour: str) -> float:
    """Of WCAG 2.2, from 0 for black to 1 for white."""
    shares = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in shares]
    return sum(weight * share for weight, share in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_can_be_read(scheme):
    light, dark = STYLE.read_text("utf-8").split(DARK)
    named = colours(light) if scheme == "light" else colours(dark)
    assert len(named) == 8
    for text, ground in product(("ink", "quiet", "good", "bad", "unsure"), ("paper", "shade")):
        darker, lighter = sorted(luminance(named[one]) + 0.05 for one in (text, ground))
        assert lighter / darker >= 4.5, (text, ground)
