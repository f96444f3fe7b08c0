"""Whatever valid rows come: a row's answer depends on that row alone, and is the estimator's."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from starterkit.contract import Column
from starterkit.serving.predictor import Predictor
from starterkit.serving.validation import read_records

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
    """Every value that the contract allows in a column."""
    if column.categories:
        some: st.SearchStrategy[Any] = st.sampled_from(column.categories)
    elif column.type == "boolean":
        some = st.booleans()
    elif column.type == "integer":
        some = st.integers(int(column.minimum or 0), int(column.maximum or 0))
    else:
        some = st.floats(column.minimum, column.maximum)
    return st.none() | some if column.nullable else some


@st.composite
def records(draw: st.DrawFn, predictor: Predictor) -> list[Record]:
    row = st.fixed_dictionaries({column.name: values(column) for column in predictor.contract.columns})
    return draw(st.lists(row, min_size=1, max_size=8))


def answers(predictor: Predictor, rows: list[Record]) -> list[float]:
    return predictor.predict(read_records(predictor.contract, rows)).values.tolist()


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_answer_is_the_estimators(scored: tuple[Predictor, Any], data: st.DataObject) -> None:
    predictor, estimator = scored
    rows = data.draw(records(predictor))
    frame = pd.DataFrame({name: [row[name] for row in rows] for name in predictor.contract.names})
    for column in predictor.contract.columns:
        kind = "str" if column.type == "string" else "float64"
        frame[column.name] = frame[column.name].astype(kind)
    assert answers(predictor, rows) == pytest.approx(estimator.predict(frame), rel=1e-12)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_row_is_answered_alike_alone_and_among_others(scored: tuple[Predictor, Any], data: st.DataObject) -> None:
    predictor, _ = scored
    rows = data.draw(records(predictor))
    together = answers(predictor, rows)
    assert [answers(predictor, [row])[0] for row in rows] == together
    assert answers(predictor, rows[::-1]) == together[::-1]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_neither_the_order_of_columns_nor_others_beside_them_matter(
    scored: tuple[Predictor, Any], data: st.DataObject
) -> None:
    predictor, _ = scored
    rows = data.draw(records(predictor))
    names = data.draw(st.permutations(predictor.contract.names))
    columns = read_records(predictor.contract, rows)
    shuffled = {name: columns[name] for name in names} | {"another": np.zeros(len(rows))}
    assert predictor.predict(shuffled).values.tolist() == answers(predictor, rows)


def test_every_answer_is_finite_at_the_schemas_corners(scored: tuple[Predictor, Any]) -> None:
    predictor, _ = scored
    for bound in ("minimum", "maximum"):
        row = dict(predictor.contract.example)
        row |= {
            column.name: getattr(column, bound)
            for column in predictor.contract.columns
            if getattr(column, bound) is not None
        }
        assert math.isfinite(answers(predictor, [row])[0])
