"""What a run of the pipeline leaves on MLflow's pages, on a real store."""

import json
import re
from pathlib import Path

import pytest

from example_project import problem
from starterkit.pipeline import Pipeline, Summary
from starterkit.settings import Settings, load_settings
from starterkit.tracking.connection import Connection, connect
from starterkit.tracking.queries import runs_page
from starterkit.tracking.registry import Version

NOTE = "mlflow.note.content"


@pytest.fixture(scope="module")
def opened(first_run: tuple[Path, Summary]) -> tuple[Connection, Summary]:
    root, summary = first_run
    return connect(load_settings(root, {}).tracking, root), summary


@pytest.fixture(scope="module")
def notes(opened: tuple[Connection, Summary]) -> dict[str, str]:
    connection, summary = opened
    run = connection.client.get_run(summary.exported.run)
    return {
        "experiment": connection.client.get_experiment(run.info.experiment_id).tags[NOTE],
        "run": run.data.tags[NOTE],
        "model": connection.client.get_registered_model("local.diabetes").description or "",
        "version": connection.client.get_model_version("local.diabetes", "1").description or "",
    }


@pytest.mark.parametrize("page", ["experiment", "run", "model", "version"])
def test_every_page_begins_with_what_it_is(notes: dict[str, str], page: str) -> None:
    assert notes[page].startswith("Diabetes progression within a year: regression of progression (points).")


def test_links_lead_to_what_is_there(notes: dict[str, str], opened: tuple[Connection, Summary]) -> None:
    connection, summary = opened
    experiment = connection.client.get_run(summary.exported.run).info.experiment_id
    there = {
        f"#/experiments/{experiment}/runs",
        f"#/experiments/{experiment}/runs/{summary.exported.run}",
        "#/models/local.diabetes",
        "#/models/local.diabetes/versions/1",
    }
    links = {page: set(re.findall(r"\]\((#[^)?]+)", text)) for page, text in notes.items()}
    assert set.union(*links.values()) == there
    assert all(links.values())


def test_table_of_runs_shows_the_deciding_metric(opened: tuple[Connection, Summary], notes: dict[str, str]) -> None:
    connection, summary = opened
    experiment = connection.client.get_run(summary.exported.run).info.experiment_id
    tags = connection.client.get_experiment(experiment).tags
    shown = json.loads(tags["mlflow.sharedViewState.starterkit"])["selectedColumns"]
    assert shown[-2:] == ["metrics.`rmse`", "metrics.`baseline_rmse`"]
    assert f"]({runs_page(connection, 'local.diabetes')})" in notes["run"]


def test_what_a_page_tells_to_load_can_be_loaded(notes: dict[str, str], opened: tuple[Connection, Summary]) -> None:
    from mlflow.models import get_model_info

    exported = opened[1].exported.model_id
    named = {match[1] for text in notes.values() for match in re.finditer(r'load_model\("([^"]+)"\)', text)}
    assert named == {f"models:/{exported}", "models:/local.diabetes/1", "models:/local.diabetes@champion"}
    assert {get_model_info(one).model_id for one in named} == {exported}


def test_no_rows_value_is_told(notes: dict[str, str]) -> None:
    text = "".join(notes.values())
    assert "P001" not in text
    assert not re.search(r"(age|sex)\s*=", text)


def test_tags_are_few_and_say_something(opened: tuple[Connection, Summary]) -> None:
    connection, summary = opened
    run = connection.client.get_run(summary.exported.run)
    assert {key: run.data.tags[key] for key in ("task", "metric", "holdout_rows")} == {
        "task": "regression",
        "metric": "rmse",
        "holdout_rows": "98",
    }
    assert "{}" not in run.data.tags.values()
    model = connection.client.get_registered_model("local.diabetes")
    own = {key: value for key, value in model.tags.items() if not key.startswith("history.")}
    assert own == {"task": "regression", "metric": "rmse"}


def test_pages_follow_a_version_through_the_gate(after_a_run: Settings) -> None:
    pipeline = Pipeline(problem, after_a_run)
    client = pipeline.registry.connection.client

    def told(version: Version) -> str:
        return client.get_model_version(version.model, str(version.number)).description or ""

    def serves() -> str:
        return client.get_registered_model("local.diabetes").description or ""

    version = pipeline.register()
    assert "The gate has not spoken yet" in told(version)
    assert "Serves now: [version 1]" in serves()
    assert "[version 1]" in (note := client.get_run(version.run).data.tags[NOTE])
    assert "[version 2]" in note
    limits = {"rmse": after_a_run.gate.limits["rmse"].model_copy(update={"max": 1.0})}
    strict = after_a_run.model_copy(update={"gate": after_a_run.gate.model_copy(update={"limits": limits})})
    refused = Pipeline(problem, strict)
    refused.promote(refused.read(), version.number)
    assert "The gate: refused by 1 of" in told(version)
    assert "Serves now: [version 1]" in serves()
    pipeline.promote(pipeline.read(), version.number)
    assert "The gate: passed all" in told(version)
    assert "Serves now: [version 2]" in serves()
