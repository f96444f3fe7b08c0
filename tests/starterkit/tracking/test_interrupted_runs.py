"""Ctrl-C while MLflow opens or ends a run. No signal can be aimed at such a moment, so that the call itself raises."""

from typing import Any

import mlflow
import pytest
from mlflow import MlflowClient

from starterkit.tracking import Connection, Tracker


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
