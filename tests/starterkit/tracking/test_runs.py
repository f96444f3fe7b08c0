"""Runs on a real SQLite store: what they hold, how they end, and whose are dead."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer
from skops.io import dumps, get_untrusted_types

from starterkit.errors import TrackingError
from starterkit.machine import PROCESS, state_of, this_process
from starterkit.tracking import connection
from starterkit.tracking.connection import Connection, explained
from starterkit.tracking.runs import Example, Tracker, types_of


@pytest.fixture
def tracker(connection: Connection) -> Tracker:
    return Tracker(connection, "local.trial")


def test_artifacts_of_a_local_store_lie_beside_it(connection: Connection, tracker: Tracker, repository: Path) -> None:
    with tracker.start("first") as run:
        connection.client.log_text(run.id, "here", "note.txt")
    assert [file.read_text() for file in (repository / "mlartifacts").rglob("note.txt")] == ["here"]


@pytest.mark.parametrize("failure", [ZeroDivisionError, KeyboardInterrupt])
def test_failing_block_marks_the_run_as_failed(connection: Connection, tracker: Tracker, failure: Any) -> None:
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
    connection.client.delete_experiment(found.experiment_id)
    with pytest.raises(TrackingError, match=r"experiment 'local\.trial' is deleted"), tracker.start("second"):
        pass


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


# --- A run whose process was killed is told from one that works; what is not certain counts as alive.


needs_proc = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="nothing is certain without /proc")


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def tags_of(process: subprocess.Popen[bytes]) -> dict[str, str]:
    """The tags that a run would have if it were this process's."""
    host, boot, *_ = this_process().split(" ")
    started = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    return {PROCESS: f"{host} {boot} {process.pid} {started}"}


@needs_proc
def test_killed_run_is_marked_and_one_that_works_is_not(connection: Connection, tracker: Tracker, child: Any) -> None:
    with tracker.start("works") as works:
        experiment = connection.client.get_run(works.id).info.experiment_id
        dies = connection.client.create_run(experiment, tags=tags_of(child)).info.run_id
        assert [run.state for run in tracker.open_runs()] == ["alive", "alive"]
        assert tracker.end_dead_runs() == []
        child.kill()
        child.wait()
        assert [run.id for run in tracker.end_dead_runs()] == [dies]
        assert connection.client.get_run(dies).info.status == "KILLED"
        assert connection.client.get_run(works.id).info.status == "RUNNING"
        assert tracker.end_dead_runs() == []


@needs_proc
def test_run_that_was_killed_while_it_got_more_is_finished_as_before(connection: Any, tracker: Any, child: Any) -> None:
    with tracker.start("first") as run:
        pass
    with tracker.resume(run.id):
        connection.client.set_tag(run.id, PROCESS, tags_of(child)[PROCESS])
    connection.client.set_terminated(run.id, "RUNNING")
    child.kill()
    child.wait()
    assert [dead.status_before for dead in tracker.end_dead_runs()] == ["FINISHED"]
    assert tracker.latest() == run.id


def test_no_runs_are_open_where_there_is_no_experiment(tracker: Tracker) -> None:
    assert tracker.open_runs() == []


@needs_proc
def test_only_a_process_of_this_boot_of_this_machine_is_dead_for_certain() -> None:
    host, boot, process, started = this_process().split(" ")
    assert int(process) == os.getpid()

    def state(*parts: str) -> str:
        return state_of({PROCESS: " ".join(parts)})

    assert state(host, boot, process, started) == "alive"
    assert state(host, boot, process, str(int(started) - 1)) == "dead"  # its id is somebody else's by now
    assert state(host, boot, "4194304", started) == "dead"
    assert state("elsewhere", boot, "4194304", started) == "unknown"
    assert state(host, "another boot".replace(" ", "-"), "4194304", started) == "unknown"
    assert state(host, boot, "4194304", "-") == "unknown"
    assert state_of({}) == "unknown"


@needs_proc
def test_ended_process_that_nobody_waited_for_is_dead(child: subprocess.Popen[bytes]) -> None:
    tags = tags_of(child)
    assert state_of(tags) == "alive"
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert state_of(tags) == "dead"


# --- Ctrl-C while MLflow opens or ends a run. A signal cannot be aimed at that moment, so the call itself raises.


def interrupted_after(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the call do its work, the first time, and not come back."""
    real = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> None:
        monkeypatch.setattr(owner, name, real)
        real(*arguments, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, call)


def interrupted_before(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def call(*arguments: Any, **named: Any) -> None:
        monkeypatch.undo()
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, call)


def statuses(connection: Connection) -> list[str]:
    experiment = connection.client.get_experiment_by_name("local.trial")
    assert mlflow.active_run() is None  # at the end of the process MLflow would call it finished
    return [run.info.status for run in connection.client.search_runs([experiment.experiment_id])]


@pytest.mark.parametrize(("owner", "name"), [(mlflow, "start_run"), (MlflowClient, "create_run")])
def test_run_whose_opening_was_interrupted_has_failed(
    connection: Connection, tracker: Tracker, monkeypatch: pytest.MonkeyPatch, owner: Any, name: str
) -> None:
    interrupted_after(owner, name, monkeypatch)
    with pytest.raises(KeyboardInterrupt), tracker.start("first"):
        raise AssertionError("the block began")
    assert statuses(connection) == ["FAILED"]


def test_run_whose_ending_was_interrupted_has_failed(connection: Any, tracker: Any, monkeypatch: Any) -> None:
    with pytest.raises(KeyboardInterrupt), tracker.start("first"):
        interrupted_before(MlflowClient, "set_terminated", monkeypatch)
    assert statuses(connection) == ["FAILED"]


def test_run_that_was_about_to_get_more_is_finished_as_before(connection: Any, tracker: Any, monkeypatch: Any) -> None:
    with tracker.start("first") as run:
        pass
    interrupted_after(mlflow, "start_run", monkeypatch)
    with pytest.raises(KeyboardInterrupt), tracker.resume(run.id):
        raise AssertionError("the block began")
    assert statuses(connection) == ["FINISHED"]


def test_interruption_ends_no_run_of_another_process(connection: Any, tracker: Any, monkeypatch: Any) -> None:
    with tracker.start("first") as run:
        experiment = connection.client.get_run(run.id).info.experiment_id
    other = connection.client.create_run(experiment).info.run_id
    interrupted_after(mlflow, "start_run", monkeypatch)
    with pytest.raises(KeyboardInterrupt), tracker.start("second"):
        raise AssertionError("the block began")
    assert connection.client.get_run(other).info.status == "RUNNING"
    assert sorted(statuses(connection)) == ["FAILED", "FINISHED", "RUNNING"]


def pressed(name: str, times: int) -> bool:
    """Whether a call to a store goes on after Ctrl-C was pressed in it, this often."""
    went_on = False

    def call() -> None:
        nonlocal went_on
        with explained(name):
            for _ in range(times):
                os.kill(os.getpid(), signal.SIGINT)
            went_on = True

    with pytest.raises(KeyboardInterrupt):
        call()
    return went_on


def test_first_signal_alone_waits_for_a_local_store() -> None:
    assert pressed("sqlite:///mlflow.db", 1)
    assert not pressed("sqlite:///mlflow.db", 2)
    assert not pressed("http://localhost:5000", 1)


def test_interruption_that_the_store_turns_into_a_failure_of_its_own_leaves_no_open_run(
    connection: Connection, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = mlflow.start_run

    def start(**named: Any) -> None:
        monkeypatch.undo()
        real(**named)
        mlflow.tracking.fluent._active_run_stack.set([])
        raise MlflowException("Method 'close()' can't be called here")

    monkeypatch.setattr(mlflow, "start_run", start)
    with pytest.raises(TrackingError), tracker.start("first"):
        raise AssertionError("the block began")
    assert statuses(connection) == ["FAILED"]


# --- A server that takes requests and never answers: MLflow waits for long, so it is asked as seldom as can be.


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the server was asked for. Its address comes first."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(connection, "_KNOCK_SECONDS", 0.5)
    kept = []
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        said = [f"http://127.0.0.1:{server.getsockname()[1]}"]

        def listen() -> None:
            while True:
                one, _ = server.accept()
                kept.append(one)  # a connection that is forgotten is closed, which is an answer
                first = one.recv(65536).split(b"\r\n")[0].decode()
                if not first:
                    return
                said.append(first.removesuffix(" HTTP/1.1").split("?")[0])

        pool.submit(listen)
        yield said
        socket.create_connection(server.getsockname()).close()
    for one in kept:
        one.close()


def test_after_a_failure_a_server_that_hangs_is_not_asked_to_mark_the_run(asked: list[str]) -> None:
    from mlflow import MlflowClient

    address = asked[0]
    tracker = Tracker(Connection(address, address, None, MlflowClient(address, address)), "trial")
    with pytest.raises(TrackingError) as raised, tracker.start("first"):
        pass
    assert raised.value.what == f"MLflow at {address} failed: no answer within 1 seconds"
    assert "Start the server" in raised.value.hint
    assert asked[1:] == ["GET /api/2.0/mlflow/experiments/get-by-name", "GET /version"]


# --- What an estimator is made of.


ROWS = np.random.default_rng(0).normal(size=(60, 3)) ** 2


def shifted(rows: Any) -> Any:
    return rows + 1


@pytest.mark.parametrize(
    "estimator",
    [
        GradientBoostingRegressor(n_estimators=3),
        HistGradientBoostingClassifier(max_iter=3),
        RandomForestRegressor(3, random_state=np.random.RandomState(3)),
        LogisticRegression(),
        GridSearchCV(Ridge(), {"alpha": [1, 2]}, cv=2),
        VotingRegressor([("one", Ridge()), ("other", GradientBoostingRegressor(n_estimators=3))]),
        TransformedTargetRegressor(Ridge(), func=np.cbrt, inverse_func=np.exp, check_inverse=False),
        make_pipeline(make_column_transformer((OneHotEncoder(), [0]), (SplineTransformer(), [1])), Ridge()),
        make_pipeline(FunctionTransformer(shifted), Ridge()),
        make_pipeline(FunctionTransformer(lambda rows: rows), Ridge()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_all_that_skops_asks_about_is_met(estimator: Any) -> None:
    classifies = hasattr(estimator, "predict_proba")
    fitted = estimator.fit(ROWS, ROWS[:, 0] > 1 if classifies else ROWS[:, 0])
    assert types_of(fitted) >= set(get_untrusted_types(data=dumps(fitted)))


def test_a_function_of_ones_own_is_met_and_pickles_own_words_are_not() -> None:
    met = types_of(make_pipeline(FunctionTransformer(shifted), Ridge()))
    assert f"{shifted.__module__}.shifted" in met
    assert not [name for name in met if name.startswith(("builtins.", "copyreg."))]


def test_a_deleted_experiment_is_named_with_its_mend(connection: Connection, tracker: Tracker) -> None:
    with tracker.start("works") as works:
        experiment = connection.client.get_run(works.id).info.experiment_id
    connection.client.delete_experiment(experiment)
    with pytest.raises(TrackingError, match=f"mlflow experiments restore --experiment-id {experiment}"):
        tracker.open_runs()
