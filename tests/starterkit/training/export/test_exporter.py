"""The exported folder is whole or not there, holds nobody's row, and its casts stand where they must."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pandas as pd
import pytest
from onnxruntime import InferenceSession
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.ensemble import GradientBoostingRegressor, RandomForestRegressor, VotingRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.multiclass import OutputCodeClassifier
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.svm import SVC, SVR, LinearSVC

from starterkit.contract import Column, Contract, Dialect, Prediction
from starterkit.errors import ExportError, ProblemError
from starterkit.serving.graph import DECISION, Session
from starterkit.serving.predictor import Predictor
from starterkit.settings import TrainingSettings
from starterkit.training import Trainer, export, rows_kept
from starterkit.training.agreement import Asked, Measure, beside, ties
from starterkit.training.export.conversion import OPSET, guarded, layout_of, refusal, to_graph

FILES = ["contract.json", "model.onnx", "parity.npz"]


def listing(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_three_files_are_written_that_say_what_the_model_takes_and_nothing_of_a_patient(diabetes, tmp_path):
    exported, dataset = diabetes.export(Ridge(), tmp_path / "models" / "exported")
    assert listing(exported.folder) == FILES
    assert listing(tmp_path / "models") == ["exported"]
    contract = exported.contract
    assert (contract.problem, contract.title, contract.task) == ("sample", "A sample", "regression")
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


def test_the_deciding_figure_comes_first_beside_that_of_a_naive_model():
    found, naive = {"a": 1.0, "b": 2.0, "c": np.nan, "d": 4.0}, {"a": 3.0, "b": np.inf}
    problem, scored = SimpleNamespace(deciding_metric=SimpleNamespace(name="b")), SimpleNamespace(scores=found)
    model: Any = SimpleNamespace(problem=problem, evaluation=scored, baseline=SimpleNamespace(scores=naive))
    assert [*export._scores(model).items()] == [("b", (2.0, None)), ("a", (1.0, 3.0)), ("d", (4.0, None))]


@pytest.mark.parametrize(
    ("last", "behind"), [(LogisticRegression(), "probabilities"), (LinearSVC(), "decision_values")]
)
def test_what_stands_behind_a_label_is_in_the_sample(iris, tmp_path, last, behind):
    by_labels = type(iris)(iris.root, iris.source, iris.schema, iris.task, "accuracy")
    model, dataset = by_labels.fit(make_pipeline(StandardScaler(), last))
    exported = by_labels.write(model, dataset, tmp_path / "exported")
    contract, every = exported.contract, pd.concat([dataset.holdout.features, dataset.training.features])
    spread = 1.0 if behind == "probabilities" else model.estimator.decision_function(every).std()
    assert contract.parity.scale == pytest.approx(spread)
    assert contract.classes == ("setosa", "versicolor", "virginica")
    assert contract.scores == export._scores(model) != {}
    assert (contract.probabilities, contract.decision_values) == (behind == "probabilities", behind != "probabilities")
    with np.load(exported.folder / "parity.npz") as sample:
        assert sample[behind].shape == (64, 3)


def test_made_up_rows_are_drawn_by_person_and_the_written_graph_is_the_proven_one(diabetes, tmp_path, monkeypatch):
    given: list[Any] = []
    for name in ("draw_rows", "typical_row"):
        noted = getattr(export, name)
        monkeypatch.setattr(export, name, lambda *all, called=noted: (given.append(all[-1]), called(*all))[1])
    model, dataset = diabetes.fit(Ridge())
    people = np.arange(len(dataset.training.features)) // 2
    semicolons = Dialect(delimiter=";")
    dataset = replace(dataset, training=replace(dataset.training, groups=people), dialect=semicolons)
    assert diabetes.write(model, dataset, tmp_path / "exported").contract.dialect == semicolons
    assert [one is people for one in given] == [True, True]
    model, _ = diabetes.fit(Ridge(100.0))
    other = to_graph(model.estimator, model.problem.features, model.problem.target.name).graph
    monkeypatch.setattr(export, "guarded", lambda graph, columns: other)
    with pytest.raises(ExportError, match="does not answer as the estimator does"):
        diabetes.export(Ridge(), tmp_path / "exported")


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


def test_rows_leave_no_stage_that_may_not_see_them_raw_and_a_model_that_carries_some_says_so(diabetes, tmp_path):
    problem = diabetes.problem(lambda: FIVE)
    dataset, trainer = diabetes.dataset(problem), Trainer(problem, TrainingSettings())
    for policy in ({}, {"age": "mock", "day": "drop"}):
        trainer.fit(replace(dataset, policy=policy))
    for treatment in ("generalise", "drop"):
        with pytest.raises(ProblemError, match=r"carries training rows \(KNeighborsRegressor\), and this stage may"):
            trainer.fit(replace(dataset, policy={"age": treatment}))
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
    def predict(self, X: Any) -> Any:  # noqa: N803
        return super().predict(X) + 1


def test_what_is_no_export_is_never_overwritten_and_an_empty_folder_will_do(diabetes, tmp_path, monkeypatch):
    place = tmp_path / "precious"
    place.mkdir()
    thesis = place / "thesis.txt"
    thesis.write_text("mine")
    for taken in (place, thesis):
        with pytest.raises(ExportError, match=r"holds something else than an exported model\. Name a new"):
            diabetes.export(Ridge(), taken)
        assert thesis.read_text() == "mine"
    folder = tmp_path / "exported"
    folder.mkdir()
    monkeypatch.chdir(folder)
    diabetes.export(Ridge(), Path())
    assert listing(folder) == FILES
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match=r"cannot be written.*Free space or"):
        diabetes.export(Ridge(), tmp_path / "file" / "exported")


KINDS = {"whole": "integer", "flag": "boolean", "number": "float", "gaps": "integer", "text": "string"}


def columns_of(*names: str) -> list[Column]:
    plain = {"role": "feature", "unit": "", "sensitivity": "plain"}
    return [Column(name=name, type=KINDS[name], nullable=name == "gaps", **plain) for name in names]


def table(*names: str) -> pd.DataFrame:
    number = np.arange(40)
    made = {"whole": number, "flag": number % 2, "number": number / 7, "gaps": number % 5}
    return pd.DataFrame(made | {"text": np.where(number % 3, "a", "b")})[list(names)]


def shapes(values: Any) -> list[tuple[str, int, list[int | str]]]:
    kinds = [(value.name, value.type.tensor_type) for value in values]
    return [(name, kind.elem_type, [size.dim_value or "n" for size in kind.shape.dim]) for name, kind in kinds]


DOUBLE, WHOLE, FLAG, TEXT = (getattr(onnx.TensorProto, kind) for kind in ("DOUBLE", "INT64", "BOOL", "STRING"))


def test_a_matrix_may_be_read_by_name():
    columns, rows = columns_of("whole", "number"), table("whole", "number")
    first = make_column_transformer(("passthrough", ["number"]), ("passthrough", ["whole"]))
    model = make_pipeline(first, Ridge()).fit(rows, np.arange(40))
    made = onnx.load_from_string(to_graph(model, columns, "y").graph)
    assert (layout_of(columns), made.ir_version, {one.domain for one in made.opset_import}) == ("matrix", 10, {*OPSET})
    answered = Session(made.SerializeToString()).run({"features": rows.to_numpy(float)})
    assert answered[0].ravel() == pytest.approx(model.predict(rows))
    for target, said in (
        ("features", "the name of the input. Rename 'features'"),
        ("whole", "column 'whole' has the name"),
    ):
        with pytest.raises(ExportError, match=rf"^ColumnTransformer → Ridge cannot .*{said}"):
            to_graph(model, columns, target)


def test_columns_have_their_own_type_unless_a_value_may_be_missing():
    names = ("whole", "flag", "number", "gaps", "text")
    columns, rows = columns_of(*names), table(*names)
    first = make_column_transformer((OneHotEncoder(), ["text"]), ("passthrough", list(names[:-1])))
    model = make_pipeline(first, Ridge()).fit(rows, np.arange(40))
    graph = onnx.load_from_string(to_graph(model, columns, "y").graph).graph
    expected = {"whole": WHOLE, "flag": FLAG, "number": DOUBLE, "gaps": DOUBLE, "text": TEXT}
    assert shapes(graph.input) == [(name, kind, ["n"]) for name, kind in expected.items()]
    casts = [node.input[0] for node in graph.node if node.op_type == "Cast" and node.input[0] in names]
    assert casts == ["whole", "flag"]
    alone = make_pipeline(make_column_transformer((OneHotEncoder(), ["text"])), Ridge()).fit(rows, np.arange(40))
    used = onnx.load_from_string(to_graph(alone, columns, "y").graph).graph
    assert (layout_of(columns), [node for node in used.node if "whole" in node.input]) == ("columns", [])
    given = {name: rows[name].to_numpy() for name in names}
    given |= {name: given[name].astype(kind) for name, kind in (("flag", bool), ("gaps", float), ("text", object))}
    answered = Session(to_graph(model, columns, "y").graph).run(given)
    assert answered[0].ravel() == pytest.approx(model.predict(rows))


@pytest.mark.parametrize("classes", [("a", "b"), ("a", "b", "c")])
def test_each_class_has_an_output_of_its_own(classes):
    columns, rows = columns_of("whole", "number"), table("whole", "number")
    labels = np.array(classes)[np.arange(40) % len(classes)]
    model = LogisticRegression().fit(rows.to_numpy(), labels)
    graph = onnx.load_from_string(to_graph(model, columns, "y").graph).graph
    (name, kind, _), *chances = shapes(graph.output)
    assert (name, kind) == ("y", TEXT)
    assert chances == [(f"y_is_{label}", DOUBLE, ["n"]) for label in classes]
    labelled, *chances = Session(to_graph(model, columns, "y").graph).run({"features": rows.to_numpy(float)})
    assert labelled.tolist() == model.predict(rows.to_numpy()).tolist()
    assert np.column_stack(chances) == pytest.approx(model.predict_proba(rows.to_numpy()))
    deciding = LinearSVC().fit(rows.to_numpy(), labels)
    decided = Session(to_graph(deciding, columns, "y").graph)
    assert decided.outputs == ("y", *(f"y{DECISION}{label}" for label in classes[len(classes) == 2 :]))
    coded = OutputCodeClassifier(LogisticRegression(), random_state=0).fit(rows.to_numpy(), labels)
    assert Session(to_graph(coded, columns, "y").graph).outputs == ("y",)
    values = np.column_stack(decided.run({"features": rows.to_numpy(float)})[1:])
    assert values == pytest.approx(deciding.decision_function(rows.to_numpy()).reshape(40, -1))


@pytest.mark.parametrize("last", ["text", "flag"])
def test_whole_numbers_and_categories_are_guarded_beside_what_has_no_range(last):
    names, numbers = ("whole", "number", "gaps", last), ["whole", "number", "gaps"]
    rows = table(*names)
    said = {
        "whole": {"proven": (0.0, 50.0)},
        "number": {"categories": (*rows["number"],)},
        "gaps": {"categories": (0, 4)},
    }
    columns = [replace(one, **said.get(one.name, {})) for one in columns_of(*names)]
    first = make_column_transformer((OneHotEncoder(), [last]), ("passthrough", numbers))
    model = make_pipeline(first, Ridge()).fit(rows, np.arange(40))
    session = InferenceSession(guarded(to_graph(model, columns, "y").graph, columns))
    given = {name: rows[name].to_numpy() for name in names}
    given |= {"gaps": given["gaps"].astype(float)} | ({"text": given[last].astype(object)} if last == "text" else {})

    def answer(values: dict[str, Any]) -> Any:
        whole = {"features": np.column_stack([*values.values()]).astype(float)} if last == "flag" else values
        return session.run(None, whole)[0].ravel()

    assert answer(given) == pytest.approx(model.predict(rows))
    for name in numbers:
        for beyond in (-1, 60):
            with pytest.raises(Exception, match="A number lies beyond the range"):
                answer(given | {name: np.where(given["whole"] == 0, beyond, given[name])})


@pytest.mark.parametrize(
    ("reason", "blamed", "what", "hint"),
    [
        ("it cannot; do a; do b", {}, "StandardScaler → Ridge {}: it cannot", "Do a; do b"),
        ("it ends. ", {}, "StandardScaler → Ridge {}: it ends", ""),
        ("far; 2 labels changed", {}, "StandardScaler → Ridge {}: far; 2 labels changed", ""),
        ("ONNXRuntime fails", {}, "StandardScaler → Ridge {}: its graph cannot be run", "Leave out the step that was "),
        ("no", {"part": "A", "steps": ["b", "c"]}, "A (step 'b' → 'c' of StandardScaler → Ridge) {}: no", ""),
        ("no", {"part": "A"}, "A (in StandardScaler → Ridge) {}: no", ""),
        ("no", {"part": "StandardScaler → Ridge", "steps": ["b"]}, "StandardScaler → Ridge {}: no", ""),
    ],
    ids=["hint", "stop", "labels", "runtime", "step", "part", "all of it"],
)  # fmt: skip
def test_a_refusal_names_the_part_the_reason_and_what_does_instead(reason, blamed, what, hint):
    told = refusal(make_pipeline(StandardScaler(), Ridge()), reason, **blamed)
    assert told.what == what.format("cannot be exported to ONNX")
    assert told.hint.startswith(hint or "Use another estimator; docs/parity.md")
    assert told.hint.endswith("; docs/parity.md lists what holds")
    assert refusal(Ridge(), reason).what.startswith("Ridge cannot be exported to ONNX: ")


EXACT = Measure(allowed=1e-6, scale=1.0, alone=0, unstable=0.0)


def test_saturated_probabilities_hide_no_label():
    """Unscaled columns: several probabilities are 1 or equal, and the estimator chooses by its decision function."""
    rows, labels = load_wine(return_X_y=True, as_frame=True)
    for loss in ("log_loss", "modified_huber"):
        estimator = SGDClassifier(loss=loss, random_state=0).fit(rows, labels)
        shares = estimator.predict_proba(rows)
        by_shares, asked = Prediction(shares.argmax(axis=1), shares), Asked(estimator, "classification", rows)
        differ = int((by_shares.values != estimator.predict(rows)).sum())
        assert differ > 0
        for found in (asked.of_data(by_shares, EXACT), asked.of_drawn(by_shares, EXACT)):
            assert (found.flipped_labels, found.ties, found.proven) == (differ, 0, False)


def test_a_tie_is_the_estimators_own_and_none_on_a_row_of_the_data():
    rows = pd.DataFrame({"x": [-1.0, 0.0, 1.0]})
    estimator = LogisticRegression().fit(pd.DataFrame({"x": [-1.0, 1.0]}), [0, 1])
    estimator.intercept_[:] = 0
    assert ties(estimator, rows).tolist() == [False, True, False]
    asked = Asked(estimator, "classification", rows)
    other = asked.answers._replace(values=np.array([0, 1 - asked.answers.values[1], 1]))
    assert (asked.of_drawn(other, EXACT).ties, asked.of_drawn(other, EXACT).proven) == (1, True)
    assert (asked.of_data(other, EXACT).flipped_labels, asked.of_data(other, EXACT).proven) == (1, False)


def test_an_estimator_that_is_no_function_of_its_row_is_refused(diabetes, tmp_path, monkeypatch):
    """As histogram boosting behind a rotation is, on most machines: a product rounds otherwise for one row."""
    predict = Ridge.predict
    with monkeypatch.context() as wavering:
        wavering.setattr(Ridge, "predict", lambda self, rows: predict(self, rows) + (len(rows) == 1))
        said = r"answers 5 of 5 rows otherwise .* one by one \(1% allowed\)\. A sum .* Round in front .*\(np\.round"
        for estimator, names in (
            (Ridge(), "Ridge"),
            (make_pipeline(StandardScaler(), Ridge()), "StandardScaler → Ridge"),
        ):
            with pytest.raises(ExportError, match=rf"^{names} is no function of its row, .*{said}"):
                diabetes.export(estimator, tmp_path / "exported")
    smooth, _ = diabetes.export(make_pipeline(StandardScaler(), PCA(6), Ridge()), tmp_path / "exported")
    assert (smooth.contract.parity.alone, smooth.contract.parity.unstable) == (5, 0)


def test_more_rows_are_asked_alone_where_one_contradicts():
    rows = pd.DataFrame({"a": np.arange(1000.0), "b": 1.0})
    by_name = make_pipeline(FunctionTransformer(lambda frame: frame[["a"]]), Ridge()).fit(rows, rows["a"])
    plain = Ridge().fit(rows, rows["a"])
    measure = replace(EXACT, alone=500, unstable=0.5)
    for estimator in (plain, by_name):
        asked = Asked(estimator, "regression", rows)
        found = asked.of_data(asked.answers, measure)
        assert (found.alone, found.unstable) == (200, 0)
    answers = asked.answers.values.copy()
    answers[7] += 1  # as if it had said so among the others
    asked.answers = Prediction(answers)
    found = asked.of_data(Prediction(plain.predict(rows)), measure)
    assert (found.alone, found.unstable, found.proven) == (501, 1, True)


def test_a_version_is_held_against_its_estimator(diabetes, tmp_path):
    exported, dataset = diabetes.export(Ridge(), tmp_path / "exported")
    predictor, rows = Predictor(exported.folder), dataset.training
    same, other = (one.fit(rows.features, rows.target) for one in (Ridge(), LinearRegression()))
    found = beside(same, dataset, predictor)
    assert (found.proven, found.rows, found.allowed) == (True, len(dataset), exported.contract.parity.allowed)
    assert not beside(other, dataset, predictor).proven
