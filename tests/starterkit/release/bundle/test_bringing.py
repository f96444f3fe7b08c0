"""A bundle becomes a version of prod's model in another store: the very files, once, whole or not at all."""

import json
from pathlib import Path
from typing import Any

import mlflow.artifacts
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest

from starterkit.errors import Refused, TrackingError
from starterkit.machine import PROCESS, this_process
from starterkit.release.importer import bring_in, opened
from starterkit.tracking.queries import fetch_model
from starterkit.tracking.registry import ModelRegistry, Version


@pytest.fixture
def bring(prod, bundle, key):
    def call() -> Version:
        with opened(bundle, "diabetes", [key.public]) as found:
            return bring_in(prod, found)

    return call


def files(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def runs(registry: ModelRegistry) -> list[str]:
    client = registry.connection.client
    experiment = client.get_experiment_by_name("prod.diabetes")
    return [run.info.status for run in client.search_runs([experiment.experiment_id])] if experiment else []


def models(registry: ModelRegistry) -> list[str]:
    client = registry.connection.client
    experiment = client.get_experiment_by_name("prod.diabetes").experiment_id
    return [str(model.status) for model in client.search_logged_models([experiment])]


def require_whole(registry: ModelRegistry, bundle, key, tmp_path: Path) -> None:
    """One version, one finished run, one model that is ready, and the bundle's bytes."""
    (version,) = registry.versions()
    assert (runs(registry), models(registry)) == (["FINISHED"], ["READY"])
    with opened(bundle, "diabetes", [key.public]) as found:
        fetch_model(registry.connection, f"models:/prod.diabetes/{version.number}", tmp_path / "back")
        assert files(tmp_path / "back") == files(found.model)


def test_files_tags_metrics_and_rows_arrive(bring, prod, bundle, key, tmp_path):
    version = bring()
    assert (str(version), prod.champion()) == ("prod.diabetes version 1", None)
    require_whole(prod, bundle, key, tmp_path)
    told = {"stage": "staging", "copied_from": "staging.diabetes version 1", "signed_by": key.id}
    assert version.tags.items() >= told.items()
    assert len(version.tags["staging_evidence"]) == 64
    assert not {"gate", "evidence", "evidence_place"} & version.tags.keys()  # those are prod's to say
    run = prod.connection.client.get_run(version.run)
    assert run.info.run_name == "from staging version 1"
    assert run.data.metrics["baseline_rmse"] > run.data.metrics["rmse"] > 0
    assert (run.data.tags["metric"], run.data.tags["commit"]) == ("rmse", version.tags["commit"])
    (model,) = prod.connection.client.search_logged_models([run.info.experiment_id])
    assert {metric.key for metric in model.metrics} == {"rmse", "mae", "r2"}
    assert run.data.tags["exported_model_id"] == model.model_id == run.outputs.model_outputs[0].model_id
    folder = mlflow.artifacts.download_artifacts(run_id=version.run, dst_path=str(tmp_path / "run"))
    with opened(bundle, "diabetes", [key.public]) as found:
        assert files(Path(folder)) == files(found.run)


def test_the_answers_are_those_of_staging(answers, bring, prod):
    columns, then = answers
    version = bring()
    assert np.array_equal(prod.open(version).predict(columns).values, then)
    loaded = mlflow.pyfunc.load_model(f"models:/prod.diabetes/{version.number}")
    types = {"long": "int64", "double": "float64"}
    frame = pd.DataFrame(columns).astype({one.name: types[one.type.name] for one in loaded.metadata.signature.inputs})
    ours = prod.open(version).predict({name: frame[name].to_numpy(dtype=float) for name in frame}).values
    assert np.allclose(loaded.predict(frame).to_numpy()[:, 0], ours, rtol=1e-12)  # its session has other threads


def test_the_same_bundle_makes_one_version(bring, prod, bundle, changed, key, other_key, tmp_path):
    first = bring()
    assert bring() == first
    signed_again = changed(lambda files: files.update({"manifest.sig": other_key.sign(files["manifest.json"])}))
    with opened(signed_again, "diabetes", [other_key.public]) as found:
        assert bring_in(prod, found) == first
    require_whole(prod, bundle, key, tmp_path)


def test_a_version_whose_files_were_changed_since_is_told(bring, prod_root):
    version = bring()
    (model,) = prod_root.rglob("model.onnx")
    model.write_bytes(model.read_bytes() + b" ")
    with pytest.raises(Refused, match=f"{version} has another model.onnx than the bundle"):
        bring()


@pytest.mark.parametrize("step", ["log_artifacts", "create_logged_model", "log_model_artifacts", "log_batch",
                                  "finalize_logged_model", "create_model_version",
                                  "create_model_version without an answer"])  # fmt: skip
def test_what_fails_leaves_nothing(bring, prod, bundle, key, tmp_path, monkeypatch, step):
    does, unanswered = getattr(mlflow.MlflowClient, step.split()[0]), step.endswith("without an answer")

    def fails(*given, **named):
        if unanswered:  # the server made it, and the line broke before it said so
            does(*given, **named)
        raise mlflow.MlflowException("the line is dead")

    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, step.split()[0], fails)
        with pytest.raises(TrackingError, match="the line is dead"):
            bring()
    if not unanswered:
        assert (prod.versions(), runs(prod), models(prod)) == ([], [], [])
    bring()
    require_whole(prod, bundle, key, tmp_path)


def test_a_server_that_keeps_other_bytes_gets_no_version(bring, prod, prod_root, monkeypatch):
    real = mlflow.MlflowClient.log_model_artifacts

    def torn(client, model_id, folder):
        real(client, model_id, folder)
        (kept,) = prod_root.rglob("parity.npz")
        kept.write_bytes(kept.read_bytes()[:-1])

    monkeypatch.setattr(mlflow.MlflowClient, "log_model_artifacts", torn)
    with pytest.raises(Refused, match=r"the server has another parity\.npz than the bundle"):
        bring()
    assert (prod.versions(), runs(prod)) == ([], [])


def test_another_process_at_the_same_bundle_is_left_alone(bring, prod, bundle, key):
    """This very process stands for it: it is alive."""
    client = prod.connection.client
    with opened(bundle, "diabetes", [key.public]) as found:
        tags = {"bundle": found.digest, PROCESS: this_process()}
    client.create_run(client.create_experiment("prod.diabetes", prod.connection.artifacts), tags=tags)
    with pytest.raises(Refused, match="another process brings this in right now"):
        bring()
    assert runs(prod) == ["RUNNING"]


KILLED = """
from mlflow import MlflowClient
from starterkit.release.importer import bring_in, opened
from starterkit.tracking.registry import ModelRegistry
from starterkit.settings import TrackingSettings
from starterkit.tracking.connection import connect

root, bundle, key, step, when = sys.argv[1:]
real = getattr(MlflowClient, step)

def killed(client, *arguments, **named):
    if when == "half-way":
        client.log_model_artifact(arguments[0], str(Path(arguments[1], "MLmodel")))
    elif when == "after":
        real(client, *arguments, **named)
    die()

setattr(MlflowClient, step, killed)
registry = ModelRegistry(connect(TrackingSettings(uri="sqlite:///mlflow.db"), Path(root)), "prod", "diabetes")
with opened(Path(bundle), "diabetes", [key]) as found:
    bring_in(registry, found)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("step", "when", "versions"),
    [("create_run", "after", 0), ("create_logged_model", "after", 0), ("log_model_artifacts", "half-way", 0),
     ("finalize_logged_model", "before", 0), ("create_model_version", "before", 0),
     ("create_model_version", "after", 1)],
)  # fmt: skip
def test_after_a_kill_the_next_is_whole(bring, prod, prod_root, bundle, key, killed, tmp_path, step, when, versions):
    killed(KILLED, prod_root, bundle, key.public, step, when)
    assert runs(prod) == ["RUNNING"]
    assert [prod.open(version).contract.problem for version in prod.versions()] == ["diabetes"] * versions
    bring()
    require_whole(prod, bundle, key, tmp_path)


@pytest.mark.slow
def test_a_version_goes_from_one_server_to_the_other(run, repository, tmp_path, new_server):
    addresses = {stage: new_server(tmp_path / stage).address for stage in ("staging", "prod")}

    def kit(stage: str, *words: str, code: int = 0) -> Any:
        given = {"KIT_STAGE": stage, "KIT_TRACKING__URI": addresses[stage]}
        return run(repository, *words, code=code, KIT_SERVING__API_KEY="a-key-of-good-length", **given)

    def said(stage: str, *words: str) -> Any:
        return json.loads(kit(stage, *words, "--json").stdout)

    assert said("staging", "run")["champion"] == 1
    made = said("staging", "keys")
    written = said("staging", "bundle", "to prod.zip")
    assert (written["model"], written["version"], written["key"]) == ("staging.diabetes", 1, made["key"])

    to_prod = ("promote", "--to", "prod", "--from", "to prod.zip")
    untrusted = kit("prod", *to_prod, "--approver", "Ada", code=1).stderr
    assert ("promotion.trusted_keys is empty" in untrusted, "Ada" in untrusted) == (True, False)
    config = repository / "config" / "prod.yaml"
    config.write_text(config.read_text() + f"\npromotion:\n  trusted_keys: [{made['public']}]\n")
    assert "--approver" in kit("prod", *to_prod, code=2).stderr
    for _ in range(2):
        moved = said("prod", *to_prod, "--approver", "Ada")
        assert (moved["model"], moved["version"], moved["passed"]) == ("prod.diabetes", 1, True)
    acts = said("prod", "history")["entries"]
    assert {(entry["act"], entry["version"], entry["approver"]["name"]) for entry in acts} == {("promote", 1, "Ada")}

    for stage in ("staging", "prod"):
        kit(stage, "fetch", stage)
    for name in ("model.onnx", "contract.json", "parity.npz"):
        assert (repository / "prod" / name).read_bytes() == (repository / "staging" / name).read_bytes()
