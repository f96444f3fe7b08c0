"""Versions, the champion, and runs that are asked for afterwards, on a real store."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from starterkit.errors import ContractError, TrackingError
from starterkit.pipeline import Summary
from starterkit.settings import Stage, load_settings
from starterkit.tracking.connection import Connection, connect
from starterkit.tracking.queries import check_round_trip, fetch_file, look_up, runs_page
from starterkit.tracking.registry import ModelRegistry, UnknownVersion


@pytest.fixture
def registry(connection: Connection) -> ModelRegistry:
    return ModelRegistry(connection, Stage.DEV, "trial")


@pytest.fixture
def model_id(connection: Connection) -> str:
    """A logged model without files."""
    experiment = connection.client.create_experiment("dev.trial", connection.artifacts)
    made = connection.client.create_logged_model(experiment, "empty")
    return connection.client.finalize_logged_model(made.model_id, "READY").model_id


def test_version_is_found_by_number_or_alias_and_one_whose_files_are_gone_is_named(registry, model_id):
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
    for name in ("0", "3"):  # 0 is not the newest
        with pytest.raises(UnknownVersion, match=rf"no version {name}.*Name one of 1, 2"):
            registry.find(name)
    for name in ("", "two", "-1", "²", "0x2"):
        with pytest.raises(UnknownVersion, match="names no version"):
            registry.find(name)
    with pytest.raises(TrackingError, match="has no version 7"):
        registry.version(7)
    version = registry.register("run1", model_id, {}, "first")
    with pytest.raises((TrackingError, ContractError)) as raised:
        registry.open(version)
    assert "\n" not in str(raised.value)


def test_fetched_folder_is_the_exported_one(first_run, tmp_path):
    root, summary = first_run
    registry = ModelRegistry(connect(load_settings(root, {}).tracking, root), Stage.LOCAL, "diabetes")
    folder = registry.fetch(registry.version(1), tmp_path)
    assert {"MLmodel", "model.onnx", "contract.json", "parity.npz"} <= {file.name for file in folder.iterdir()}
    assert registry.open(registry.version(1)).contract == summary.exported.contract


# --- Runs.


@pytest.fixture(scope="module")
def opened(first_run: tuple[Path, Summary]) -> tuple[Connection, str]:
    root, summary = first_run
    return connect(load_settings(root, {}).tracking, root), summary.exported.run


def test_run_says_who_when_and_how_good_has_a_page_and_what_the_store_does_not_have_is_none(opened, tmp_path):
    connection, run = opened
    record = look_up(connection, run)
    assert record.user
    assert timedelta() < datetime.now(UTC) - record.started < timedelta(hours=1)
    assert record.metrics["rmse"] < record.metrics["baseline_rmse"]
    assert (record.page, record.tags["metric"], record.name[:9]) == ("", "rmse", "diabetes ")
    remote = look_up(replace(connection, artifacts=None, name="https://mlflow.example"), run)
    assert remote.page.startswith("https://mlflow.example/#/experiments/")
    assert remote.page.endswith(f"/runs/{run}?workflowType=machine_learning")
    experiment = connection.client.get_run(run).info.experiment_id
    plain = f"#/experiments/{experiment}/runs?workflowType=machine_learning"
    assert runs_page(connection, "local.diabetes") == f"{plain}&viewStateShareKey=starterkit"
    assert runs_page(connection, "local.nothing") == "#/experiments?workflowType=machine_learning"
    other = connection.client.create_experiment("dev.older")  # without the view, for which MLflow would complain
    assert runs_page(connection, "dev.older") == f"#/experiments/{other}/runs?workflowType=machine_learning"
    assert look_up(connection, "0" * 32) is None
    assert fetch_file(connection, "0" * 32, "rows.npz", tmp_path) is None
    assert fetch_file(connection, run, "nothing.txt", tmp_path) is None
    kept = fetch_file(connection, run, "rows.npz", tmp_path)
    assert kept == tmp_path / "rows.npz"
    assert kept.is_file()


def test_round_trip_proves_the_store_and_leaves_no_run(connection):
    assert "written and read back" in check_round_trip(connection)
    experiment = connection.client.get_experiment_by_name("starterkit-doctor")
    assert connection.client.search_runs([experiment.experiment_id]) == []
