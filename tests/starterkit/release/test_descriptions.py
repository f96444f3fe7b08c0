"""What MLflow's pages say, for plain data."""

import io
import json
import re
from dataclasses import replace

import mlflow
import onnx
import pandas as pd
import pytest
from mlflow.models import infer_signature
from sklearn.compose import make_column_transformer
from sklearn.linear_model import Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from example_project import problem
from starterkit.contract import Lineage
from starterkit.data.dataset import as_columns
from starterkit.pipeline import Pipeline, Summary
from starterkit.release.descriptions import Place, Subject, Trained, experiment_text, model_text, run_text, version_text
from starterkit.serving.predictor import Predictor
from starterkit.settings import Limit
from starterkit.tracking.connection import Connection
from starterkit.tracking.queries import runs_page
from starterkit.tracking.registry import Version
from starterkit.verdict import Verdict

pytestmark = pytest.mark.usefixtures("hurried")
SUBJECT = Subject.of(problem)
PLACE = Place(address="sqlite:///mlflow.db", name="local.diabetes", experiment="7")
NAMES = ("stage", "lock_digest", "data_digest", "holdout_digest")
WHAT = {"run": "0123", "commit": "abcdef0123456789", "dirty": False, "data_source": "data/diabetes.csv", "rows": 1442}
LINEAGE = Lineage(**dict.fromkeys(NAMES, "x"), **WHAT)
TRAINED = Trained(
    lineage=LINEAGE,
    name="diabetes 2026-11-25",
    holdout_rows=98,
    metrics={"mae": 46.4, "r2": 0.48, "rmse": 56.734, "baseline_rmse": 79.93, "baseline_mae": 67.33},
    model="m-1",
)
VERDICTS = (
    Verdict(check="parity", passed=True, reason="all well", figure=3e-15, limit=1e-5),
    Verdict(check="slices", passed=False, reason="rmse is worse where sex=1", figure=None, limit=None),
    Verdict(check="champion", passed=True, undecided=True, reason="98 rows", figure=0.1, limit=0.02),
)


def plain(text: str) -> str:
    return text.replace("&emsp;", "").replace("&#95;", "_")


def rows(text: str) -> list[list[str]]:
    """The cells of every table."""
    lines = [line for line in plain(text).splitlines() if line.startswith("|") and "---" not in line]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_the_deciding_metric_comes_first_beside_the_naive_guess():
    text = run_text(SUBJECT, PLACE, TRAINED)
    assert text.splitlines()[0].endswith("rmse 56.73, where a naive guess has 79.93.")
    assert rows(text) == [
        ["metric", "model", "naive guess"],
        ["**rmse** (decides; less is better)", "56.73", "79.93"],
        ["mae (less is better)", "46.4", "67.33"],
        ["r2 (more is better)", "0.48", ""],
    ]
    by_mae = rows(run_text(Subject.of(replace(problem, metric="mae")), PLACE, TRAINED))
    assert by_mae[1] == ["**mae** (decides; less is better)", "46.4", "67.33"]


def test_a_run_says_its_data_its_code_and_what_comes_next():
    masked = replace(LINEAGE, dirty=True, policy={"age": "generalise", "sex": "generalise"})
    load = 'mlflow.set_tracking_uri("sqlite:///mlflow.db")\nmodel = mlflow.pyfunc.load_model("models:/m-1")'
    next_one = "`starterkit register --run 0123` comes next"
    for changes, versions, said, unsaid in (
        ({}, (), ["1,442 rows of data/diabetes.csv, 98 of them held", "`abcdef0123`.", load, next_one], "Careful"),
        ({}, [3], [load], "comes next"),
        ({"careful": "it wavers"}, (), ["**Careful:** it wavers."], "with changes"),
        ({"lineage": masked}, (), ["commit `abcdef0123`, with changes.", "In bands: age, sex."], "`abcdef0123`."),
        ({"model": ""}, (), ["`starterkit export --run 0123` comes next"], "load_model"),
        ({"lineage": replace(LINEAGE, commit="unknown")}, (), ["in no commit"], "abcdef"),
    ):
        text = run_text(SUBJECT, PLACE, replace(TRAINED, **changes), versions)
        assert [words for words in said if words not in text] == []
        assert unsaid not in text


def test_a_version_shows_the_gates_verdicts_and_no_reason():
    text = version_text(SUBJECT, PLACE, 3, TRAINED, VERDICTS)
    assert rows(text)[-3:] == [
        ["passed", "parity", "3e-15", "1e-05"],
        ["**refused**", "slices", "", ""],
        ["not enough rows", "champion", "0.1", "0.02"],
    ]
    assert "sex=1" not in text  # a reason may name a value
    assert ("The gate: refused by 1 of 3 checks" in text, "/runs/" in text) == (True, True)
    from_elsewhere = version_text(SUBJECT, PLACE, 3, None, VERDICTS)
    assert ("/runs/" in from_elsewhere, "slices" in from_elsewhere) == (False, True)


def test_a_model_says_what_serves():
    assert ["bmi", "a number in kg/m²", "body mass index"] in rows(model_text(SUBJECT, PLACE, 3, TRAINED))
    none = model_text(SUBJECT, PLACE, None, None)
    assert ("No version serves yet" in none, "load_model" in none) == (True, False)
    assert "/runs/" not in model_text(SUBJECT, replace(PLACE, experiment=""), 3, None)


def test_bounds_and_categories_stay_out():
    shown = {row[0]: row[1:] for row in rows(experiment_text(SUBJECT, PLACE))}
    assert shown["sex"] == ["a whole number", "the source does not say which is which"]
    assert shown["age"] == ["a whole number in years", ""]


@pytest.mark.parametrize("title", ["a|b", "<script>", "*b*", "[x](y)", "`c`", "two\nlines", "@nobody", "# h"])
def test_a_projects_words_are_no_markup(title):
    first = experiment_text(Subject.of(replace(problem, title=title)), PLACE).split(": regression")[0]
    assert not set(first.replace("&#", "")) & set("|<>*[]`\n@")


NOTE = "mlflow.note.content"


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


def test_links_lead_to_what_is_there_and_what_a_page_tells_to_load_can_be_loaded(notes, opened):
    from mlflow.models import get_model_info

    connection, summary = opened
    experiment = connection.client.get_run(summary.exported.run).info.experiment_id
    runs, model = f"#/experiments/{experiment}/runs", "#/models/local.diabetes"
    links = {page: set(re.findall(r"\]\((#[^)?]+)", text)) for page, text in notes.items()}
    assert set.union(*links.values()) == {runs, f"{runs}/{summary.exported.run}", model, f"{model}/versions/1"}
    assert all(links.values())
    exported = summary.exported.model_id
    named = {match[1] for text in notes.values() for match in re.finditer(r'load_model\("([^"]+)"\)', text)}
    assert named == {f"models:/{exported}", "models:/local.diabetes/1", "models:/local.diabetes@champion"}
    assert {get_model_info(one).model_id for one in named} == {exported}


def test_tags_and_pages_say_something_and_no_rows_value(notes, opened):
    text = "".join(notes.values())
    assert "P001" not in text
    assert not re.search(r"(age|sex)\s*=", text)
    connection, summary = opened
    run = connection.client.get_run(summary.exported.run)
    view = connection.client.get_experiment(run.info.experiment_id).tags["mlflow.sharedViewState.starterkit"]
    assert json.loads(view)["selectedColumns"][-2:] == ["metrics.`rmse`", "metrics.`baseline_rmse`"]
    assert f"]({runs_page(connection, 'local.diabetes')})" in run.data.tags[NOTE]
    tags = run.data.tags
    assert (tags["task"], tags["metric"], tags["holdout_rows"]) == ("regression", "rmse", "98")
    assert "{}" not in tags.values()
    model = connection.client.get_registered_model("local.diabetes")
    own = {key: value for key, value in model.tags.items() if not key.startswith("history.")}
    assert own == {"task": "regression", "metric": "rmse"}


def test_pages_follow_a_version_through_the_gate(after_a_run):
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
    limited = after_a_run.gate.model_copy(update={"limits": {"rmse": Limit(max=1)}})
    refused = Pipeline(problem, after_a_run.model_copy(update={"gate": limited}))
    refused.promote(refused.read(), version.number)
    assert "The gate: refused by 1 of" in told(version)
    assert "Serves now: [version 1]" in serves()
    pipeline.promote(pipeline.read(), version.number)
    assert "The gate: passed all" in told(version)
    assert "Serves now: [version 2]" in serves()


def test_the_pages_call_answers_a_missing_text_as_the_kit_does(visits, tmp_path):
    encoder = make_column_transformer((OneHotEncoder(), ["city", "ward"]))
    exported, dataset = visits.export(make_pipeline(encoder, Ridge()), tmp_path / "exported")
    row = pd.DataFrame([exported.contract.example]).astype({"smoker": float, "children": float})
    signature = infer_signature(row, pd.DataFrame({"cost": [0.0]}))
    mlflow.onnx.save_model(onnx.load(exported.folder / "model.onnx"), tmp_path / "model", signature=signature)
    lines = run_text(SUBJECT, PLACE, TRAINED).split("```")[1].replace("models:/m-1", str(tmp_path / "model"))
    lines = lines.replace(f'mlflow.set_tracking_uri("{PLACE.address}")', "")  # which other tests would inherit
    rows = dataset.training.features.query("ward.isna()")
    expected = Predictor(exported.folder).predict(as_columns(rows)).values
    for some in (rows, rows.head(1), pd.read_csv(io.StringIO(rows.head(1).to_csv(index=False)))):
        given = {"rows": some}
        exec(lines.replace("model.predict(", "answers = model.predict("), given)
        assert given["answers"]["cost"].to_numpy() == pytest.approx(expected[: len(some)])
