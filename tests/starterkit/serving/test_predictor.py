"""An exported folder is whole and answers as its estimator did, or it is refused. Opening it costs no training code."""

import io
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from starterkit.contract import Contract
from starterkit.errors import ContractError
from starterkit.serving.predictor import Predictor, sha256


@pytest.fixture(scope="module")
def original(diabetes: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diabetes.export(Ridge(), tmp_path_factory.mktemp("models") / "exported")[0].folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy that a test may break."""
    return Path(shutil.copytree(original, tmp_path / "exported"))


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def rewrite(folder: Path, **changes: Any) -> None:
    """Write a contract with a valid seal that says something else."""
    path = folder / "contract.json"
    path.write_text(replace(Contract.from_json(path.read_text()), **changes).to_json())


def plant(folder: Path, other: Path, *names: str) -> None:
    """Put another export's files into a folder, with their digests."""
    digests = dict(Contract.from_json((folder / "contract.json").read_text()).digests)
    for name in names:
        shutil.copy(other / name, folder / name)
        digests[name] = sha256((folder / name).read_bytes())
    rewrite(folder, digests=digests)


@pytest.mark.parametrize("name", ["model.onnx", "parity.npz", "contract.json"])
@pytest.mark.parametrize("damage", ["flipped", "cut", "emptied", "removed"])
def test_a_damaged_file_is_refused_by_name(folder: Path, name: str, damage: str) -> None:
    path = folder / name
    if damage == "flipped":
        flip_a_byte(path)
    elif damage == "removed":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[: 100 if damage == "cut" else 0])
    with pytest.raises(ContractError, match=name) as refusal:
        Predictor(folder)
    assert refusal.value.hint
    assert "\n" not in str(refusal.value)


def test_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=r"contract\.json cannot be read from the exported folder 'gone'"):
        Predictor(tmp_path / "gone")


def test_another_format_is_refused(folder: Path) -> None:
    path = folder / "contract.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(ContractError, match="has format 2, this kit reads 1"):
        Predictor(folder)


def test_a_file_without_a_digest_is_refused(folder: Path) -> None:
    rewrite(folder, digests={})
    with pytest.raises(ContractError, match="is not the file that its contract was written for"):
        Predictor(folder)


def test_another_estimators_graph_is_refused_by_its_answers(diabetes: Any, folder: Path, tmp_path: Path) -> None:
    other, _ = diabetes.export(make_pipeline(StandardScaler(), Ridge(100.0)), tmp_path / "other")
    plant(folder, other.folder, "model.onnx")
    with pytest.raises(ContractError, match="no longer gives its sample's answers"):
        Predictor(folder)


@pytest.mark.parametrize("sample", ["visits", "iris"])
def test_another_problems_graph_is_refused(
    request: pytest.FixtureRequest, folder: Path, tmp_path: Path, sample: str
) -> None:
    from sklearn.compose import make_column_transformer

    estimators = {
        "visits": make_pipeline(make_column_transformer(("passthrough", ["insured"])), Ridge()),
        "iris": LogisticRegression(),
    }
    other, _ = request.getfixturevalue(sample).export(estimators[sample], tmp_path / "other")
    plant(folder, other.folder, "model.onnx")
    with pytest.raises(ContractError):
        Predictor(folder)


def test_a_graph_that_is_none_is_refused(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    plant(folder, tmp_path, "model.onnx")
    with pytest.raises(ContractError, match="onnxruntime cannot load the graph"):
        Predictor(folder)


@pytest.mark.parametrize("content", [b"no sample", b""])
def test_a_sample_that_is_none_is_refused(folder: Path, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "parity.npz").write_bytes(content)
    plant(folder, tmp_path, "parity.npz")
    with pytest.raises(ContractError, match=r"parity\.npz"):
        Predictor(folder)


def test_a_sample_of_another_kind_or_damaged_is_refused(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "parity.npz").read_bytes()
    damaged = (
        whole[:100] + bytes(byte ^ 0xFF for byte in whole[100:130]) + whole[130:]
    )  # in the first array's own bytes
    array = io.BytesIO()
    np.save(array, np.zeros(3))
    for content in (damaged, array.getvalue()):
        (tmp_path / "parity.npz").write_bytes(content)
        plant(folder, tmp_path, "parity.npz")
        with pytest.raises(ContractError, match=r"parity\.npz is no parity sample"):
            Predictor(folder)


def test_columns_in_another_order_are_refused_by_their_answers(folder: Path) -> None:
    columns = Contract.from_json((folder / "contract.json").read_text()).columns
    rewrite(folder, columns=columns[::-1])
    with pytest.raises(ContractError, match="no longer gives its sample's answers"):
        Predictor(folder)


def test_it_answers_from_anywhere_and_without_its_folder(
    diabetes: Any, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    predictor = Predictor(Path("exported"))
    monkeypatch.chdir("/")
    shutil.rmtree(folder)
    model, dataset = diabetes.fit(Ridge())
    answered = predictor.predict(dataset.holdout.columns)
    assert answered.values == pytest.approx(model.evaluation.prediction.values)
    assert answered.probabilities is None


def test_one_row_is_answered_as_it_is_among_many(diabetes: Any, original: Path) -> None:
    dataset = diabetes.dataset(diabetes.problem(lambda: None))
    columns, predictor = dataset.holdout.columns, Predictor(original)
    together = predictor.predict(columns).values
    for row in (0, 7, len(together) - 1):
        alone = predictor.predict({name: values[row : row + 1] for name, values in columns.items()}).values
        assert alone == pytest.approx(together[row : row + 1])


def test_columns_are_taken_by_name_and_others_ignored(diabetes: Any, original: Path) -> None:
    columns = diabetes.dataset(diabetes.problem(lambda: None)).holdout.columns
    turned = {name: columns[name] for name in reversed(columns)} | {"extra": np.zeros(len(columns["age"]))}
    predictor = Predictor(original)
    assert predictor.predict(turned).values.tolist() == predictor.predict(columns).values.tolist()


def loaded_by(module: str, *, then: str = "") -> set[str]:
    """The packages that a fresh interpreter has loaded after an import."""
    code = f"import {module}\n{then}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd="/")
    return set(done.stdout.split())


HEAVY = {"pandas", "sklearn", "pandera", "mlflow", "skl2onnx", "onnx", "scipy", "matplotlib", "fastapi", "pyarrow"}


def test_opening_a_model_loads_no_training_code(original: Path) -> None:
    then = f"from pathlib import Path; starterkit.serving.Predictor(Path({str(original)!r}))"
    loaded = loaded_by("starterkit.serving", then=then)
    assert {"numpy", "onnxruntime"} <= loaded
    assert not HEAVY & loaded


def test_the_gate_loads_nothing_heavier_than_numpy() -> None:
    loaded = loaded_by("starterkit.release.gate.gate")
    assert not (HEAVY | {"onnxruntime", "pydantic"}) & loaded


def test_opening_a_model_leaves_no_telemetry_behind(original: Path, tmp_path: Path) -> None:
    probe = f"from pathlib import Path; from starterkit.serving import Predictor; Predictor(Path({str(original)!r}))"
    quiet = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    subprocess.run([sys.executable, "-c", probe], env=quiet | {"HOME": str(tmp_path)}, check=True, timeout=60)
    assert list(tmp_path.rglob("*onnxruntime*")) == []
