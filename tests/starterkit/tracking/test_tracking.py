"""Runs on a real SQLite store, and what happens where there is none."""

import socket
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest

from starterkit.errors import TrackingError
from starterkit.settings import Settings, TrackingSettings
from starterkit.tracking.connection import Connection, connect
from starterkit.tracking.queries import check_round_trip
from starterkit.tracking.runs import Example, Tracker


@pytest.fixture
def tracker(connection: Connection) -> Tracker:
    return Tracker(connection, "local.trial")


def test_artifacts_of_a_local_store_lie_beside_it(connection: Connection, tracker: Tracker, repository: Path) -> None:
    with tracker.start("first") as run:
        connection.client.log_text(run.id, "here", "note.txt")
    assert [file.read_text() for file in (repository / "mlartifacts").rglob("note.txt")] == ["here"]


@pytest.mark.parametrize("failure", [ZeroDivisionError, KeyboardInterrupt])
def test_failing_block_marks_the_run_as_failed(
    connection: Connection, tracker: Tracker, failure: type[BaseException]
) -> None:
    with pytest.raises(failure), tracker.start("first") as run:
        raise failure
    assert connection.client.get_run(run.id).info.status == "FAILED"


def test_latest_is_the_newest_finished_run(tracker: Tracker) -> None:
    with tracker.start("first"):
        pass
    with tracker.start("second") as second:
        pass
    with pytest.raises(ZeroDivisionError), tracker.start("third"):
        raise ZeroDivisionError
    assert tracker.latest() == second.id


def test_resumed_run_gets_more(tracker: Tracker) -> None:
    with tracker.start("first") as run:
        run.tag({"a": "1"})
    with tracker.resume(run.id) as again:
        again.tag({"b": "2"})
    tags = tracker.tags(run.id)
    assert (tags["a"], tags["b"]) == ("1", "2")


def test_what_there_is_not_is_named(tracker: Tracker) -> None:
    with pytest.raises(TrackingError, match="nosuchrun"):
        tracker.tags("nosuchrun")
    with tracker.start("first") as run:
        pass
    with pytest.raises(TrackingError, match=f"run {run.id} has no estimator"):
        tracker.load_estimator(run.id)


def test_deleted_experiment_is_named(connection: Connection, tracker: Tracker) -> None:
    with tracker.start("first"):
        pass
    found = connection.client.get_experiment_by_name("local.trial")
    assert found is not None
    connection.client.delete_experiment(found.experiment_id)
    with pytest.raises(TrackingError, match=r"experiment 'local\.trial' is deleted"), tracker.start("second"):
        pass


def test_dead_server_is_one_line_with_its_address(settings: Settings) -> None:
    with socket.socket() as taken:  # bound and not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TrackingError) as raised:
            connect(TrackingSettings(uri=address), settings.root)
    assert raised.value.what == f"MLflow at {address} does not answer: Connection refused"
    assert "Start the server" in raised.value.hint


def test_password_in_an_address_is_never_shown(settings: Settings) -> None:
    with pytest.raises(TrackingError) as raised:
        connect(TrackingSettings(uri="http://me:secret@127.0.0.1:1"), settings.root)
    assert "secret" not in str(raised.value)
    assert "http://me:***@127.0.0.1:1" in raised.value.what


def test_corrupt_database_is_one_line(settings: Settings, repository: Path) -> None:
    (repository / "broken.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(TrackingError, match=r"broken\.db is not a database"):
        connect(TrackingSettings(uri="sqlite:///broken.db"), settings.root)


def test_round_trip_proves_the_store_and_leaves_no_run(connection: Connection) -> None:
    assert "written and read back" in check_round_trip(connection)
    experiment = connection.client.get_experiment_by_name("starterkit-doctor")
    assert experiment is not None
    assert connection.client.search_runs([experiment.experiment_id]) == []


@pytest.mark.slow
def test_two_that_make_the_store_at_once_do_not_ruin_it(fresh_repository: Path) -> None:
    probe = "from starterkit.settings import load_settings as l; s = l();"
    probe += "from starterkit.tracking.connection import connect; print(connect(s.tracking, s.root).name)"
    both = [
        subprocess.Popen([sys.executable, "-c", probe], cwd=fresh_repository, stdout=subprocess.PIPE) for _ in range(2)
    ]
    assert [process.communicate(timeout=90)[0].strip() for process in both] == [b"sqlite:///mlflow.db"] * 2
    assert not list(fresh_repository.glob(".mlflow.db.*"))


def test_an_estimator_of_another_library_names_it_and_comes_back(tracker: Tracker) -> None:
    from mlflow.pyfunc import get_model_dependencies
    from xgboost import XGBRegressor

    rows = pd.DataFrame({"a": [1.0, 2.0, 3.0], "b": [3.0, 1.0, 2.0]})
    fitted = XGBRegressor(n_estimators=2, n_jobs=1).fit(rows, rows.a)
    with tracker.start("another library") as run:
        model_id = run.log_estimator(fitted, Example(rows, rows[["a"]]))
    pinned = Path(get_model_dependencies(f"models:/{model_id}")).read_text()
    assert f"xgboost-cpu=={version('xgboost-cpu')}" in pinned.splitlines()
    assert "mlflow-starter-kit" not in pinned
    assert tracker.load_estimator(run.id).predict(rows).tolist() == fitted.predict(rows).tolist()
