"""Versions, the champion, and runs that are asked for afterwards, on a real store."""

import socket
import sqlite3
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

from starterkit.errors import ContractError, TrackingError
from starterkit.settings import Stage, TrackingSettings, load_settings
from starterkit.tracking.connection import connect, explained
from starterkit.tracking.queries import check_round_trip, fetch_file, look_up, runs_page
from starterkit.tracking.registry import ModelRegistry, UnknownVersion


def test_version_is_found_by_number_or_alias_and_one_whose_files_are_gone_is_named(connection):
    registry, client = ModelRegistry(connection, Stage.DEV, "trial"), connection.client
    made = client.create_logged_model(client.create_experiment("dev.trial", connection.artifacts), "without files")
    model_id = client.finalize_logged_model(made.model_id, "READY").model_id
    with pytest.raises(UnknownVersion, match="has no champion"):
        registry.find("champion")
    with pytest.raises(TrackingError, match=r"'dev\.trial' has no version"):
        registry.version()
    assert registry.champion() is None
    first = registry.register("run1", model_id, {"commit": "abc"}, "first")
    second = registry.register("run2", model_id, {"commit": "def"}, "second")
    assert (second.number, second.run, second.tags["commit"], str(second)) == (2, "run2", "def", "dev.trial version 2")
    assert (registry.version(), registry.version(1).tags["commit"], registry.champion()) == (second, "abc", None)
    registry.set_champion(first)
    assert (registry.champion(), registry.find("champion"), registry.find("2")) == (first, first, second)
    none_such = dict.fromkeys(("0", "3"), r"no version \d.*Name one of 1, 2")  # 0 is not the newest
    for name, said in (none_such | dict.fromkeys(("", "two", "-1", "²", "0x2"), "names no version")).items():
        with pytest.raises(UnknownVersion, match=said):
            registry.find(name)
    with pytest.raises(TrackingError, match="has no version 7"):
        registry.version(7)
    with pytest.raises((TrackingError, ContractError)) as raised:
        registry.open(registry.register("run1", model_id, {}, "first"))
    assert "\n" not in str(raised.value)


def test_run_says_who_when_and_how_good_has_a_page_and_what_the_store_does_not_have_is_none(first_run, tmp_path):
    root, summary = first_run
    connection, run = connect(load_settings(root, {}).tracking, root), summary.exported.run
    record = look_up(connection, run)
    assert record.user
    assert timedelta() < datetime.now(UTC) - record.started < timedelta(hours=1)
    assert record.metrics["rmse"] < record.metrics["baseline_rmse"]
    assert (record.page, record.tags["metric"], record.name[:9]) == ("", "rmse", "diabetes ")
    remote = look_up(replace(connection, artifacts=None, name="https://mlflow.example"), run)
    experiment, ends = connection.client.get_run(run).info.experiment_id, "?workflowType=machine_learning"
    assert remote.page == f"https://mlflow.example/#/experiments/{experiment}/runs/{run}{ends}"
    other = connection.client.create_experiment("dev.older")  # without the view, for which MLflow would complain
    for name, page in (
        ("local.diabetes", f"#/experiments/{experiment}/runs{ends}&viewStateShareKey=starterkit"),
        ("local.nothing", f"#/experiments{ends}"),
        ("dev.older", f"#/experiments/{other}/runs{ends}"),
    ):
        assert runs_page(connection, name) == page
    assert look_up(connection, "0" * 32) is None
    for asked, name in (("0" * 32, "rows.npz"), (run, "nothing.txt")):
        assert fetch_file(connection, asked, name, tmp_path) is None
    assert fetch_file(connection, run, "rows.npz", tmp_path) == tmp_path / "rows.npz"
    assert (tmp_path / "rows.npz").is_file()


def test_round_trip_proves_the_store_and_leaves_no_run(connection):
    assert "written and read back" in check_round_trip(connection)
    experiment = connection.client.get_experiment_by_name("starterkit-doctor")
    assert connection.client.search_runs([experiment.experiment_id]) == []


ENDED = "API request to endpoint /api/2.0/mlflow/experiments/search failed with error code"


def of_driver(words: str) -> OperationalError:
    return OperationalError("INSERT INTO runs VALUES (?)", ("Rumpelstilzchen",), sqlite3.OperationalError(words))


def of_mlflow(words: str) -> Exception:
    return MlflowException(f"(raised as a result of Query-invoked autoflush; consider …)\n{of_driver(words)}")


@pytest.mark.parametrize("wrapped", [of_driver, of_mlflow])
@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("database or disk is full", "Free space on the disk"),
        ("attempt to write a readonly database", "See that you may write it"),
        ("unable to open database file", "See that you may write it"),
        ("database is locked", "wait for it or end it"),
        ("database disk image is malformed", "Bring a copy of it back"),
        ("something new", "See that the file is whole"),
    ],
)
def test_drivers_words_and_the_hint_that_fits(wrapped, words, hint):
    with pytest.raises(TrackingError) as raised, explained("sqlite:///mlflow.db"):
        raise wrapped(words)
    assert raised.value.what == f"MLflow at sqlite:///mlflow.db failed: {words}"
    assert hint in raised.value.hint
    assert "Rumpelstilzchen" not in str(raised.value)


MISTAKEN = MlflowException("The sklearn model could not be serialized")
MISTAKEN.__cause__ = OSError(28, "No space left on device")  # the machine's refusal, taken for something else
BROKEN = f"API request to http://s:5000/api/{'x' * 300} failed with HTTPConnectionPool(host='s', port=5000): Max "
BROKEN += f"retries exceeded with url: /api/{'x' * 300} (Caused by ResponseError('too many 500 error responses'))"


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MlflowException(f"{ENDED} 401 != 200. Response body: 'You are not authe…'"), "KIT_TRACKING__PASSWORD"),
        (MlflowException(f"{ENDED} 403 != 200. Response body: 'Permission denied'"), "This user may not do that"),
        (MlflowException("x. 403 Client Error: Forbidden for url: http://s/x. Response text: …"), "This user"),
        (MlflowException(f"{ENDED} 403 != 200. Response body: 'Invalid Host header - …'"), "Add this name with"),
        (OSError(28, "No space left on device", "/x/model.onnx"), r"on device: /x/model\.onnx\. Free space"),
        (MISTAKEN, r"failed: No space left on device.*Free space"),
        (MlflowException(BROKEN), r"^MLflow at \S+ failed: too many 500 error responses\. .*its disk may be full"),
    ],
)
def test_a_refusal_has_its_own_hint(error, said):
    with pytest.raises(TrackingError, match=said), explained("http://localhost:5000"):
        raise error


def test_dead_server_is_one_line_with_its_address_and_no_password(settings):
    with socket.socket() as taken:  # bound and not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TrackingError) as raised:
            connect(TrackingSettings(uri=f"http://me:secret@{place}"), settings.root)
    assert raised.value.what == f"MLflow at http://me:***@{place} does not answer: Connection refused"
    assert "Start the server" in raised.value.hint
