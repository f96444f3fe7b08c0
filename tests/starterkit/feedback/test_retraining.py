"""From a changed world to a champion that knows it: the watcher, its run in MLflow, and the retraining."""

import http.server
import json
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pydantic import SecretStr

from example_project import problem
from starterkit.errors import ContractError, Refused, SettingsError
from starterkit.feedback.alerts import RuleBroken, judge_rules, require_known
from starterkit.feedback.observation import Window
from starterkit.feedback.retraining import Retrainer
from starterkit.feedback.watcher import PAGE_FILE, Watcher
from starterkit.pipeline import Pipeline
from starterkit.settings import RuleSettings, Settings, Stage
from starterkit.tracking.lock import Locked, PromotionLock
from starterkit.tracking.runs import Tracker

START = datetime(2026, 11, 1, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(hours=1))
RETRAIN = (RuleSettings(figure="rmse", above=70, then="retrain"), RuleSettings(figure="drifted_columns", above=0))


class Kept:
    """Predictions that are at hand, read as from the log."""

    def __init__(self, *batches: pa.RecordBatch) -> None:
        self._batches = batches

    def iterate(self, start: datetime, end: datetime) -> Iterator[pa.RecordBatch]:
        yield from self._batches

    def refused(self, start: datetime, end: datetime) -> Mapping[tuple[str, str], int]:
        return {("out of range", "bmi"): 3}

    def keep_window(self, model: str, content: Mapping[str, Any], end: datetime) -> None:
        pass


def asked(settings: Settings, moved: float, *, named: bool = True, labels: bool = True) -> pa.RecordBatch:
    """The example's patients before the champion, in a world that moved by so many standard deviations."""
    rows = pd.read_csv(settings.root / "data" / "diabetes.csv")
    random = np.random.default_rng(5)
    inputs = rows[[column.name for column in problem.features]].copy()
    inputs["blood_pressure"] += 14 * moved
    inputs["bmi"] += random.normal(0, 0.2, len(rows))
    registry = Pipeline(problem, settings).registry
    champion = registry.champion()
    assert champion is not None
    arrays = {name: inputs[name].to_numpy(np.float64) for name in inputs}
    answers = registry.open(champion).predict(arrays).values
    truth = np.clip(rows["progression"].to_numpy() + 70 * moved + random.normal(0, 5, len(rows)), 0, 500)
    count = len(rows)
    return pa.RecordBatch.from_pydict({
        "id": pa.array([n.to_bytes(16, "big") + bytes(4) for n in range(count)], pa.binary(20)),
        "time": pa.array(WINDOW.micros[0] + np.arange(count), pa.timestamp("us", "UTC")),
        "version": [str(champion.number)] * count,
        "key": pa.array(rows["patient_id"] if named else [None] * count, pa.string()),
        "latency": np.full(count, 0.001),
        **arrays,
        "prediction": answers,
        "label": pa.array(truth if labels else [None] * count, pa.float64()),
    })  # fmt: skip


def with_monitoring(settings: Settings, **given: Any) -> Settings:
    return settings.model_copy(update={"monitoring": settings.monitoring.model_copy(update=given)})


def test_a_changed_world_is_seen_told_and_learnt(after_a_run: Settings) -> None:
    heard: list[dict[str, Any]] = []

    class Hook(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(("127.0.0.1", 0), Hook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    hook = SecretStr(f"http://127.0.0.1:{server.server_port}/")
    settings = with_monitoring(after_a_run, rules=RETRAIN, webhook=hook, email_to=("a@b.example",), smtp="127.0.0.1:9")
    pipeline = Pipeline(problem, settings)
    try:
        still = Watcher(pipeline, Kept(asked(settings, 0))).watch(WINDOW)
        still.require_kept()
        reader = Kept(asked(settings, 1.0), asked(settings, 1.0))  # each patient was asked about twice
        watched = Watcher(pipeline, reader).watch(WINDOW)
    finally:
        server.shutdown()
        server.server_close()
    assert {one.rule.figure for one in watched.broken} == {"rmse", "drifted_columns"}
    assert [one["model"] for one in heard] == ["local.diabetes"]
    assert watched.run in heard[0]["text"]
    assert [one.partition(" did")[0] for one in watched.untold] == ["the mail server"]
    with pytest.raises(RuleBroken):
        watched.require_kept()
    kept = Tracker(pipeline.registry.connection, "local.diabetes.monitoring")
    assert kept.figures(1)[0][0]["drifted_columns"] >= 1
    page = (kept.read_file(watched.run, PAGE_FILE) or b"").decode()
    assert ("blood_pressure" in page, "<script" in page) == (True, False)
    retrainer = Retrainer(pipeline, reader)
    done = retrainer.retrain(WINDOW, "rmse above 70")
    record, champion = done.promotion.record.content, pipeline.registry.champion()
    assert done.added + done.recent == len(pd.read_csv(settings.root / "data" / "diabetes.csv"))
    assert done.promotion.decision.passed, [one.reason for one in done.promotion.decision.refusals]
    assert champion.number == done.promotion.version.number
    assert record["comparison"]["figure"] < record["comparison"]["serving"]
    assert record["retraining"]["why"] == "rmse above 70"
    assert "frozen holdout" in {one["check"] for one in record["checks"]}
    assert record["overlap"]["trained_on"] == 0  # a patient's rows are on the side that the patient has for good
    with pytest.raises(Refused, match="the next one may be at"):
        retrainer.retrain(WINDOW, "again")


def test_what_learns_noise_never_passes_the_gate(after_a_run: Settings) -> None:
    settings = with_monitoring(after_a_run, cooldown_hours=0)
    batch = asked(settings, 0)
    noise = np.random.default_rng(1).permutation(batch.column("label").to_numpy())
    wrong = batch.set_column(batch.schema.get_field_index("label"), "label", pa.array(noise))
    pipeline = Pipeline(problem, settings)
    before = pipeline.registry.champion()
    done = Retrainer(pipeline, Kept(wrong)).retrain(WINDOW, "a try")
    assert not done.promotion.decision.passed
    assert pipeline.registry.champion() == before
    assert done.content["title"].endswith("the gate refused")


def test_rows_that_cannot_be_placed_train_nothing(after_a_run: Settings) -> None:
    pipeline = Pipeline(problem, after_a_run)
    for given in ({"named": False}, {"labels": False}):
        with pytest.raises(Refused, match="too few to train on"):
            Retrainer(pipeline, Kept(asked(after_a_run, 1, **given))).retrain(WINDOW, "a try")
    for kept in after_a_run.root.rglob("reference.json"):
        kept.unlink()
    with pytest.raises(ContractError, match="is older than monitoring"):
        Watcher(pipeline, Kept()).watch(WINDOW)


def test_never_two_at_once_and_never_where_rows_are_hidden(after_a_run: Settings) -> None:
    pipeline = Pipeline(problem, after_a_run)
    retrainer = Retrainer(pipeline, Kept())
    other = PromotionLock(pipeline.registry.connection, "local.diabetes.retraining", 5, "another")
    with other.held(), pytest.raises(Locked, match="another retraining is under way"):
        retrainer.retrain(WINDOW, "a try")
    hidden = after_a_run.model_copy(update={"stage": Stage.DEV})
    with pytest.raises(Refused, match="in bands"):
        Retrainer(Pipeline(problem, hidden), Kept()).retrain(WINDOW, "a try")


def test_rules_count_windows_and_doubt_in_favour() -> None:
    rule = RuleSettings(figure="rmse", above=60, windows=2)
    bad, unsure = {"rmse": 70.0, "rmse_low": 65.0}, {"rmse": 70.0, "rmse_low": 55.0}
    for now, before, broken in ((bad, [bad], True), (bad, [unsure], False), (bad, [], False), ({}, [bad], False)):
        assert judge_rules([rule], now, before)[0].is_broken == broken
    assert judge_rules([RuleSettings(figure="rows", below=10)], {"rows": 0.0}, [])[0].is_broken
    assert judge_rules([RuleSettings(figure="rmse", above=10)], {}, [])[0].state == "unknown"
    with pytest.raises(SettingsError, match=r"rsme.*did you mean rmse"):
        require_known([RuleSettings(figure="rsme", above=1)], ["rmse"], ["bmi"])
