"""A bundle is the registered version and nothing that anybody should not have."""

import io
import shutil
from zipfile import ZipFile

import numpy as np
import pandas as pd
import pytest

from starterkit.errors import ContractError, Refused, UserError
from starterkit.release import bundle as writing
from starterkit.release.bundle import write_bundle
from starterkit.tracking.queries import fetch_model


def test_a_bundle_is_the_registered_version_and_the_same_each_time(bundle, staged, key, tmp_path):
    registry = staged.registry()
    again = write_bundle(registry, registry.version(1), key, tmp_path / "again.zip")
    assert again.file.read_bytes() == bundle.read_bytes()
    fetch_model(registry.connection, "models:/staging.diabetes/1", tmp_path / "model")
    registered = {f"model/{file.name}": file.read_bytes() for file in (tmp_path / "model").iterdir()}
    with ZipFile(bundle) as found:
        assert {name: found.read(name) for name in found.namelist() if name.startswith("model/")} == registered
    with ZipFile(bundle) as found:  # so that the other server can watch it
        assert b"edges" in found.read("run/reference.json")
    assert {"model/MLmodel", "model/model.onnx", "model/contract.json", "model/parity.npz"} <= registered.keys()


def test_no_person_no_secret_and_no_row_is_inside(bundle, staged):
    """The record of rows is salted hashes. Ids, rows, the user and MLflow's own tags stay behind."""
    with ZipFile(bundle) as found:
        contents = {name: found.read(name) for name in found.namelist()}
    with np.load(io.BytesIO(contents["run/rows.npz"])) as arrays:
        assert {array.dtype for array in arrays.values()} <= {np.dtype(np.uint64), np.dtype(np.uint8)}
    data = pd.read_csv(staged.settings.root / "data" / "diabetes.csv", dtype=str)
    everything = b"\n".join(contents.values())
    assert not [one for one in data[data.columns[0]] if len(one) > 3 and one.encode() in everything]
    rows = {row.partition(",")[2].encode() for row in (staged.settings.root / "data/diabetes.csv").read_text().split()}
    assert not [row for row in rows if row and row in everything]
    assert b"mlflow.user" not in everything
    assert b"mlflow.source" not in everything
    assert b'"process"' not in everything


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"gate": "refused"}, r"staging\.diabetes version 1 has not passed its gate.*promote --version 1"),
        ({"evidence_place": "gate/nowhere/0123"}, r"the gate's evidence about .* is gone"),
        ({"evidence_place": "../../gate"}, r"the gate's evidence about .* is gone"),
        ({"evidence_place": ""}, r"the gate's evidence about .* is gone"),
    ],
)
def test_what_its_gate_has_not_passed_or_not_kept_is_not_bundled(staging_copy, key, tmp_path, tags, said):
    registry, version = staging_copy
    registry.tag(version, tags)
    with pytest.raises(Refused, match=said):
        write_bundle(registry, registry.version(1), key, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_a_version_whose_rows_nobody_knows_is_not_bundled(staging_copy, key, tmp_path):
    """No gate could judge it on the other side."""
    registry, version = staging_copy
    client = registry.connection.client
    first = client.get_run(version.run)
    run = client.create_run(first.info.experiment_id).info.run_id
    made = registry.register(run, first.data.tags["exported_model_id"], dict(version.tags), "without rows")
    with pytest.raises(Refused, match="version 2 is gone, or has no record of its rows"):
        write_bundle(registry, made, key, tmp_path / "x.zip")
    assert not list(tmp_path.glob("*x.zip*"))


def test_a_version_whose_files_do_not_answer_is_not_bundled(staging_copy, key, tmp_path, monkeypatch):
    registry, version = staging_copy
    fetch = writing.fetch_model

    def altered(connection, address, into):
        fetch(connection, address, into)
        (into / "model.onnx").write_bytes(b"another graph")

    monkeypatch.setattr(writing, "fetch_model", altered)
    with pytest.raises(ContractError, match="is not the file that its contract was written for"):
        write_bundle(registry, version, key, tmp_path / "x.zip")


@pytest.mark.parametrize("what", ["a file", "a folder"])
def test_something_else_is_not_written_over(staged, key, tmp_path, what):
    place = tmp_path / "x.zip"
    if what == "a file":
        place.write_bytes(b"a year's work")
    else:
        place.mkdir()
    registry = staged.registry()
    with pytest.raises(UserError, match="is there, and is no bundle"):
        write_bundle(registry, registry.version(1), key, place)
    with pytest.raises(UserError, match="there is no folder"):
        write_bundle(registry, registry.version(1), key, tmp_path / "nowhere" / "x.zip")
    assert what == "a folder" or place.read_bytes() == b"a year's work"


def test_an_earlier_bundle_stays_whole_until_the_new_one_is(bundle, staged, key, tmp_path, monkeypatch):
    file = tmp_path / "x.zip"
    shutil.copy(bundle, file)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing.shutil, "copyfileobj", full)
    registry = staged.registry()
    with pytest.raises(OSError, match="No space left"):
        write_bundle(registry, registry.version(1), key, file)
    assert [one.name for one in tmp_path.iterdir()] == ["x.zip"]
    assert file.read_bytes() == bundle.read_bytes()
