"""The whole path, on a real store, and what it leaves there."""

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from example_project import problem
from starterkit.contract import Lineage
from starterkit.data import Dataset, DatasetReader
from starterkit.errors import DataError, ExportError, ProblemError, Refused, SettingsError, TrackingError
from starterkit.pipeline import Pipeline, Summary
from starterkit.problem import Holdout, feature, identifier, target
from starterkit.progress import Event
from starterkit.settings import Settings, Stage, load_settings
from starterkit.tracking.registry import Version

pytestmark = pytest.mark.usefixtures("hurried")


def changed(settings: Settings, **params: float) -> Settings:
    training = settings.training.model_copy(update={"params": {**settings.training.params, **params}})
    return settings.model_copy(update={"training": training})


@pytest.fixture(scope="module")
def dataset(first_run: tuple[Path, Summary]) -> Dataset:
    return DatasetReader.of(problem, load_settings(first_run[0], {})).read()


def test_first_run_makes_a_champion_that_beats_a_guess_and_holds_parameters_figures_and_origin(opened, dataset):
    connection, summary = opened
    promotion, model, parity = summary.promotion, summary.trained.model, summary.exported.contract.parity
    assert (promotion.decision.passed, promotion.earlier, promotion.version.number) == (True, None, 1)
    assert promotion.champion == promotion.version
    assert model.evaluation.scores["rmse"] < 0.8 * model.baseline.scores["rmse"]
    assert (parity.proven, parity.rows) == (True, 500 + len(dataset))
    estimated = model.evaluation.prediction.values[:3]
    np.testing.assert_allclose(list(summary.samples), estimated, rtol=1e-5)
    run = connection.client.get_run(summary.exported.run)
    assert run.info.status == "FINISHED"
    assert run.data.params.items() >= {"n_estimators": "20", "random_state": "0"}.items()
    tags, lineage = run.data.tags, summary.trained.lineage
    told = {"stage": "local", "data_source": "data/diabetes.csv", "commit": lineage.commit}
    told |= {"data_digest": dataset.digest, "holdout_digest": dataset.holdout.digest}
    assert tags.items() >= told.items()
    assert len(tags["lock_digest"]) == 64
    figures = {file.path for file in connection.client.list_artifacts(run.info.run_id, "figures")}
    assert figures == {"figures/residuals.png", "figures/importance.png"}
    inputs = run.inputs.dataset_inputs  # its rows are named, and not kept
    by_context = {item.tags[0].value: item.dataset for item in inputs}
    assert by_context.keys() == {"training", "holdout"}
    assert by_context["holdout"].digest == dataset.holdout.digest[:32]
    assert "data/diabetes.csv" in by_context["training"].source
    assert "P001" not in str(inputs)
    for model_id in (tags["estimator_model_id"], tags["exported_model_id"]):
        figures = {m.key: m for m in connection.client.get_logged_model(model_id).metrics or []}
        assert figures["rmse"].value == pytest.approx(model.evaluation.scores["rmse"], rel=1e-5)
        assert figures["rmse"].dataset_digest == dataset.holdout.digest[:32]
    version = connection.client.get_model_version_by_alias("local.diabetes", "champion")
    assert version.run_id == summary.exported.run
    assert version.source == f"models:/{summary.exported.model_id}"
    assert version.tags["gate"] == "passed"
    assert Lineage.from_tags(version.tags) == lineage


def test_anyone_can_load_the_version_with_mlflow_alone(opened, dataset):
    import mlflow.models
    import mlflow.pyfunc

    summary = opened[1]
    loaded = mlflow.pyfunc.load_model("models:/local.diabetes@champion")
    holdout = dataset.holdout
    answers = np.asarray(loaded.predict(holdout.features)).ravel()
    np.testing.assert_allclose(answers, summary.trained.model.evaluation.prediction.values, rtol=1e-5)
    assert [column.name for column in loaded.metadata.signature.inputs] == list(holdout.features)
    info = mlflow.models.get_model_info("models:/local.diabetes@champion")
    example = mlflow.models.Model.load(info.model_uri).load_input_example()
    rows = pd.concat([dataset.training.features, dataset.holdout.features])
    assert len(example) == 1  # and it is nobody
    assert len(rows.merge(example.astype(rows.dtypes.to_dict()))) == 0


def test_second_run_is_compared_with_the_first_and_tells_every_step(after_a_run):
    events: list[Event] = []
    pipeline = Pipeline(problem, after_a_run, events.append)
    register = pipeline.register

    def register_and_be_overtaken(run: str | None = None) -> Version:
        own = register(run)
        register(run)
        return own

    pipeline.register = register_and_be_overtaken
    promotion = pipeline.run().promotion
    assert (promotion.version.number, promotion.earlier.number) == (2, 1)  # its own, and not the newer one
    assert promotion.champion == promotion.version
    found = {verdict.check: verdict for verdict in promotion.decision.verdicts}
    assert "version 1 on the same 98 rows: the same answers" in found["champion"].reason
    assert found["latency"].limit is not None
    ended = list(dict.fromkeys(event.step for event in events if event.state == "ended"))
    assert ended == ["read data", "connect to MLflow", "train", "export to ONNX", "register", "ask the gate", "score"]
    assert all(event.note for event in events if event.state == "ended")


def test_steps_say_what_comes_first_and_a_failed_one_leaves_the_run(settings, repository):
    pipeline = Pipeline(problem, settings)
    dataset = pipeline.read()
    with pytest.raises(TrackingError, match=r"no finished run.*Train first"):
        pipeline.trained(dataset)
    with pytest.raises(TrackingError, match="has no version"):
        pipeline.promote(dataset)
    run = pipeline.train(dataset).lineage.run
    with pytest.raises(TrackingError, match=f"starterkit export --run {run}"):
        pipeline.register(run)
    strict = settings.model_copy(update={"export": settings.export.model_copy(update={"tolerance": 1e-18})})
    with pytest.raises(ExportError, match="does not answer as the estimator does"):
        Pipeline(problem, strict).export(pipeline.trained(dataset), dataset)
    data = repository / "data" / "diabetes.csv"
    data.write_text("\n".join(data.read_text().splitlines()[:-1]) + "\n")
    with pytest.raises(DataError, match="data has changed since run"):
        pipeline.trained(pipeline.read(), run)
    assert pipeline.export(pipeline.trained(dataset), dataset).run == run


def test_wrong_settings_are_refused_and_failed_training_leaves_a_failed_run_and_no_version(settings, connection):
    gate = settings.gate.model_copy(update={"limits": {"rmsee": settings.gate.limits["rmse"]}})
    for wrong, kind, said in (
        (changed(settings, depth=3), ProblemError, r"training\.params\.depth"),
        (settings.model_copy(update={"gate": gate}), SettingsError, r"gate\.limits\.rmsee"),
    ):
        with pytest.raises(kind, match=said):
            Pipeline(problem, wrong).run()
    assert connection.client.get_experiment_by_name("local.diabetes") is None
    with pytest.raises(ProblemError, match=r"subsample.*KIT_TRAINING__PARAMS"):
        Pipeline(problem, changed(settings, subsample=7.0)).run()
    experiment = connection.client.get_experiment_by_name("local.diabetes")
    runs = connection.client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in runs] == ["FAILED"]
    assert connection.client.search_registered_models() == []


def test_prod_trains_nothing_of_its_own(settings):
    pipeline = Pipeline(problem, settings.model_copy(update={"stage": Stage.PROD}))
    dataset = pipeline.read()
    steps = pipeline.run, pipeline.register, lambda: pipeline.train(dataset), lambda: pipeline.trained(dataset)
    for training in steps:
        with pytest.raises(Refused, match="stage prod trains nothing of its own"):
            training()


def test_champion_with_other_inputs_is_not_compared_but_named(after_a_run):
    class Narrowed(pa.DataFrameModel):
        patient_id: str = identifier()
        bmi: float = feature(sensitivity="plain")
        progression: float = target()

    kept = ["patient_id", "bmi", "progression"]
    changes = {"schema": Narrowed, "slices": (), "robustness": ()}
    narrowed = replace(problem, **changes, load=lambda source: source.read()[kept])
    unlimited = after_a_run.model_copy(update={"gate": after_a_run.gate.model_copy(update={"limits": {}})})
    summary = Pipeline(narrowed, unlimited).run()
    champion, signature = summary.promotion.decision.refusals
    assert (champion.check, signature.check) == ("champion", "signature")
    assert "column 'age'" in champion.reason
    assert "give the problem a new name" in champion.hint
    assert "column 'age' is gone" in signature.reason


@pytest.mark.slow
def test_a_version_trained_on_anothers_split_is_refused(after_a_run):
    other = replace(problem, holdout=Holdout(fraction=0.2, salt="mine"))
    theirs = Pipeline(other, after_a_run)
    dataset = theirs.read()
    exported = theirs.export(theirs.train(dataset), dataset)
    version = theirs.register(exported.run)
    ours = Pipeline(problem, after_a_run)
    (refusal,) = ours.judge(ours.read(), version.number).decision.refusals
    assert refusal.check == "holdout"
    assert refusal.reason.startswith("trained on 75 of the 98 holdout rows")
    among_themselves = theirs.judge(dataset, version.number).decision.verdicts
    reasons = {verdict.check: verdict.reason for verdict in among_themselves}
    assert reasons["holdout"] == "trained on none of the 96 holdout rows"
    assert "The champion was trained on 73 of them, which flatters it" in reasons["champion"]


@pytest.mark.slow
@pytest.mark.parametrize("loss", ["run", "file"])
def test_a_champion_whose_run_is_gone_stops_nobody(after_a_run, loss):
    pipeline = Pipeline(problem, after_a_run)
    champion = pipeline.registry.champion()
    assert champion is not None
    (record,) = after_a_run.root.rglob("rows.npz")
    if loss == "file":
        record.write_bytes(b"no archive")
    else:
        store = next(after_a_run.root.rglob("mlflow*.db"))
        with closing(sqlite3.connect(store)) as database, database:
            database.execute("PRAGMA foreign_keys = OFF")
            for table in ("tags", "params", "metrics", "latest_metrics", "runs"):
                database.execute(f"DELETE FROM {table} WHERE run_uuid = ?", (champion.run,))
    again = Pipeline(problem, after_a_run).run()
    assert again.promotion.decision.passed
    assert again.promotion.earlier.number == champion.number


def test_a_run_that_lost_its_record_of_rows_is_refused(after_a_run):
    pipeline = Pipeline(problem, after_a_run)
    (record,) = after_a_run.root.rglob("rows.npz")
    np.savez(record, key=np.zeros(16, np.uint8), rows=np.zeros(3, np.uint64))  # as earlier commits wrote it
    for _ in range(2):
        (refusal,) = pipeline.judge(pipeline.read()).decision.refusals
        assert refusal.check == "holdout"
        assert "does not say which rows it was trained on: train again with this version" in refusal.reason
        record.unlink(missing_ok=True)
    record.write_bytes(b"no archive")
    with pytest.raises(TrackingError, match=r"'rows\.npz' of run \w+ cannot be read\. Train again"):
        pipeline.judge(pipeline.read())


@pytest.mark.slow
def test_mlflow_runs_the_project(repository):
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KIT_", "MLFLOW_TRACKING"))}
    command = [sys.executable, "-m", "mlflow", "run", ".", "-e", "run", "--env-manager", "local"]
    env = clean | {"PATH": path}
    done = subprocess.run(command, cwd=repository, env=env, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert "local.diabetes version 1" in done.stdout
    assert "succeeded" in done.stderr
