"""Predictions that are in the log before they are answered, and the labels that come for them."""

import json
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from multiprocessing import Pipe
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pyarrow.parquet as pq
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sklearn.linear_model import LinearRegression
from sqlalchemy import select, text
from starlette.testclient import TestClient

from starterkit.errors import ContractError, DataError, UserError
from starterkit.feedback.blocks import Field, Schema
from starterkit.feedback.labels import Labels, number_of
from starterkit.feedback.migrations import NewerLog
from starterkit.feedback.observation import Window
from starterkit.feedback.predictions import LogUnavailable, PredictionLog, ShadowRecorder
from starterkit.feedback.retention import Retention
from starterkit.feedback.shadowing import compare_shadow
from starterkit.feedback.tables import metadata, shadows
from starterkit.feedback.writer import Writer
from starterkit.serving.follower import Named
from starterkit.serving.http import answers, create_app
from starterkit.serving.http.prometheus import Metrics
from starterkit.serving.predictor import Predictor, ServedModel
from starterkit.serving.shadow import Heard, Scorer, Shadow
from starterkit.serving.validation import read_records
from starterkit.settings import ServingSettings

DAY = timedelta(days=1)
ROWS = [{"age": 40, "city": "Linz", "score": 1.5}, {"age": 71, "city": None, "score": 0.25}]


@contextmanager
def api(served: Any, log: PredictionLog, **settings: object) -> Iterator[TestClient]:
    metrics = Metrics()
    writer = Writer(log, metrics.lose)
    with TestClient(create_app(served, ServingSettings.model_validate(settings), metrics, log=writer)) as client:
        yield client


def kept(log: PredictionLog, days: float = 1) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    return [row for batch in log.iterate(now - DAY * days, now + DAY) for row in batch.to_pylist()]


def ask(client: TestClient, rows: Any = ROWS, **more: object) -> str:
    answer = client.post("/predict", json={"records": rows, **more})
    assert answer.status_code == 200, answer.text
    return answer.headers["x-prediction-id"]


def test_what_is_answered_is_in_the_log_with_all_that_belongs_to_it(visits, log):
    with api(visits, log, require_api_key=True, api_key="a-key-for-the-tests") as client:
        client.headers["X-API-Key"] = "a-key-for-the-tests"
        ids = [ask(client, keys=["a", "b"]), ask(client)]
        client.post("/invocations", json={"dataframe_records": ROWS[:1]})
        client.post("/predict", json={"records": [{"age": 400, "city": "Linz"}]})
    rows = kept(log)
    assert [row["id"][:16].hex() for row in rows[::2]][:2] == ids == sorted(ids)
    first = rows[1]
    told = {**ROWS[1], "prediction": "yes", "version": "3", "stage": "local", "key": "b", "caller": "serving.api_key"}
    assert {name: first[name] for name in told} == told
    assert first["probability.yes"] == pytest.approx(1)
    assert first["label"] is None
    assert 0 < first["latency"] < 5
    assert abs(first["time"] - datetime.now(UTC)) < timedelta(minutes=1)
    assert len(rows) == 5
    now = datetime.now(UTC)
    assert log.refused(now - DAY, now + DAY) == {("", ""): 1, ("range", "age"): 1, ("missing", "score"): 1}


class Registry:
    """Names one challenger, or none."""

    def __init__(self, challenger: Any) -> None:
        self._challenger = challenger

    def named(self) -> Named | None:
        return self._challenger and Named("4", "")

    @contextmanager
    def opened(self, wanted: Named) -> Iterator[Any]:
        if isinstance(self._challenger, Exception):
            raise self._challenger
        yield self._challenger


def beside(scorer: Callable[[Any], Scorer]) -> Callable[[], Any]:
    """What scores on a thread, for processes share no fixture; the faults' tests have real ones."""

    def start() -> Any:
        ours, theirs = Pipe()
        thread = Thread(target=lambda: scorer(theirs).run(0), daemon=True)
        thread.start()
        return ours, thread

    return start


def test_a_shadow_is_kept_beside_the_answer_and_touches_none(visits, log):
    fewer = replace(visits.contract, columns=visits.contract.columns[:-1])
    first, answers = iter([True]), visits.predictor.predict
    breaks = {"predict": lambda table: answers(table if next(first, False) else {}), "beyond": "refuse"}
    broken = replace(visits, version="5", predictor=SimpleNamespace(contract=visits.contract, **breaks))
    cases = (
        (replace(visits, version="4"), visits.contract, {"scored": 2}, {"version": "4"}),
        (broken, visits.contract, {"failed": 2}, {"version": "5"}),
        (ContractError("a file is gone"), visits.contract, {"dropped": 2}, {"refused": "version 4: a file is gone"}),
        (replace(visits, version="4"), fewer, {"dropped": 2}, {"refused": "version 4: it has other columns"}),
        (visits, visits.contract, {}, {"version": "3"}),
        (None, visits.contract, {}, None),
    )
    for challenger, contract, expected, told in cases:
        metrics, writer = Metrics(), Writer(log, lambda rows: None)
        app = create_app(visits, ServingSettings(), metrics, log=writer)
        with TestClient(app) as client:
            given = {"contract": contract, "challengers": Registry(challenger), "record": partial(ShadowRecorder, log)}
            app.shadow = Shadow(beside(partial(Scorer, **given)), metrics)
            until(lambda shadow=app.shadow, now=metrics: shadow._rests or any(now.in_shadow))
            ids = [ask(client, keys=["a", "b"]), ask(client)]
            until(lambda want=expected, now=metrics: want.items() <= now._shadowed.items())
            shown = client.get("/health/ready").json().get("shadow")
        writer.close()
        assert {name: count for name, count in metrics._shadowed.items() if count} == expected
        assert shown == told or shown["refused"].startswith(told["refused"])
        if expected == {"scored": 2}:
            with log.connection() as connection:
                assert [one.id.hex() for one in connection.execute(select(shadows))] == ids
            shadowed = ids[0]
    hour = Window.before(None, 60)
    Labels(log).add([{"id": f"{shadowed}-0", "label": "yes"}])
    compared = compare_shadow(log, replace(hour, end=hour.end + DAY))
    shown = [(one.champion, one.shadow, one.rows, one.agreement, one.labelled, one.errors) for one in compared]
    assert shown == [("3", "4", 4, 1, 1, (1, 1))]
    assert compared[0].answers["now"] == compared[0].answers["then"]
    assert {row["version"] for row in kept(log)} == {"3"}, "a shadow's answers are no predictions"
    if log.key is not None:
        Retention(log).erase("a")
        table = read_records(visits.contract, [visits.contract.example])
        late = Heard(shadowed.encode(), table, visits.answer(table).prediction, 0.1)
        ShadowRecorder(log, replace(visits, version="4")).write([late])
        with log.connection() as connection:
            assert shadowed not in {one.id.hex() for one in connection.execute(select(shadows))}


def until(is_so: Any) -> None:
    end = time.monotonic() + 5
    while not is_so() and time.monotonic() < end:
        time.sleep(0.05)


def test_the_tables_are_those_that_the_migrations_make_and_a_newer_kits_are_refused(log):
    with log.connection() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": "prediction_log_version"})
        assert compare_metadata(context, metadata) == []
    with log.engine.begin() as connection:
        connection.execute(text("UPDATE prediction_log_version SET version_num = '9999'"))
    with pytest.raises(NewerLog, match="newer version of the kit"):
        log.prepare(again=True)


def test_labels_come_late_once_and_are_corrected(visits, log, tmp_path):
    with api(visits, log) as client:
        one, two = ask(client, keys=["a", "b"]), ask(client, keys=["b", "c"])

        def send(*labels: dict[str, object], status: int = 200) -> Any:
            answer = client.post("/feedback", json={"labels": labels})
            assert answer.status_code == status, answer.text
            return answer.json()

        assert send({"id": f"{one}-0", "label": "no"}) == {"added": 1, "corrected": 0, "unchanged": 0}
        assert send({"id": f"{one}-0", "label": "no"}, {"key": "b", "label": "yes"})["unchanged"] == 1
        assert client.post("/feedback", json={"key": "b", "label": "no"}).json()["corrected"] == 2
        assert [row["label"] for row in kept(log)] == ["no", "no", "no", None]
        file = tmp_path / "labels.csv"
        file.write_text(f"id,key,label\n{two}-1,,yes\n,a,yes\n")
        assert Labels(log).import_csv(file) == (1, 1, 0)
        assert [row["label"] for row in kept(log)] == ["yes", "no", "no", "yes"]
        for label, kind, words in (
            ({"id": "0" * 32}, "unknown", "id of no prediction"), ({"key": "z"}, "unknown", "key of no prediction"),
            ({"id": f"{one}-2"}, "type", "row 2 of 2"), ({"id": "nonsense"}, "type", "id that is none"),
            ({"id": f"{one}-0", "label": "maybe"}, "type", "a label that is none"),
            ({"id": f"{one}-0", "label": 1}, "type", "a label that is none"),
            ({"id": one, "key": "a"}, "type", "not an object"), ({"key": "a\0"}, "type", "id that is none"),
        ):  # fmt: skip
            (error,) = send({"id": f"{two}-0", "label": "yes"}, {"label": "no"} | label, status=422)["errors"]
            assert (error["row"], error["kind"]) == (1, kind)
            assert words in error["problem"]
        (error,) = send({"id": f"{one}-0", "label": "no"}, {"id": one, "label": "yes"}, status=422)["errors"]
        assert "contradicts item 0" in error["problem"]
        assert len(send(*({"id": f"{n:032x}", "label": "no"} for n in range(3000)), status=422)["errors"]) == 100
        assert client.post("/feedback", content=b"x" * 6_000_000, headers={"content-type": "application/json"}).is_error
        assert [row["label"] for row in kept(log)] == ["yes", "no", "no", "yes"], "a refused batch changes nothing"
    another = type(visits)("local.others", "1", visits.predictor)
    with api(another, log) as client:
        refused = client.post("/feedback", json={"id": f"{one}-0", "label": "no"})
        assert "is for a prediction of local.visits" in refused.json()["detail"]
    with log.connection() as connection:
        assert connection.execute(text("SELECT count(*) FROM label")).scalar() == 7, "what was corrected is kept"


def test_a_label_is_a_number_of_the_target():
    target = Field(name="y", type="float", minimum=0, maximum=100)
    schema = Schema(model="m", version="1", stage="local", task="regression", inputs=(), target=target)
    assert [number_of(schema, label) for label in (3, "3.5")] == [3.0, 3.5]
    assert [number_of(schema, label) for label in (10**400, float("nan"), "x", True, [], 101)] == [None] * 6


def test_old_days_go_to_parquet_and_their_labels_are_told_so(visits, log):
    with api(visits, log) as client:
        old = ask(client, keys=["a", "b"])
        client.post("/feedback", json={"id": old, "label": "no"})
        before = kept(log)
        retention, later = Retention(log), datetime.now(UTC).date() + DAY * (log.settings.keep_days + 1)
        assert retention.prune().rows == 0
        done = retention.prune(later)
        assert (done.rows, kept(log)) == (2, [])
        table = pq.read_table(done.written[0])
        assert table.to_pylist() == before
        (error,) = client.post("/feedback", json={"id": old, "label": "no"}).json()["errors"]
        assert error["kind"] == "pruned"
        assert retention.erase("b").archived == 1
        assert pq.read_table(done.written[0])["key"].to_pylist() == ["a"]
        assert retention.prune(later + DAY * log.settings.archive_days).removed == done.written


def test_versions_with_other_columns_and_another_target_share_a_log(visits, diabetes, log, tmp_path):
    folder = diabetes.export(LinearRegression(), tmp_path / "other", 100)[0].folder
    other = ServedModel(visits.name, "4", Predictor(folder))
    asked = {"3": ROWS[0], "4": dict(other.contract.example)}
    for served in (visits, other):
        with api(served, log) as client:
            one = ask(client, [asked[served.version]], keys=["a"])
            label = {"id": one, "label": {"3": "no", "4": 151}[served.version]}
            assert client.post("/feedback", json=label).json()["added"] == 1
    rows = {row["version"]: row for row in kept(log)}
    assert [{name: rows[version][name] for name in asked[version]} for version in "34"] == [*asked.values()]
    assert [rows[version]["label"] for version in "34"] == ["no", 151]
    written = Retention(log).prune(datetime.now(UTC).date() + DAY * (log.settings.keep_days + 1)).written
    assert {*written} == {*log.folder.glob("archive/*.parquet")}
    assert len(written) == 2
    with api(visits, log) as client:  # as if the clock had jumped back
        ask(client, ROWS)
    (again,) = Retention(log).prune(datetime.now(UTC).date() + DAY * (log.settings.keep_days + 1)).written
    assert again not in written
    assert pq.read_table(again).num_rows == 2
    assert Retention(log).erase("a").archived == 2


def test_an_erased_record_is_nowhere_and_those_beside_it_are(visits, log):
    with api(visits, log) as client:
        ask(client, [ROWS[0], ROWS[1] | {"score": 17.28125}], keys=["a", "a-key-of-a-person"])
        client.post("/feedback", json={"key": "a-key-of-a-person", "label": "no"})
        done = Retention(log).erase("a-key-of-a-person")
        assert (done.predictions, done.labels) == (1, 1)
        assert [(row["key"], row["score"]) for row in kept(log)] == [("a", 1.5)]
        with pytest.raises(DataError, match="no prediction has this key"):
            Retention(log).erase("a-key-of-a-person")
        with log.connection() as connection:
            said = connection.execute(text("SELECT content FROM log_event WHERE kind = 'erased'")).scalar()
        assert json.loads(said)["key_digest"] == done.digest


def test_a_stage_keeps_no_column_that_it_may_not_see_and_a_new_file_takes_the_place_of_the_log(visits, stage):
    log = PredictionLog(stage("dev"))
    with api(visits, log) as client:
        given = {"id": f"{ask(client)}-0", "label": "no"}
        assert client.post("/feedback", json=given).json()["added"] == 1
        for file in log.folder.glob("predictions.db*"):
            file.unlink()
        given = {"id": f"{ask(client, keys=['a', 'b'])}-0", "label": "no"}
        assert client.post("/feedback", json=given).json()["added"] == 1
    rows = kept(PredictionLog(stage("dev")))
    assert rows[0]["label"] == "no"
    assert [(row["age"], row["key"], row["score"]) for row in rows] == [(45, None, 1.5), (75, None, 0.25)]


def test_what_is_written_is_carried_into_sqlites_file_beside_the_commits(visits, stage):
    log = PredictionLog(stage())
    with api(visits, log) as client:
        ask(client)
        end, found = time.monotonic() + 20, []
        while not found and time.monotonic() < end:
            with closing(sqlite3.connect(f"file:{log.file}?immutable=1", uri=True)) as alone, suppress(sqlite3.Error):
                found = alone.execute("SELECT * FROM prediction").fetchall()  # without what the log beside it holds
    assert found


@pytest.mark.parametrize(("when_lost", "status"), [("refuse", 503), ("answer", 200)])
def test_a_log_that_cannot_be_written_is_said_and_comes_back(visits, stage, tmp_path, when_lost, status, caplog):
    place = tmp_path / "not yet"
    log = PredictionLog(stage(database=f"sqlite:///{place}/log.db", when_lost=when_lost))
    place.write_text("a file where the folder would be")
    with api(visits, log) as client:
        answer = client.post("/predict", json={"records": ROWS})
        assert answer.status_code == status
        assert ("retry-after" in answer.headers) == (status == 503)
        assert client.post("/feedback", json={"id": "0" * 32, "label": "no"}).status_code == 503
        assert ("starterkit_unrecorded_total 2" in client.get("/metrics").text) == (status == 200)
        assert "the prediction log" in caplog.text
        place.unlink()
        found = []
        while not found:
            client.post("/predict", json={"records": ROWS})
            with suppress(LogUnavailable):
                found = kept(log)
    with pytest.raises(UserError, match="no address"):
        PredictionLog(stage(database="sqlite:"))


def test_a_backup_from_before_the_version_gets_its_columns_again(visits, log, monkeypatch):
    with api(visits, log) as client:
        ask(client)
        with log.connection() as connection:
            connection.execute(text("DELETE FROM prediction_schema"))
        ask(client)
        with pytest.raises(LogUnavailable, match="lacks the columns"):
            kept(log)
        monkeypatch.setattr("starterkit.feedback.writer.time", SimpleNamespace(monotonic=lambda: 1e9))
        ask(client)
        assert len(kept(log)) == 6


def test_a_clock_that_jumps_back_makes_no_id_twice_and_is_told_once(visits, log, monkeypatch, caplog):
    at = SimpleNamespace(ms=0)
    monkeypatch.setattr(answers, "time", SimpleNamespace(time_ns=lambda: at.ms * 1_000_000))
    monkeypatch.setattr("starterkit.feedback.writer.now", lambda: at.ms * 1_000)
    ids = []
    with api(visits, log) as client:
        for at.ms in (9_000, 3_000, 3_000, 4_000):
            ids.append(ask(client))
    assert ids[1] < ids[2] < ids[3] < ids[0]
    told = [one for one in caplog.messages if "clock" in one]
    assert len(told) == 1
    assert told[0].startswith("the clock jumped back by 6 seconds")
