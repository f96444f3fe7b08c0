"""What somebody with a hand on registry or artifacts tries on staging: real commands, a real MLflow server.

The attacks follow each other, as they would on one server, and each is settled by the command that the refusal names.
"""

import shutil
from dataclasses import replace

import mlflow
import pytest

from starterkit.release.history import Ledger
from starterkit.settings import Stage, TrackingSettings
from starterkit.tracking.connection import connect
from starterkit.tracking.registry import ModelRegistry

pytestmark = pytest.mark.slow
MODEL = "staging.diabetes"
FILES = ("model.onnx", "contract.json", "parity.npz")
KEY = {"KIT_PROMOTION__VERSION_KEY": "qT4-zp0WbD8vLr5yHn2cKx7mJf3sGu9e"}
UNSIGNED = "does not have the signature of this stage's promotion.version_key"


def test_staging_and_prod_trust_nothing_that_was_changed(repository, tmp_path, new_server, commands):
    """Version 1 is champion; version 2 is one tree, which the gate refused."""
    server = new_server(tmp_path / "server")
    here = commands(repository, dict.fromkeys(("staging", "prod"), server.address))
    client = mlflow.MlflowClient(server.address, server.address)

    def said(words, *command, code=0, stage="staging", **environ):
        done = here.kit(stage, *command, code=code, **environ)
        assert words in " ".join((done.stdout + done.stderr).split()), (command, done.stderr)

    def refused(words, **environ):
        for command in (("serve",), ("fetch", "model"), ("history",), ("doctor",)):
            said(words, *command, code=1, **environ)

    def artifact(pattern):
        (found,) = server.folder.rglob(pattern)
        return found

    said("", "run")
    one_tree = {"KIT_TRAINING__PARAMS": '{"n_estimators": 1, "learning_rate": 0.03}'}
    said("the gate refused staging.diabetes version 2", "run", code=1, **one_tree)

    # The alias is moved, and then the gate's word is forged.
    client.set_registered_model_alias(MODEL, "champion", "2")
    refused("its gate has not passed it")
    client.set_model_version_tag(MODEL, "2", "gate", "passed")
    refused("it was moved by hand")
    said("", "rollback", "--to", "1", "--reason", "it was moved by hand")
    said("", "history")

    # The files of one version are put in another's place.
    ours, others = (
        artifact(f"{client.get_model_version(MODEL, number).source.removeprefix('models:/')}/artifacts")
        for number in "12"
    )
    shutil.copytree(ours, tmp_path / "saved")
    for name in FILES:
        shutil.copy(others / name, ours / name)
    refused("are not those that its gate judged")
    for name in FILES:
        shutil.copy(tmp_path / "saved" / name, ours / name)
    said("", "history")

    # The evidence is edited.
    file = artifact(f"{client.get_model_version(MODEL, '1').tags['evidence_place']}/evidence.json")
    file.write_text(file.read_text("utf-8").replace("65", "95", 1), "utf-8")
    said("it was edited", "history", code=1)
    said("", "promote", "--version", "1")
    said("", "history")

    # Somebody who writes to the registry, and has no key: the whole promotion of version 2, as the kit writes it.
    said(UNSIGNED, "serve", code=1, **KEY)
    said("", "promote", "--version", "1", **KEY)
    registry = ModelRegistry(connect(TrackingSettings(uri=server.address), repository), Stage.STAGING, "diabetes")
    ledger, version = Ledger(registry), registry.version(2)
    last = ledger.entries()[-1]
    forged = {"version": 2, "earlier": 1, "contract": version.tags["contract"], "evidence": version.tags["evidence"]}
    ledger.append(replace(last, **forged))
    client.set_model_version_tag(MODEL, "2", "signature", last.signature)
    client.set_registered_model_alias(MODEL, "champion", "2")
    said("", "history")  # who has no key sees nothing
    refused(UNSIGNED, **KEY)
    said("", "rollback", "--to", "1", "--reason", "it was forged", **KEY)
    said("", "history", **KEY)

    # Prod takes nothing whose evidence or history was edited.
    to_prod = ("promote", "--to", "prod", "--approver", "Ada Lovelace")
    file = artifact(f"{client.get_model_version(MODEL, '1').tags['evidence_place']}/evidence.json")
    as_it_was = file.read_bytes()
    file.write_bytes(as_it_was.replace(b"65", b"95", 1))
    said("it was edited", *to_prod, code=1, stage="prod")
    file.write_bytes(as_it_was)
    first = client.get_registered_model(MODEL).tags["history.000001"]
    client.set_registered_model_tag(MODEL, "history.000001", first.replace("passed", "loved"))
    said("is broken: entry 1 was edited", *to_prod, code=1, stage="prod")
    said("is broken: entry 1 was edited", "promote", "--version", "1", code=1)
    said("", "history", "--settle", "it was an attack")
    said("", *to_prod, stage="prod")
