"""Ctrl-C while MLflow opens or ends a run. A signal cannot be aimed at that moment, so the call itself raises, or
sends the signal."""

import os
import signal
from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from starterkit.errors import TrackingError
from starterkit.tracking.connection import Connection, explained
from starterkit.tracking.runs import Tracker


@pytest.fixture
def tracker(connection: Connection) -> Tracker:
    return Tracker(connection, "local.trial")


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
    assert experiment is not None
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


def test_run_whose_ending_was_interrupted_has_failed(
    connection: Connection, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(KeyboardInterrupt), tracker.start("first"):
        interrupted_before(MlflowClient, "set_terminated", monkeypatch)
    assert statuses(connection) == ["FAILED"]


def test_run_that_was_about_to_get_more_is_finished_as_before(
    connection: Connection, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tracker.start("first") as run:
        pass
    interrupted_after(mlflow, "start_run", monkeypatch)
    with pytest.raises(KeyboardInterrupt), tracker.resume(run.id):
        raise AssertionError("the block began")
    assert statuses(connection) == ["FINISHED"]


def test_interruption_ends_no_run_of_another_process(
    connection: Connection, tracker: Tracker, monkeypatch: pytest.MonkeyPatch
) -> None:
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
