"""The exported folder is whole or not there, holds nobody's row, and its casts stand where they must."""

import re
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor, VotingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC

from starterkit.contract import Column, Contract
from starterkit.errors import ExportError, ProblemError
from starterkit.serving.predictor import Predictor
from starterkit.settings import TrainingSettings
from starterkit.training.export.conversion import to_graph
from starterkit.training.trainer import Trainer, rows_kept

FILES = ["contract.json", "model.onnx", "parity.npz"]


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_three_files_are_written_that_say_what_the_model_takes_and_nothing_of_a_patient(diabetes, tmp_path):
    exported, dataset = diabetes.export(Ridge(), tmp_path / "models" / "exported")
    assert listing(exported.folder) == FILES
    assert listing(tmp_path / "models") == ["exported"]
    contract = exported.contract
    assert contract.names == tuple(dataset.training.features)
    assert (contract.columns[0].sensitivity, contract.target.unit) == ("sensitive", "points")
    assert (contract.parity.rows, contract.lineage.run) == (500 + len(dataset), "0123")
    assert diabetes.export(Ridge(), tmp_path / "again")[0].contract == contract
    names = exported.contract.names
    patients = {tuple(row) for rows in (dataset.training, dataset.holdout) for row in rows.features.to_numpy()}
    with np.load(exported.folder / "parity.npz") as sample:
        rows = np.column_stack([sample[f"column.{name}"] for name in names])
        assert not set(sample.files) & {"column.patient_id", "patient_id"}
    assert len(rows) == 64
    assert not patients & {tuple(row) for row in rows}
    assert tuple(exported.contract.example[name] for name in names) not in patients
    assert b"P001" not in b"".join((exported.folder / name).read_bytes() for name in FILES)


FIVE = KNeighborsRegressor(5)
KEEPS = [
    FIVE,
    KNeighborsClassifier(3),
    SVR(),
    SVC(kernel="linear"),
    KernelRidge(kernel="rbf", gamma=1e-6),
    GaussianProcessRegressor(RBF(9.0), optimizer=None),
    make_pipeline(KNNImputer(), Ridge()),
    make_pipeline(Nystroem(n_components=40, random_state=0), Ridge()),
    VotingRegressor([("a", Ridge()), ("b", make_pipeline(FunctionTransformer(), FIVE))]),
    CalibratedClassifierCV(SVC(), cv=2, ensemble=False),
]
KEEPS_NONE = [
    Ridge(),
    LogisticRegression(),
    LinearSVC(),
    make_pipeline(StandardScaler(), GradientBoostingRegressor(n_estimators=3)),
    make_pipeline(SimpleImputer(), RandomForestRegressor(n_estimators=2, min_samples_leaf=5)),
]


@pytest.mark.parametrize(
    "estimator", [*KEEPS, *KEEPS_NONE], ids=lambda one: "-".join(re.findall(r"[A-Z]\w+", str(one)))
)
def test_a_graph_carries_rows_where_the_kit_says_so(estimator):
    random = np.random.default_rng(0)
    table = pd.DataFrame({"x": random.normal(size=40), "y": random.normal(size=40)})
    labels = table.y > 0
    target = labels.astype(int) if is_classifier(estimator) else table.y * 2
    if "KNNImputer" in str(estimator):
        table.loc[3, "y"] = None
    fitted = clone(estimator).fit(table, target)
    columns = [Column(name=name, role="feature", type="float", unit="", sensitivity="plain") for name in table]
    graph = onnx.load_from_string(to_graph(fitted, columns, "target").graph)
    constants = [onnx.numpy_helper.to_array(one) for one in graph.graph.initializer]
    # Centred, scaled by the kernel, doubled: what stays are the distances between the rows.
    apart = np.unique((table.x.to_numpy()[:, None] - table.x.to_numpy()).round(9))
    lines = [line for one in constants if one.ndim == 2 for side in (one, one.T) for line in side if len(line) >= 5]
    moved = [(line - line[0]) * scale for line in lines if len(np.unique(line)) >= 5 for scale in (1, -0.5, -4.5)]
    carried = any(np.isin(line.round(9), apart).all() for line in moved)
    assert carried == bool(rows_kept(fitted)) == (estimator in KEEPS)


@pytest.mark.parametrize(
    ("policy", "refused"),
    [({}, False), ({"age": "generalise"}, True), ({"age": "drop"}, True), ({"age": "mock", "day": "drop"}, False)],
)
def test_rows_leave_no_stage_that_may_not_see_them_raw(diabetes, policy, refused):
    problem = diabetes.problem(lambda: FIVE)
    dataset, trainer = replace(diabetes.dataset(problem), policy=policy), Trainer(problem, TrainingSettings())
    said = r"carries training rows \(KNeighborsRegressor\), and this stage may not"
    with pytest.raises(ProblemError, match=said) if refused else nullcontext():
        trainer.fit(dataset)


def test_a_model_that_carries_rows_says_so(diabetes, tmp_path):
    kept, _ = diabetes.export(FIVE, tmp_path / "kept")
    free, _ = diabetes.export(Ridge(), tmp_path / "free")
    assert (kept.contract.keeps_rows, free.contract.keeps_rows) == (("KNeighborsRegressor",), ())
    assert "carries training rows (KNeighborsRegressor)" in Contract.from_json(kept.contract.to_json()).on_rows
    assert "keeps_rows" not in free.contract.to_json()


def test_one_that_fails_leaves_what_was_there_and_a_good_one_replaces_it(diabetes, tmp_path):
    folder = tmp_path / "exported"
    with pytest.raises(ExportError):
        diabetes.export(_Wrong(), folder)
    assert listing(tmp_path) == []
    first, _ = diabetes.export(Ridge(), folder)
    with pytest.raises(ExportError) as refusal:
        diabetes.export(_Wrong(), folder)
    assert refusal.value.exit_code == 1
    assert Predictor(folder).contract == first.contract
    second, _ = diabetes.export(LinearRegression(), folder)
    assert Predictor(folder).contract == second.contract != first.contract
    assert listing(tmp_path) == ["exported"]


class _Wrong(Ridge):
    """Answers otherwise than its coefficients say, which is all that a converter looks at."""

    def predict(self, X: Any) -> Any:  # noqa: N803
        return super().predict(X) + 1


@pytest.mark.parametrize("content", ["a file of the user's", None])
def test_what_is_no_export_is_never_overwritten(diabetes, tmp_path, content):
    place = tmp_path / "precious"
    if content:
        place.mkdir()
        (place / "thesis.txt").write_text(content)
    else:
        place.write_text("a file")
    with pytest.raises(ExportError, match="holds something else than an exported model"):
        diabetes.export(Ridge(), place)
    assert (place / "thesis.txt").read_text() == content if content else place.read_text() == "a file"


def test_an_empty_folder_will_do_and_a_place_that_cannot_be_written_is_named(diabetes, tmp_path, monkeypatch):
    folder = tmp_path / "exported"
    folder.mkdir()
    monkeypatch.chdir(folder)
    diabetes.export(Ridge(), Path())
    assert listing(folder) == FILES
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot be written"):
        diabetes.export(Ridge(), tmp_path / "file" / "exported")
