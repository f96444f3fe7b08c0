"""MLflow's own pages over a run of the pipeline, as a person looks at them."""

import json
import re
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from playwright.sync_api import expect

from starterkit.settings import Stage, load_settings
from starterkit.tracking.connection import Connection, connect
from starterkit.tracking.registry import ModelRegistry, Version

NAME = "local.diabetes"
SUBJECT = "Diabetes progression within a year: regression of progression (points)."


@pytest.fixture(scope="session")
def connection(trained: Path) -> Connection:
    return connect(load_settings(trained, {}).tracking, trained)


@pytest.fixture(scope="session")
def champion(connection: Connection) -> Version:
    found = ModelRegistry(connection, Stage.LOCAL, "diabetes").champion()
    assert found is not None
    return found


@pytest.fixture(scope="session")
def experiment(connection: Connection, champion: Version) -> str:
    return connection.client.get_run(champion.run).info.experiment_id


def test_the_address_that_the_kit_prints_shows_the_runs(browser, runs_address):
    page = browser.open(runs_address)
    expect(page.get_by_text(SUBJECT)).to_be_visible()
    expect(page.get_by_role("link", name=re.compile(r"^diabetes \d{4}-"))).to_be_visible()
    expect(page.get_by_role("link", name="Model registry")).to_be_visible()  # not there among the language models
    for name in ("rmse", "baseline_rmse"):
        expect(page.locator(f"[role=columnheader][col-id='metrics.`{name}`']")).to_be_visible()
    browser.shoot("experiment")
    page.get_by_text(SUBJECT).locator("xpath=ancestor::div[.//button][1]//button").last.click()  # it is folded
    browser.shoot("experiment-description")
    model = browser.follow(f"registered model {NAME}")
    expect(model).to_have_url(re.compile(rf"#/models/{re.escape(NAME)}"))
    expect(model.get_by_text("Serves now")).to_be_visible()


def test_a_run_shows_its_description_and_its_metrics(browser, mlflow_address, experiment, champion, connection):
    page = browser.open(f"{mlflow_address}/#/experiments/{experiment}/runs/{champion.run}")
    metrics = connection.client.get_run(champion.run).data.metrics
    expect(page.get_by_text(f"rmse {metrics['rmse']:.4g}, where a naive guess has")).to_be_visible()
    for name in ("rmse", "baseline_rmse"):
        expect(page.get_by_role("link", name=name, exact=True)).to_be_visible()
        expect(page.get_by_text(str(metrics[name]), exact=True)).to_be_visible()
    browser.shoot("run")
    page.get_by_text("Show more").first.click()
    expect(page.get_by_text(re.compile(r"mlflow\.pyfunc\.load_model\(\"models:/m-\w+\"\)"))).to_be_visible()
    browser.shoot("run-description")


@pytest.mark.parametrize("figure", ["residuals", "importance"])
def test_a_figure_is_drawn(browser, mlflow_address, experiment, champion, figure):
    run = f"{mlflow_address}/#/experiments/{experiment}/runs/{champion.run}"
    page = browser.open(f"{run}/artifacts/figures/{figure}.png")
    shown = page.locator("img[src^='blob:'], img[src*='get-artifact']").first
    try:
        expect(shown).to_be_visible()
    except AssertionError:  # on a busy machine MLflow's page may ask for the file too early, and asks only once
        page.reload()
        expect(shown).to_be_visible()
    assert shown.evaluate("image => image.decode().then(() => image.naturalWidth)") > 500
    browser.shoot(f"figure-{figure}")


def test_the_registered_model_shows_what_serves_now(browser, mlflow_address, champion):
    page = browser.open(f"{mlflow_address}/#/models/{NAME}")
    expect(page.get_by_text(f"Serves now: version {champion.number}")).to_be_visible()
    expect(page.get_by_text(f'load_model("models:/{NAME}@champion")')).to_be_visible()
    browser.shoot("registered-model")
    versions = page.get_by_test_id("model-version-table")
    versions.scroll_into_view_if_needed()
    expect(versions.get_by_text("champion")).to_be_visible()
    browser.shoot("registered-model-versions")
    version = browser.follow(f"version {champion.number}")
    expect(version).to_have_url(re.compile(rf"#/models/{re.escape(NAME)}/versions/{champion.number}"))


def test_a_version_shows_the_gates_word_and_leads_to_its_run(browser, mlflow_address, champion):
    page = browser.open(f"{mlflow_address}/#/models/{NAME}/versions/{champion.number}")
    expect(page.get_by_text("The gate: passed all 17 checks")).to_be_visible()
    expect(page.get_by_role("cell", name="robustness")).to_be_visible()
    expect(page.get_by_text("champion", exact=True).first).to_be_visible()
    browser.shoot("version")
    run = browser.follow(re.compile("^run diabetes"))
    expect(run).to_have_url(re.compile(rf"/runs/{champion.run}"))
    expect(run.get_by_role("link", name="baseline_rmse")).to_be_visible()


def test_changes_are_taken_behind_another_port(mlflow_address):
    """As where an editor forwards a port to another one: a server that takes the page for a foreign one refuses."""
    body = json.dumps({"name": NAME, "key": "forwarded", "value": "yes"}).encode()
    headers = {"Host": "localhost:9999", "Origin": "http://localhost:9999", "Content-Type": "application/json"}
    ask = Request(f"{mlflow_address}/ajax-api/2.0/mlflow/registered-models/set-tag", body, headers)
    assert urlopen(ask).status == 200
