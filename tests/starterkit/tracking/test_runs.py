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
from sklearn import ensemble
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
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


def test_latest_is_the_newest_finished_run_and_may_get_more(connection, tracker, repository):
    with tracker.start("first") as first:
        first.tag({"a": "1"})
    with tracker.start("second") as second:
        second.tag({"a": "2"})
        connection.client.log_text(second.id, "here", "note.txt")
    for failure in (ZeroDivisionError, KeyboardInterrupt):
        with pytest.raises(failure), tracker.start("third") as failed:
            raise failure
        assert connection.client.get_run(failed.id).info.status == "FAILED"
    assert tracker.latest() == second.id
    with tracker.resume(second.id) as again:
        again.tag({"b": "3"})
    assert [tracker.tags(second.id)[name] for name in "ab"] == ["2", "3"]
    assert [file.read_text() for file in (repository / "mlartifacts").rglob("note.txt")] == ["here"]  # beside the store


def test_what_there_is_not_is_named(connection, tracker):
    assert tracker.open_runs() == []
    with pytest.raises(TrackingError, match="nosuchrun"):
        tracker.tags("nosuchrun")
    with tracker.start("first") as run:
        pass
    with pytest.raises(TrackingError, match=f"run {run.id} has no estimator"):
        tracker.load_estimator(run.id)
    experiment = connection.client.get_run(run.id).info.experiment_id
    connection.client.delete_experiment(experiment)
    with pytest.raises(TrackingError, match=r"experiment 'local\.trial' is deleted"), tracker.start("second"):
        pass
    with pytest.raises(TrackingError, match=f"mlflow experiments restore --experiment-id {experiment}"):
        tracker.open_runs()


def test_an_estimator_of_another_library_names_it_and_comes_back(tracker):
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
def test_killed_run_is_marked_and_one_that_works_is_not(connection, tracker, child):
    with tracker.start("works") as works:
        experiment = connection.client.get_run(works.id).info.experiment_id
        dies = connection.client.create_run(experiment, tags=tags_of(child)).info.run_id
        assert [run.state for run in tracker.open_runs()] == ["alive", "alive"]
        assert tracker.end_dead_runs() == []
        child.kill()
        os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # nobody waited for it: it is a zombie now
        assert [run.id for run in tracker.end_dead_runs()] == [dies]
        assert connection.client.get_run(dies).info.status == "KILLED"
        assert connection.client.get_run(works.id).info.status == "RUNNING"
        assert tracker.end_dead_runs() == []


@needs_proc
def test_run_that_was_killed_while_it_got_more_is_finished_as_before(connection, tracker, child):
    with tracker.start("first") as run:
        pass
    with tracker.resume(run.id):
        connection.client.set_tag(run.id, PROCESS, tags_of(child)[PROCESS])
    connection.client.set_terminated(run.id, "RUNNING")
    child.kill()
    child.wait()
    assert [dead.status_before for dead in tracker.end_dead_runs()] == ["FINISHED"]
    assert tracker.latest() == run.id


@needs_proc
def test_only_a_process_of_this_boot_of_this_machine_is_dead_for_certain():
    host, boot, process, started = this_process().split(" ")
    assert int(process) == os.getpid()

    for expected, *parts in (
        ("alive", host, boot, process, started),
        ("dead", host, boot, process, str(int(started) - 1)),  # its id is somebody else's by now
        ("dead", host, boot, "4194304", started),
        ("unknown", "elsewhere", boot, "4194304", started),
        ("unknown", host, "another-boot", "4194304", started),
        ("unknown", host, boot, "4194304", "-"),
    ):
        assert state_of({PROCESS: " ".join(parts)}) == expected, parts
    assert state_of({}) == "unknown"


def interrupted(owner: Any, name: str, monkeypatch: pytest.MonkeyPatch, *, works: bool) -> None:
    """Let the call do its work first, or not, and not come back: once."""
    real = getattr(owner, name)

    def call(*arguments: Any, **named: Any) -> None:
        monkeypatch.setattr(owner, name, real)
        if works:
            real(*arguments, **named)
        raise KeyboardInterrupt

    monkeypatch.setattr(owner, name, call)


def statuses(connection: Connection) -> dict[str, str]:
    experiment = connection.client.get_experiment_by_name("local.trial")
    assert mlflow.active_run() is None  # at the end of the process MLflow would call it finished
    runs = connection.client.search_runs([experiment.experiment_id])
    return {run.info.run_name: run.info.status for run in runs}


@pytest.mark.parametrize(
    ("owner", "name", "works"),
    [(mlflow, "start_run", True), (MlflowClient, "create_run", True), (MlflowClient, "set_terminated", False)],
)
def test_run_whose_opening_or_ending_was_interrupted_has_failed_and_no_other(
    connection, tracker, monkeypatch, owner, name, works
):
    with tracker.start("first") as run:
        experiment = connection.client.get_run(run.id).info.experiment_id
    connection.client.create_run(experiment, run_name="another process's")
    interrupted(owner, name, monkeypatch, works=works)
    with pytest.raises(KeyboardInterrupt), tracker.start("second"):
        assert not works, "the block began"
    assert statuses(connection) == {"first": "FINISHED", "another process's": "RUNNING", "second": "FAILED"}
    interrupted(mlflow, "start_run", monkeypatch, works=True)
    with pytest.raises(KeyboardInterrupt), tracker.resume(run.id):  # one that is about to get more is as before
        raise AssertionError("the block began")
    assert statuses(connection)["first"] == "FINISHED"


def test_interruption_that_the_store_takes_for_a_failure_leaves_no_open_run(connection, tracker, monkeypatch):
    real = mlflow.start_run

    def start(**named: Any) -> None:
        monkeypatch.undo()
        real(**named)
        mlflow.tracking.fluent._active_run_stack.set([])
        raise MlflowException("Method 'close()' can't be called here")

    monkeypatch.setattr(mlflow, "start_run", start)
    with pytest.raises(TrackingError), tracker.start("first"):
        raise AssertionError("the block began")
    assert statuses(connection) == {"first": "FAILED"}


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGALRM])  # the second asks again, where Python forgot one
@pytest.mark.parametrize(
    ("name", "times", "goes_on"),
    [("sqlite:///mlflow.db", 1, True), ("sqlite:///mlflow.db", 2, False), ("http://localhost:5000", 1, False)],
)
def test_first_signal_alone_waits_for_a_local_store(name, times, goes_on, number):
    went_on = []
    before = signal.signal(number, signal.default_int_handler)

    def call() -> None:
        with explained(name):
            for _ in range(times):
                os.kill(os.getpid(), number)
            went_on.append(name)

    with pytest.raises(KeyboardInterrupt):
        call()
    signal.signal(number, before)
    assert bool(went_on) == goes_on


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


def test_after_a_failure_a_server_that_hangs_is_not_asked_to_mark_the_run(asked):
    address = asked[0]
    tracker = Tracker(Connection(address, address, None), "trial")
    with pytest.raises(TrackingError) as raised, tracker.start("first"):
        pass
    assert raised.value.what == f"MLflow at {address} failed: no answer within 1 seconds"
    assert "Start the server" in raised.value.hint
    assert asked[1:] == ["GET /api/2.0/mlflow/experiments/get-by-name", "GET /version"]


ROWS = np.random.default_rng(0).normal(size=(60, 3)) ** 2


def shifted(rows: Any) -> Any:
    return rows + 1


@pytest.mark.parametrize(
    "estimator",
    [
        ensemble.GradientBoostingRegressor(n_estimators=3),
        ensemble.HistGradientBoostingClassifier(max_iter=3),
        ensemble.RandomForestRegressor(3, random_state=np.random.RandomState(3)),
        LogisticRegression(),
        GridSearchCV(Ridge(), {"alpha": [1, 2]}, cv=2),
        ensemble.VotingRegressor([("one", Ridge()), ("other", ensemble.GradientBoostingRegressor(n_estimators=3))]),
        TransformedTargetRegressor(Ridge(), func=np.cbrt, inverse_func=np.exp, check_inverse=False),
        make_pipeline(make_column_transformer((OneHotEncoder(), [0]), (SplineTransformer(), [1])), Ridge()),
        make_pipeline(FunctionTransformer(shifted), Ridge()),
        make_pipeline(FunctionTransformer(lambda rows: rows), Ridge()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_all_that_skops_asks_about_is_met(estimator):
    classifies = hasattr(estimator, "predict_proba")
    fitted = estimator.fit(ROWS, ROWS[:, 0] > 1 if classifies else ROWS[:, 0])
    assert types_of(fitted) >= set(get_untrusted_types(data=dumps(fitted)))


def test_how_pickle_makes_a_thing_is_no_part_of_an_estimator():
    assert types_of(Ridge().fit) == {"sklearn.linear_model._ridge.Ridge", "builtins.method"}
