"""Runs that are asked for afterwards, on a real store."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from starterkit.pipeline import Summary
from starterkit.settings import load_settings
from starterkit.tracking.connection import Connection, connect
from starterkit.tracking.queries import check_round_trip, fetch_file, look_up, runs_page


@pytest.fixture(scope="module")
def opened(first_run: tuple[Path, Summary]) -> tuple[Connection, str]:
    root, summary = first_run
    return connect(load_settings(root, {}).tracking, root), summary.exported.run


def test_run_says_who_when_and_how_good(opened: tuple[Connection, str]) -> None:
    connection, run = opened
    record = look_up(connection, run)
    assert record.user
    assert timedelta() < datetime.now(UTC) - record.started < timedelta(hours=1)
    assert record.metrics["rmse"] < record.metrics["baseline_rmse"]
    assert (record.page, record.tags["metric"], record.name[:9]) == ("", "rmse", "diabetes ")
    remote = look_up(replace(connection, artifacts=None, name="https://mlflow.example"), run)
    assert remote.page.startswith("https://mlflow.example/#/experiments/")
    assert remote.page.endswith(f"/runs/{run}?workflowType=machine_learning")


def test_runs_have_a_page_and_what_the_store_does_not_have_is_none(opened, tmp_path):
    connection, run = opened
    experiment = connection.client.get_run(run).info.experiment_id
    plain = f"#/experiments/{experiment}/runs?workflowType=machine_learning"
    assert runs_page(connection, "local.diabetes") == f"{plain}&viewStateShareKey=starterkit"
    assert runs_page(connection, "local.nothing") == "#/experiments?workflowType=machine_learning"
    other = connection.client.create_experiment("local.older")  # without the view, for which MLflow would complain
    assert runs_page(connection, "local.older") == f"#/experiments/{other}/runs?workflowType=machine_learning"
    connection, run = opened
    assert look_up(connection, "0" * 32) is None
    assert fetch_file(connection, "0" * 32, "rows.npz", tmp_path) is None
    assert fetch_file(connection, run, "nothing.txt", tmp_path) is None
    kept = fetch_file(connection, run, "rows.npz", tmp_path)
    assert kept == tmp_path / "rows.npz"
    assert kept.is_file()


def test_round_trip_proves_the_store_and_leaves_no_run(connection: Connection) -> None:
    assert "written and read back" in check_round_trip(connection)
    experiment = connection.client.get_experiment_by_name("starterkit-doctor")
    assert connection.client.search_runs([experiment.experiment_id]) == []
