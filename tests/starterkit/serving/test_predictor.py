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
import onnxruntime
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor, RandomForestRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from starterkit.contract import Column, Contract, Parity, Prediction
from starterkit.errors import ContractError, SettingsError
from starterkit.serving.graph import Compute, Order
from starterkit.serving.predictor import Predictor, compare, sha256
from starterkit.serving.validation import read_records


@pytest.fixture(scope="module")
def original(diabetes: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return diabetes.export(Ridge(), tmp_path_factory.mktemp("models") / "exported")[0].folder


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "exported"))


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
def test_a_damaged_file_is_refused_by_name(folder, name):
    path, whole = folder / name, (folder / name).read_bytes()
    middle = len(whole) // 2
    flipped = whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :]
    for content in (flipped, whole[:100], b"", None):
        path.unlink() if content is None else path.write_bytes(content)
        with pytest.raises(ContractError, match=name) as refusal:
            Predictor(folder)
        assert refusal.value.hint
        assert "\n" not in str(refusal.value)


def test_a_folder_that_is_not_there_or_of_another_format_is_refused(tmp_path, folder):
    with pytest.raises(ContractError, match=r"contract\.json cannot be read from the exported folder 'gone'"):
        Predictor(tmp_path / "gone")
    path = folder / "contract.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"format": 2}))
    with pytest.raises(ContractError, match="has format 2, this kit reads 1"):
        Predictor(folder)


@pytest.mark.parametrize(
    ("sample", "estimator", "said"),
    [
        ("diabetes", make_pipeline(StandardScaler(), Ridge(100.0)), "no longer gives its sample's answers"),
        ("visits", make_pipeline(make_column_transformer(("passthrough", ["insured"])), Ridge()), None),
        ("iris", LogisticRegression(), None),
    ],
)
def test_another_estimators_or_problems_graph_is_refused(request, folder, tmp_path, sample, estimator, said):
    other, _ = request.getfixturevalue(sample).export(estimator, tmp_path / "other")
    plant(folder, other.folder, "model.onnx")
    with pytest.raises(ContractError, match=said):
        Predictor(folder)


def test_a_graph_that_is_none_columns_in_another_order_and_a_file_without_a_digest_are_refused(folder, tmp_path):
    rewrite(folder, columns=Contract.from_json((folder / "contract.json").read_text()).columns[::-1])
    with pytest.raises(ContractError, match="no longer gives its sample's answers"):
        Predictor(folder)
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    plant(folder, tmp_path, "model.onnx")
    with pytest.raises(ContractError, match="onnxruntime cannot load the graph"):
        Predictor(folder)
    rewrite(folder, digests={})
    with pytest.raises(ContractError, match="is not the file that its contract was written for"):
        Predictor(folder)


def test_a_sample_of_another_kind_or_damaged_is_refused(folder, tmp_path):
    whole, array = (folder / "parity.npz").read_bytes(), io.BytesIO()
    np.save(array, np.zeros(3))
    inside = whole[:100] + bytes(byte ^ 0xFF for byte in whole[100:130]) + whole[130:]  # the first array's own bytes
    for content in (b"no sample", b"", inside, array.getvalue()):
        (tmp_path / "parity.npz").write_bytes(content)
        plant(folder, tmp_path, "parity.npz")
        with pytest.raises(ContractError, match=r"parity\.npz is no parity sample"):
            Predictor(folder)


def test_it_answers_from_anywhere_and_without_its_folder(diabetes, folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder.parent)
    predictor = Predictor(Path("exported"))
    monkeypatch.chdir("/")
    shutil.rmtree(folder)
    model, dataset = diabetes.fit(Ridge())
    answered = predictor.predict(dataset.holdout.columns)
    assert answered.values == pytest.approx(model.evaluation.prediction.values)
    assert answered.probabilities is None


def loaded_by(code, **environ):
    code = f"{code}\nimport sys; print(*{{name.split('.')[0] for name in sys.modules}})"
    quiet = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/", env=quiet | environ)
    return set(done.stdout.split())


HEAVY = {"pandas", "sklearn", "pandera", "mlflow", "skl2onnx", "onnx", "scipy", "matplotlib", "fastapi", "pyarrow"}


def test_opening_a_model_loads_no_training_code_and_leaves_no_telemetry_behind(original, tmp_path):
    opening = f"from pathlib import Path; from starterkit.serving import Predictor; Predictor(Path({str(original)!r}))"
    loaded = loaded_by(opening, HOME=str(tmp_path))
    assert {"numpy", "onnxruntime"} <= loaded
    assert not HEAVY & loaded
    assert list(tmp_path.rglob("*onnxruntime*")) == []
    assert not (HEAVY | {"onnxruntime", "pydantic"}) & loaded_by("import starterkit.release.gate")


Record = dict[str, Any]


@pytest.fixture(scope="module")
def scored(visits: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Predictor, Any]:
    """A model over texts, booleans and numbers with missing values, and the estimator it was made of."""
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), ["ward", "city"]),
        ("passthrough", ["children", "income", "smoker", "insured"]),
    )
    estimator = make_pipeline(columns, HistGradientBoostingRegressor(max_iter=20, random_state=0))
    model, dataset = visits.fit(estimator)
    folder = visits.write(model, dataset, tmp_path_factory.mktemp("models") / "exported").folder
    return Predictor(folder), model.estimator


def values(column: Column) -> st.SearchStrategy[Any]:
    if column.categories:
        some: st.SearchStrategy[Any] = st.sampled_from(column.categories)
    elif column.type == "boolean":
        some = st.booleans()
    elif column.type == "integer":
        some = st.integers(int(column.minimum or 0), int(column.maximum or 0))
    else:
        some = st.floats(column.minimum, column.maximum)
    return st.none() | some if column.nullable else some


def answers(predictor: Predictor, rows: list[Record]) -> list[float]:
    return predictor.predict(read_records(predictor.contract, rows)).values.tolist()


@settings(max_examples=25, deadline=None)
@given(st.data())
def test_an_answer_is_the_estimators_for_that_row_alone(scored, data):
    """Whatever other rows and columns come with it, in whatever order."""
    predictor, estimator = scored
    row = st.fixed_dictionaries({column.name: values(column) for column in predictor.contract.columns})
    rows = data.draw(st.lists(row, min_size=1, max_size=8))
    together = answers(predictor, rows)
    frame = pd.DataFrame({name: [row[name] for row in rows] for name in predictor.contract.names})
    kinds = {column.name: "str" if column.type == "string" else "float64" for column in predictor.contract.columns}
    assert together == pytest.approx(estimator.predict(frame.astype(kinds)), rel=1e-12)
    assert [answers(predictor, [row])[0] for row in rows] == together
    assert answers(predictor, rows[::-1]) == together[::-1]
    columns = read_records(predictor.contract, rows)
    names = data.draw(st.permutations(predictor.contract.names))
    shuffled = {name: columns[name] for name in names} | {"another": np.zeros(len(rows))}
    assert predictor.predict(shuffled).values.tolist() == together


@pytest.mark.parametrize("texts", [True, False])
def test_many_rows_are_answered_as_few_are_in_their_own_order(scored, iris, tmp_path, texts):
    predictor = scored[0]
    if not texts:
        predictor = Predictor(iris.export(HistGradientBoostingClassifier(max_iter=5), tmp_path / "it")[0].folder)
    random, rows = np.random.default_rng(0), 5_000
    table = {
        one.name: random.choice(np.array([*one.categories, ""], object), rows)
        if one.type == "string"
        else random.choice([0.0, 1.0, 8.0][: 2 + (one.type != "boolean")], rows)
        for one in predictor.contract.columns
    }
    whole = predictor.predict(table)
    for first in range(0, rows, 500):
        few = predictor.predict({name: one[first : first + 500] for name, one in table.items()})
        pairs = zip(few, whole.of_rows(slice(first, first + 500)), strict=True)
        assert all(np.array_equal(one, other) for one, other in pairs if one is not None)


def test_rows_are_ordered_by_the_columns_that_decide():
    numbers = np.random.default_rng(0).uniform(size=(64, 3))
    ordered = numbers[Order(numbers, 5 * numbers[:, 2] + numbers[:, 0]).of(numbers)] > np.median(numbers, axis=0)
    assert (np.diff(ordered[:, 2].astype(int)) != 0).sum() == 1
    assert (np.diff(ordered[:, 0].astype(int)) != 0).sum() == 3


CPU, CUDA = "CPUExecutionProvider", "CUDAExecutionProvider"
HAS_CUDA = CUDA in onnxruntime.get_available_providers()


def test_providers_that_are_there_are_chosen_in_order_and_one_that_is_not_is_refused():
    """onnxruntime may have the provider, but not its driver: the session is made, on the CPU."""
    assert Compute().choose([CPU]) == [CPU]
    assert Compute(providers=("cuda", "cpu")).choose([CUDA, CPU]) == [CUDA, CPU]
    for providers in (("cuda",), ("cuda", "cpu")):
        assert Compute(providers=providers, fallback=True).choose([CPU]) == [CPU]
    for providers in (("cuda",), ("cuda", "cpu"), ("cpu", "cuda")):
        with pytest.raises(SettingsError, match=r"provider 'cuda' is not there, only cpu\. .*provider_fallback"):
            Compute(providers=providers).choose([CPU])
    with pytest.raises(SettingsError, match="'cuda' is not there"):
        Compute(providers=("cuda",)).require([CPU])
    Compute(providers=("cuda",), fallback=True).require([CPU])


def test_a_real_session_with_the_provider_or_without(original):
    if HAS_CUDA:
        assert Predictor(original, Compute(providers=("cuda",))).providers[0] == "cuda"
    else:
        with pytest.raises(SettingsError, match="'cuda' is not there"):
            Predictor(original, Compute(providers=("cuda",)))
        assert Predictor(original, Compute(threads=2, providers=("cuda",), fallback=True)).providers == ("cpu",)
        assert Predictor(original).providers == ("cpu",)


@pytest.mark.parametrize(
    ("expected", "answered", "largest", "proven"),
    [
        ([100, 200], [100, 200], 0, True),
        ([100, 200], [100, 200.1], 5e-4, True),
        ([100, 200], [100, 200.3], 1.5e-3, False),
        ([0.001], [0.006], 5e-4, True),  # beside a spread of 10 this is nothing
        ([-100], [-100.05], 5e-4, True),
        ([-100], [100], 2, False),
        ([1, 2], [1, np.nan], np.inf, False),
        ([1, np.nan], [1, np.nan], np.inf, False),
        ([1, 2], [1, np.inf], np.inf, False),
        ([1, 2], [1], np.inf, False),
        ([1, 2], [1, 2, 3], np.inf, False),
    ],
)
def test_numbers_are_compared_relatively(expected, answered, largest, proven):
    one, other = (Prediction(np.array(some, np.float64)) for some in (expected, answered))
    found = compare(one, other, allowed=1e-3, scale=10.0)
    assert found.largest == pytest.approx(largest)
    assert (found.proven, found.rows) == (proven, len(expected))


SURE = [[0.9, 0.1], [0.2, 0.8]]


@pytest.mark.parametrize(
    ("expected", "answered", "labels", "counts"),
    [
        (SURE, SURE, "ab", (True, 0, 0)),
        (SURE, [[0.9 + 5e-7, 0.1 - 5e-7], [0.2, 0.8]], "ab", (True, 0, 0)),
        (SURE, [[0.9 + 5e-6, 0.1 - 5e-6], [0.2, 0.8]], "ab", (False, 0, 0)),
        (SURE, SURE, "bb", (False, 0, 1)),
        (SURE, [[0.1, 0.9], [0.2, 0.8]], "bb", (False, 0, 1)),
        (SURE, [[0.9, 0.1], [np.nan, np.nan]], "ab", (False, 0, 0)),
        (SURE, [[0.9, 0.1, 0], [0.2, 0.8, 0]], "ab", (False, 0, 0)),
        ([[0.5, 0.5]], [[0.5, 0.5]], "b", (True, 1, 0)),  # a label may flip where two classes are equal
        ([[0.5 + 1e-7, 0.5 - 1e-7]], [[0.5 - 1e-7, 0.5 + 1e-7]], "b", (False, 0, 1)),
        ([[0.6, 0.4]], [[0.6, 0.4]], "b", (False, 0, 1)),
    ],
)
def test_probabilities_are_compared_absolutely(expected, answered, labels, counts):
    first = Prediction(np.array(list("ab"[: len(expected)])), np.array(expected))
    found = compare(first, Prediction(np.array(list(labels)), np.array(answered)), allowed=1e-6, scale=1.0)
    assert (found.proven, found.ties, found.flipped_labels) == counts


def test_decision_values_are_compared_relatively_labels_one_by_one_and_leaves_too():
    labels, decisions = np.array([4_000_000, 4_000_001]), np.array([[-30.0], [2.0]])
    said = Prediction(labels, decision_values=decisions)
    for factor, proven in ((1.0001, True), (1.01, False)):
        other = Prediction(labels, decision_values=decisions * factor)
        assert compare(said, other, allowed=1e-3, scale=10.0).proven == proven
    bare = compare(Prediction(labels), Prediction(labels[::-1]), allowed=1e-3, scale=10.0)
    assert (bare.flipped_labels, bare.proven) == (2, False)
    sound = Parity(rows=1, measure="m", largest=0.0, allowed=1e-5, scale=1.0, probed=9)
    assert sound.proven
    assert not replace(sound, flipped_leaves=1).proven
    both = sound.with_more(replace(sound, largest=1e-6, flipped_leaves=2, ties=3))
    assert (both.rows, both.probed, both.largest, both.flipped_leaves, both.ties) == (2, 18, 1e-6, 2, 3)


@pytest.mark.slow
def test_a_forest_costs_half_of_what_its_session_alone_does(diabetes, tmp_path):
    folder = diabetes.export(RandomForestRegressor(n_estimators=1500, random_state=0), tmp_path / "forest")[0].folder
    assert 8e6 < (folder / "model.onnx").stat().st_size < 16e6
    began = "import psutil, sys, starterkit.serving.predictor as p, onnxruntime as o; from pathlib import Path as P\n"
    began += "told = psutil.Process().memory_info; before = told().rss\n"
    plain = "kept = o.InferenceSession(P(sys.argv[1], 'model.onnx').read_bytes())\n"
    ours = "kept = p.Predictor(P(sys.argv[1]))\n"
    costs = [
        int(subprocess.check_output([sys.executable, "-c", f"{began}{code}print(told().rss - before)", folder]))
        for code in (plain, ours)
    ]
    assert costs[1] <= costs[0] / 2, costs
