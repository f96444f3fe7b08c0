"""What somebody with a hand on variables, registry or artifacts tries on staging: real commands, a real MLflow server.

The attacks follow each other, as they would on one server, and each is settled by the command that the refusal names.
"""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import pytest

from starterkit.release.history import Ledger
from starterkit.settings import Stage, TrackingSettings
from starterkit.tracking.connection import connect
from starterkit.tracking.registry import ModelRegistry

MODEL = "staging.diabetes"
FILES = ("model.onnx", "contract.json", "parity.npz")


class Staging:
    def __init__(self, root: Path, address: str, kit: Any) -> None:
        self.root, self.address, self._kit = root, address, kit
        self.client = mlflow.MlflowClient(self.address, self.address)

    def kit(self, *words: str, **environ: str) -> tuple[int, str]:
        told = {"KIT_STAGE": "staging", "KIT_TRACKING__URI": self.address}
        told |= {"KIT_SERVING__API_KEY": "a-key-of-good-length"}
        done = self._kit(self.root, *words, **told | environ)
        return done.returncode, " ".join((done.stdout + done.stderr).split())

    def files(self, number: str) -> Path:
        model = self.client.get_model_version(MODEL, number).source.removeprefix("models:/")
        (folder,) = (self.root / "artifacts").rglob(f"{model}/artifacts")
        return folder

    def evidence(self) -> Path:
        place = self.client.get_model_version(MODEL, "1").tags["evidence_place"]
        (file,) = (self.root / "artifacts").rglob(f"{place}/evidence.json")
        return file


@pytest.fixture(scope="module")
def staging(tmp_path_factory: Any, copied: Callable[..., Path], mlflow_server: Any, kit: Any) -> Staging:
    """Version 1 is champion; version 2 is one tree, which the gate refused."""
    root = copied(tmp_path_factory.mktemp("staging") / "copy")
    made = Staging(root, mlflow_server(root).address, kit)
    assert made.kit("run")[0] == 0
    code, said = made.kit("run", KIT_TRAINING__PARAMS='{"n_estimators": 1, "learning_rate": 0.03}')
    assert (code, "the gate refused staging.diabetes version 2" in said) == (1, True)
    return made


def test_variables_make_no_gate_looser(staging):
    loose = {"GATE__TOLERANCE": "1", "GATE__UNDECIDED": "pass", "GATE__LEAK_LIMIT": "1", "EXPORT__TOLERANCE": "1"}
    loose |= {"GATE__LIMITS": '{"rmse": {"max": 1000}}', "GATE__HEAVIER": "1000"}
    code, said = staging.kit("promote", "--version", "2", **{f"KIT_{name}": value for name, value in loose.items()})
    assert code == 2
    assert [name for name in loose if f"KIT_{name}: " not in said] == []


def refused(staging: Staging, words: str, **environ: str) -> None:
    for command in ("serve", "fetch model", "history", "doctor"):
        code, said = staging.kit(*command.split(), **environ)
        assert (code, words in said) == (1, True), (command, said)


def test_an_alias_that_was_moved_is_seen_and_given_back(staging):
    staging.client.set_registered_model_alias(MODEL, "champion", "2")
    refused(staging, "its gate has not passed it")
    staging.client.set_model_version_tag(MODEL, "2", "gate", "passed")
    refused(staging, "it was moved by hand")
    assert staging.kit("rollback", "--to", "1", "--reason", "it was moved by hand")[0] == 0
    assert staging.kit("history")[0] == 0


def test_files_of_another_version_are_served_by_nobody(staging, tmp_path):
    ours, others = staging.files("1"), staging.files("2")
    shutil.copytree(ours, tmp_path / "saved")
    for name in FILES:
        shutil.copy(others / name, ours / name)
    refused(staging, "are not those that its gate judged")
    for name in FILES:
        shutil.copy(tmp_path / "saved" / name, ours / name)
    assert staging.kit("history")[0] == 0


def test_evidence_that_was_edited_is_seen(staging):
    file = staging.evidence()
    file.write_text(file.read_text("utf-8").replace("65", "95", 1), "utf-8")
    code, said = staging.kit("history")
    assert (code, "it was edited" in said) == (1, True)
    assert staging.kit("promote", "--version", "1")[0] == 0
    assert staging.kit("history")[0] == 0


KEY = "qT4-zp0WbD8vLr5yHn2cKx7mJf3sGu9e"
UNSIGNED = "does not have the signature of this stage's promotion.version_key"


def test_with_a_key_no_tag_and_no_history_makes_a_champion(staging):
    """Somebody who writes to the registry, and has no key: the whole promotion of version 2, as the kit writes it."""
    key = {"KIT_PROMOTION__VERSION_KEY": KEY}
    code, said = staging.kit("serve", **key)
    assert (code, UNSIGNED in said) == (1, True)
    assert staging.kit("promote", "--version", "1", **key)[0] == 0
    assert staging.kit("history", **key)[0] == 0
    connection = connect(TrackingSettings(uri=staging.address), staging.root)
    client, registry = staging.client, ModelRegistry(connection, Stage.STAGING, "diabetes")
    ledger, version = Ledger(registry), registry.version(2)
    last = ledger.entries()[-1]
    forged = {"version": 2, "earlier": 1, "contract": version.tags["contract"], "evidence": version.tags["evidence"]}
    ledger.append(replace(last, **forged))
    client.set_model_version_tag(MODEL, "2", "gate", "passed")
    client.set_model_version_tag(MODEL, "2", "signature", last.signature)
    client.set_registered_model_alias(MODEL, "champion", "2")
    assert staging.kit("history")[0] == 0  # who has no key sees nothing
    refused(staging, UNSIGNED, **key)
    assert staging.kit("rollback", "--to", "1", "--reason", "it was forged", **key)[0] == 0
    assert staging.kit("history", **key)[0] == 0


def test_prod_takes_nothing_whose_evidence_or_history_was_edited(staging):
    to_prod = ("promote", "--to", "prod", "--approver", "Ada Lovelace")
    file = staging.evidence()
    as_it_was = file.read_bytes()
    file.write_bytes(as_it_was.replace(b"65", b"95", 1))
    code, said = staging.kit(*to_prod, KIT_STAGE="prod")
    assert (code, "it was edited" in said) == (1, True), said
    file.write_bytes(as_it_was)
    tags = staging.client.get_registered_model(MODEL).tags
    staging.client.set_registered_model_tag(MODEL, "history.000001", tags["history.000001"].replace("passed", "loved"))
    for stage, command in (("prod", to_prod), ("staging", ("promote", "--version", "1"))):
        code, said = staging.kit(*command, KIT_STAGE=stage)
        assert (code, "is broken: entry 1 was edited" in said) == (1, True), said
    assert staging.kit("history", "--settle", "it was an attack")[0] == 0
    code, said = staging.kit(*to_prod, KIT_STAGE="prod")
    assert code == 0, said
