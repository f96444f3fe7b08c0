"""Which estimators can be exported. Each is fitted, converted, proven, opened again and asked about the holdout."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import (
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, PolynomialFeatures, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from starterkit.contract import Column
from starterkit.errors import ExportError
from starterkit.export.conversion import layout_of, to_graph
from starterkit.inference import Graph, Predictor
from starterkit.inference.records import read_records
from starterkit.problem import feature, target

REGRESSORS = [
    Ridge(),
    DecisionTreeRegressor(random_state=0),
    RandomForestRegressor(10, random_state=0),
    GradientBoostingRegressor(n_estimators=30, random_state=0),
]
CLASSIFIERS = [
    LogisticRegression(solver="newton-cholesky"),
    DecisionTreeClassifier(random_state=0),
    RandomForestClassifier(10, random_state=0),
    GradientBoostingClassifier(n_estimators=10, random_state=0),
]
FIRST = ["age", "sex", "bmi"]
LAST = ["hdl", "ldl", "glucose", "blood_pressure"]  # in another order than the table's


def named(estimator: Any) -> str:
    return type(estimator).__name__


def prove(sample: Any, estimator: Any, folder: Path, **changes: Any) -> Predictor:
    """Export, open, and compare with the estimator on the holdout."""
    model, dataset = sample.fit(estimator, **changes)
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


def refusal_of(work: Callable[[], object]) -> ExportError | None:
    """What the exporter refuses, for estimators that a later version may take."""
    try:
        work()
    except ExportError as refusal:
        return refusal
    return None


@pytest.mark.parametrize("estimator", REGRESSORS, ids=named)
@pytest.mark.parametrize("before", ["alone", "scaled", "imputed and scaled", "by column name"])
def test_regressors(diabetes: Any, tmp_path: Path, estimator: Any, before: str) -> None:
    steps = {
        "alone": [],
        "scaled": [StandardScaler()],
        "imputed and scaled": [make_pipeline(SimpleImputer(), StandardScaler())],
        "by column name": [make_column_transformer((StandardScaler(), LAST), ("passthrough", FIRST))],
    }
    predictor = prove(diabetes, make_pipeline(*steps[before], estimator), tmp_path)
    assert predictor.contract.layout == "matrix"


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=named)
@pytest.mark.parametrize("scaled", [False, True], ids=["alone", "scaled"])
@pytest.mark.parametrize("name", ["breast_cancer", "iris"])
def test_classifiers(request: pytest.FixtureRequest, tmp_path: Path, name: str, estimator: Any, scaled: bool) -> None:
    sample = request.getfixturevalue(name)
    predictor = prove(sample, make_pipeline(StandardScaler(), estimator) if scaled else estimator, tmp_path)
    assert all(type(label) is str for label in predictor.contract.classes)


@pytest.mark.parametrize("estimator", REGRESSORS, ids=named)
def test_texts_booleans_and_missing_values(visits: Any, tmp_path: Path, estimator: Any) -> None:
    columns = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), ["ward", "city"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["children", "income"]),
        (SimpleImputer(strategy="most_frequent"), ["smoker", "insured"]),
    )
    predictor = prove(visits, make_pipeline(columns, estimator), tmp_path)
    assert predictor.contract.layout == "columns"
    example = dict(predictor.contract.example)
    full = predictor.predict(read_records(predictor.contract, [example])).values
    nulls = dict.fromkeys(("ward", "smoker", "children", "income"))
    sparse = predictor.predict(read_records(predictor.contract, [example | nulls])).values
    assert np.isfinite([*full, *sparse]).all()


@pytest.mark.parametrize(
    "first",
    [
        make_column_transformer((OneHotEncoder(drop="first"), ["city"]), ("passthrough", ["insured"])),
        make_column_transformer((OrdinalEncoder(), ["city"]), remainder="drop"),
        make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city", "insured"])),
        make_column_transformer((SimpleImputer(strategy="constant", fill_value=-1.0), ["children", "smoker"])),
        make_column_transformer(
            (make_pipeline(SimpleImputer(strategy="constant", fill_value="?"), OneHotEncoder()), ["ward"])
        ),
    ],
    ids=["drop first", "ordinal", "text and boolean", "constant number", "constant text"],
)
def test_encoders(visits: Any, tmp_path: Path, first: Any) -> None:
    prove(visits, make_pipeline(first, Ridge()), tmp_path)


@pytest.mark.parametrize("sample", ["diabetes", "breast_cancer"])
def test_histogram_gradient_boosting_is_right_or_refused(
    request: pytest.FixtureRequest, tmp_path: Path, sample: str
) -> None:
    """It compares float64, so that a value between two float32 can fall on the other side."""
    found = request.getfixturevalue(sample)
    kinds = {"regression": HistGradientBoostingRegressor, "classification": HistGradientBoostingClassifier}
    estimator = make_pipeline(StandardScaler(), kinds[found.task](max_iter=10, random_state=0))
    refusal = refusal_of(lambda: prove(found, estimator, tmp_path))
    assert refusal is None or "does not answer as the estimator does" in refusal.what
    assert bool(refusal) == (list(tmp_path.iterdir()) == [])


def test_histogram_gradient_boosting_takes_missing_values(visits: Any, tmp_path: Path) -> None:
    columns = make_column_transformer(("passthrough", ["smoker", "children", "insured"]))
    prove(visits, make_pipeline(columns, HistGradientBoostingRegressor(max_iter=10, random_state=0)), tmp_path)


def test_a_boolean_label_is_answered_as_a_boolean(visits: Any, tmp_path: Path) -> None:
    schema = type("Insured", (visits.schema,), _turned())
    sample = type(visits)(visits.root, visits.source, schema, "classification", "roc_auc")
    columns = make_column_transformer((SimpleImputer(), ["income", "cost"]))
    predictor = prove(sample, make_pipeline(columns, LogisticRegression()), tmp_path)
    answer = predictor.predict(read_records(predictor.contract, [predictor.contract.example]))
    assert predictor.contract.classes == (False, True)
    assert type(answer.values.tolist()[0]) is bool


def _turned() -> dict[str, Any]:
    """The same table, asked another question: who is insured?"""
    types = {"insured": bool, "cost": float}
    return {"insured": target(), "cost": feature(sensitivity="plain"), "__annotations__": types}


@pytest.mark.parametrize(
    ("estimator", "named"),
    [
        (TransformedTargetRegressor(Ridge(), transformer=StandardScaler()), "cannot be converted to ONNX"),
        (VotingRegressor([("ridge", Ridge()), ("tree", DecisionTreeRegressor())]), "does not run"),
        (make_pipeline(PolynomialFeatures(2), Ridge()), "does not run"),
        (make_pipeline(SimpleImputer(add_indicator=True), Ridge()), "add_indicator"),
        (make_pipeline(SimpleImputer(missing_values=-1), Ridge()), "missing_values other than NaN"),
    ],
)
def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    diabetes: Any, tmp_path: Path, estimator: Any, named: str
) -> None:
    with pytest.raises(ExportError) as refusal:
        prove(diabetes, estimator, tmp_path)
    assert named in refusal.value.what
    assert refusal.value.mend
    assert "\n" not in str(refusal.value)
    assert list(tmp_path.iterdir()) == []


def test_a_forest_with_missing_values_converts_wrongly_and_parity_sees_it(visits: Any, tmp_path: Path) -> None:
    columns = make_column_transformer(("passthrough", ["children", "income", "smoker"]))
    with pytest.raises(ExportError, match="does not answer as the estimator does: relative difference"):
        visits.export(make_pipeline(columns, RandomForestRegressor(10, random_state=0)), tmp_path / "exported")
    assert list(tmp_path.iterdir()) == []


def test_neighbours_that_differ_are_refused(iris: Any, tmp_path: Path) -> None:
    """Equal distances are ordered differently; whichever it is, no wrong folder comes out."""
    refusal = refusal_of(lambda: iris.export(KNeighborsClassifier(), tmp_path / "exported", rows=20_000))
    assert refusal is None or "labels changed" in refusal.what
    assert bool(refusal) == (list(tmp_path.iterdir()) == [])


def test_a_category_that_training_never_saw_is_refused_at_export(visits: Any, tmp_path: Path) -> None:
    """The schema allows a city that no row is from, and the encoder would refuse it in production."""

    def load(source: Any) -> Any:
        return source.read().query("city != 'Bonn'")

    encoder = make_column_transformer((OneHotEncoder(), ["city"]))
    with pytest.raises(ExportError, match="refuses made-up rows that the schema allows") as refusal:
        visits.export(make_pipeline(encoder, Ridge()), tmp_path / "exported", load=load)
    assert "Bonn" not in str(refusal.value)
    assert "handle_unknown='ignore'" in refusal.value.mend


@pytest.mark.parametrize("column", ["features", "label", "variable", "probabilities", "Größe in m²", "a.b", "output"])
@pytest.mark.parametrize("by_name", [False, True])
def test_a_column_may_have_any_name(diabetes: Any, tmp_path: Path, column: str, by_name: bool) -> None:
    _, dataset = diabetes.fit(Ridge())
    rows = dataset.holdout.features[["age", "bmi"]].rename(columns={"bmi": column}).astype(float)
    first = [make_column_transformer((StandardScaler(), [column]), ("passthrough", ["age"]))] if by_name else []
    fitted = make_pipeline(*first, Ridge()).fit(rows, dataset.holdout.target)
    shape = {"role": "feature", "type": "float", "unit": "", "sensitivity": "plain"}
    columns = [Column(name=name, **shape) for name in rows]
    graph = Graph(to_graph(fitted, columns, "y"), columns=columns, layout=layout_of(columns), task="regression")
    answer = graph.answer({name: rows[name].to_numpy() for name in rows})
    assert answer.values == pytest.approx(fitted.predict(rows))
