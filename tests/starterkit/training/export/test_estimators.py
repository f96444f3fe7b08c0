"""Which estimators can be exported. Each is fitted, converted, proven, opened again and asked about the holdout."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn import ensemble
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import HuberRegressor, LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, TunedThresholdClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, PolynomialFeatures, RobustScaler, StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

from starterkit.contract import Column
from starterkit.data.dataset import Dataset
from starterkit.errors import ExportError, ProblemError
from starterkit.problem import feature, target
from starterkit.serving.batch.scoring import answer_columns
from starterkit.serving.graph import Graph
from starterkit.serving.predictor import Predictor
from starterkit.serving.validation import read_records
from starterkit.training import TrainedModel
from starterkit.training.export.conversion import layout_of, to_graph
from starterkit.training.export.probe import cut_before

REGRESSORS = [
    Ridge(),
    DecisionTreeRegressor(random_state=0),
    ensemble.RandomForestRegressor(10, random_state=0),
    ensemble.GradientBoostingRegressor(n_estimators=30, random_state=0),
    ensemble.HistGradientBoostingRegressor(max_iter=10, random_state=0),
    XGBRegressor(n_estimators=10, n_jobs=1),
    LGBMRegressor(n_estimators=10, n_jobs=1, verbose=-1),
]
CLASSIFIERS = [
    LogisticRegression(solver="newton-cholesky"),
    DecisionTreeClassifier(random_state=0),
    ensemble.RandomForestClassifier(10, random_state=0),
    ensemble.GradientBoostingClassifier(n_estimators=10, random_state=0),
    ensemble.HistGradientBoostingClassifier(max_iter=10, random_state=0),
    LGBMClassifier(n_estimators=10, n_jobs=1, verbose=-1),
]


def named(estimator: Any) -> str:
    return type(estimator).__name__


def prove(sample: Any, estimator: Any, folder: Path, **changes: Any) -> Predictor:
    """Export, open, and compare with the estimator on the holdout."""
    return proven(sample, folder, *sample.fit(estimator, **changes))


def proven(sample: Any, folder: Path, model: TrainedModel, dataset: Dataset) -> Predictor:
    exported = sample.write(model, dataset, folder / "exported")
    predictor, expected = Predictor(exported.folder), model.evaluation.prediction
    answered = predictor.predict(dataset.holdout.columns)
    if sample.task == "regression":
        assert answered.values == pytest.approx(expected.values, rel=1e-5)
    else:
        assert answered.values.tolist() == expected.values.tolist()
        assert answered.probabilities == pytest.approx(expected.probabilities, abs=1e-6)
    assert exported.contract.parity.proven
    return predictor


def asking(sample: Any, column: str, kind: type, metric: str = "log_loss") -> Any:
    """The same table with another target: of visits the cost is a feature then."""
    fields = {column: target(), "__annotations__": {column: kind}}
    if column != "diagnosis":
        fields["cost"], fields["__annotations__"]["cost"] = feature(sensitivity="plain"), float
    schema = type("Asked", (sample.schema,), fields)
    return type(sample)(sample.root, sample.source, schema, "classification", metric)


SCALED = make_pipeline(SimpleImputer(), StandardScaler())


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=named)
def test_classifiers(iris, tmp_path, estimator):
    contract = prove(iris, make_pipeline(StandardScaler(), estimator), tmp_path).contract
    assert (contract.layout, contract.classes) == ("matrix", ("setosa", "versicolor", "virginica"))


@pytest.mark.parametrize("estimator", [*REGRESSORS, HuberRegressor()], ids=named)
def test_texts_booleans_and_missing_values_are_taken_and_every_step_stays_in_float64(visits, tmp_path, estimator):
    texts = make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder(sparse_output=False))
    flags = (SimpleImputer(strategy="most_frequent"), ["smoker"]), ("passthrough", ["insured"])
    columns = make_column_transformer((texts, ["ward", "city"]), (SCALED, ["children", "income"]), *flags)
    steps = make_pipeline(columns, MinMaxScaler(), RobustScaler(), estimator)
    model, dataset = visits.fit(steps)
    predictor = proven(visits, tmp_path, model, dataset)
    converted = to_graph(model.estimator, model.problem.features, "cost")
    graph = converted.graph
    for placed in converted.placed:  # what the trees round to is theirs
        graph = cut_before(graph, placed.taken)
    casts = [node for node in onnx.load_from_string(graph).graph.node if node.op_type == "Cast"]
    assert onnx.TensorProto.FLOAT not in [casting.attribute[0].i for casting in casts]
    assert predictor.contract.layout == "columns"
    example = dict(predictor.contract.example)
    full = predictor.predict(read_records(predictor.contract, [example])).values
    nulls = dict.fromkeys(("ward", "smoker", "children", "income"))
    sparse = predictor.predict(read_records(predictor.contract, [example | nulls])).values
    assert np.isfinite([*full, *sparse]).all()


def test_a_constant_stands_for_what_is_missing_as_zeros_of_sparse_columns_are_to_xgboost(visits, tmp_path):
    number = (SimpleImputer(strategy="constant", fill_value=-1.0), ["children", "smoker"])
    text = (make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder()), ["ward"])
    prove(visits, make_pipeline(make_column_transformer(number, text), Ridge()), tmp_path)
    columns = make_column_transformer((OneHotEncoder(), ["city"]), remainder="drop", sparse_threshold=1.0)
    prove(visits, make_pipeline(columns, XGBRegressor(n_estimators=10, n_jobs=1)), tmp_path)


def test_xgboost_classifies_and_with_several_answers_a_row_is_refused(breast_cancer, iris, tmp_path):
    """It wants labels from 0 on."""
    for sample, classes in ((breast_cancer, (0, 1)), (iris, (0, 1, 2))):
        estimator = make_pipeline(StandardScaler(), XGBClassifier(n_estimators=10, n_jobs=1))
        predictor = prove(asking(sample, "diagnosis", int), estimator, tmp_path, load=_with_numbers)
        assert predictor.contract.classes == classes
    softprob = XGBClassifier(n_estimators=2, n_jobs=1, objective="multi:softprob", num_class=2)
    with pytest.raises(ProblemError, match="answers 2 values a row"):
        asking(iris, "diagnosis", int).fit(softprob, load=lambda one: _with_numbers(one).query("diagnosis < 2"))


def _with_numbers(source: Any) -> Any:
    frame = source.read()
    return frame.assign(diagnosis=frame.diagnosis.astype("category").cat.codes.astype("int64"))


def test_a_boolean_label_is_answered_as_a_boolean(visits, tmp_path):
    estimator = make_pipeline(make_column_transformer((SimpleImputer(), ["income", "cost"])), LogisticRegression())
    predictor = prove(asking(visits, "insured", bool, "roc_auc"), estimator, tmp_path)
    answer = predictor.predict(read_records(predictor.contract, [predictor.contract.example]))
    assert predictor.contract.classes == (False, True)
    assert type(answer.values.tolist()[0]) is bool


def test_steps_that_do_nothing_are_left_out_and_a_tuned_threshold_decides(diabetes, tmp_path, breast_cancer):
    for inner in (XGBRegressor(n_estimators=5, n_jobs=1), Ridge()):
        steps = make_pipeline("passthrough", StandardScaler(), None, inner)
        search = GridSearchCV(steps, {"standardscaler__with_mean": [True, False]}, cv=2)
        predictor = prove(diabetes, search, tmp_path)
        assert (predictor.contract.parity.probed > 0) == (not isinstance(inner, Ridge))
    prove(breast_cancer, TunedThresholdClassifierCV(CLASSIFIERS[0], thresholds=20, cv=2), tmp_path)


def test_a_column_with_the_name_of_an_output_is_refused(diabetes):
    _, dataset = diabetes.fit(Ridge())
    rows = dataset.holdout.features[["age", "bmi"]].set_axis(["y_is_1", "y"], axis=1).astype(float)
    columns = [Column(name=name, role="feature", type="float", unit="", sensitivity="plain") for name in rows]
    labels = (dataset.holdout.target > 150).astype(int)
    with pytest.raises(ExportError, match=r"column 'y' has the name of an output\. Rename the column"):
        to_graph(Ridge().fit(rows, labels), columns, "y")
    with pytest.raises(ExportError, match="column 'y_is_1' has the name"):
        to_graph(LogisticRegression().fit(rows[["y_is_1"]], labels), columns[:1], "y")


def test_a_category_that_training_never_saw_is_refused_at_export(visits, tmp_path):
    """The schema allows a city that no row is from, and the encoder would refuse it in production."""

    def load(source: Any) -> Any:
        return source.read().query("city != 'Bonn'")

    encoder = make_column_transformer((OneHotEncoder(), ["city"]))
    with pytest.raises(ExportError, match="refuses made-up rows that the schema allows") as refusal:
        visits.export(make_pipeline(encoder, Ridge()), tmp_path / "exported", load=load)
    assert "Bonn" not in str(refusal.value)
    assert "handle_unknown='ignore'" in refusal.value.hint


@pytest.mark.parametrize("column", ["features", "label", "variable", "probabilities", "Größe in m²", "a.b", "output"])
def test_a_column_may_have_any_name(diabetes, column):
    _, dataset = diabetes.fit(Ridge())
    rows = dataset.holdout.features[["age", "bmi"]].rename(columns={"bmi": column}).astype(float)
    first = make_column_transformer((StandardScaler(), [column]), ("passthrough", ["age"]))
    fitted = make_pipeline(first, Ridge()).fit(rows, dataset.holdout.target)
    columns = [Column(name=name, role="feature", type="float", unit="", sensitivity="plain") for name in rows]
    graph = Graph(to_graph(fitted, columns, "y").graph, columns=columns, layout=layout_of(columns), task="regression")
    answer = graph.answer({name: rows[name].to_numpy() for name in rows})
    assert answer.values == pytest.approx(fitted.predict(rows))


@pytest.mark.parametrize(
    "estimator",
    [
        TransformedTargetRegressor(Ridge(), func=np.log1p, inverse_func=np.expm1),
        make_pipeline(PolynomialFeatures(3), Ridge()),
        make_pipeline(SimpleImputer(add_indicator=True), Ridge()),
        make_pipeline(SimpleImputer(missing_values=-1), Ridge()),
        ensemble.VotingRegressor([("other", XGBRegressor(n_estimators=2, n_jobs=1)), ("ridge", Ridge())]),
        ensemble.StackingRegressor([("ridge", Ridge()), ("tree", DecisionTreeRegressor(max_depth=3))]),
    ],
    ids=named,
)
def test_other_parts(diabetes, tmp_path, estimator):
    prove(diabetes, estimator, tmp_path)


LABELS_ALONE = [LinearSVC(random_state=0), ensemble.VotingClassifier([("tree", CLASSIFIERS[1])])]


@pytest.mark.parametrize("estimator", LABELS_ALONE, ids=named)
def test_a_classifier_without_probabilities_answers_labels_and_decision_values(iris, tmp_path, estimator):
    sample = replace(iris, metric="accuracy")
    model, dataset = sample.fit(make_pipeline(StandardScaler(), estimator))
    predictor = Predictor(sample.write(model, dataset, tmp_path / "exported").folder)
    answered = predictor.predict(dataset.holdout.columns)
    expected = model.evaluation.prediction.decision_values
    assert (answered.probabilities, predictor.contract.probabilities) == (None, False)
    assert predictor.contract.decision_values == hasattr(model.estimator, "decision_function")
    if expected is None:  # votes are no values
        assert answered.decision_values is None
    else:
        np.testing.assert_allclose(answered.decision_values, expected)
        named = [f"decision_value_of_{label}" for label in predictor.contract.classes]
        assert answer_columns(predictor.contract, answered).schema.names == ["prediction", *named]
    assert answered.values.tolist() == model.evaluation.prediction.values.tolist()
    assert set(model.evaluation.scores) == set(model.baseline.scores) == {"accuracy"}
    with pytest.raises(ProblemError, match=r"'roc_auc' needs probabilities.*CalibratedClassifierCV"):
        iris.fit(estimator)
