"""Made-up rows are of the data's kind, and nobody's."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from starterkit.contract import Column
from starterkit.data.checking import typed
from starterkit.data.dataset import as_columns
from starterkit.data.synthetic import draw_rows, typical_row
from starterkit.serving.validation import fault_of_value


def test_drawn_rows_fit_the_schema_and_keep_its_types(visits: Any) -> None:
    problem = visits.problem(lambda: None)
    seen = visits.dataset(problem).training.features
    drawn = draw_rows(problem.features, seen, rows=2000, seed=1)
    assert drawn.dtypes.tolist() == seen.dtypes.tolist()
    for column in problem.features:
        assert typed(column, drawn[column.name]).dtype == drawn[column.name].dtype
        assert drawn[column.name].isna().any() == column.nullable
        for value in drawn[column.name].dropna().head(200):
            plain = bool(value) if column.type == "boolean" else value
            assert fault_of_value(column, plain) == ""


def test_drawn_rows_are_the_same_for_a_seed(diabetes: Any) -> None:
    problem = diabetes.problem(lambda: None)
    seen = diabetes.dataset(problem).training.features
    one, again, other = (draw_rows(problem.features, seen, 50, seed) for seed in (1, 1, 2))
    pd.testing.assert_frame_equal(one, again)
    assert not one.equals(other)


def test_no_drawn_row_is_a_patient(diabetes: Any) -> None:
    problem = diabetes.problem(lambda: None)
    dataset = diabetes.dataset(problem)
    patients = {tuple(row) for rows in (dataset.training, dataset.holdout) for row in rows.features.to_numpy()}
    drawn = draw_rows(problem.features, dataset.training.features, 5000, seed=1)
    assert not patients & {tuple(row) for row in drawn.to_numpy()}


def test_the_typical_row_is_one_that_a_client_could_send(visits: Any) -> None:
    problem = visits.problem(lambda: None)
    row = typical_row(problem.features, visits.dataset(problem).training.features)
    assert list(row) == [column.name for column in problem.features]
    for column in problem.features:
        assert fault_of_value(column, row[column.name]) == ""
    assert {type(value) for value in row.values()} == {str, bool, int, float}


def test_columns_are_numbers_or_texts(visits: Any) -> None:
    features = visits.dataset(visits.problem(lambda: None)).training.features
    columns = as_columns(features)
    assert {name: array.dtype for name, array in columns.items()} == {
        "city": object,
        "ward": object,
        "smoker": np.float64,
        "insured": np.float64,
        "children": np.float64,
        "income": np.float64,
    }
    assert all(pd.isna(columns[name]).any() for name in ("ward", "income"))


@pytest.mark.parametrize(("share", "shown"), [(4, False), (5, True)])
def test_a_text_that_few_rows_share_is_in_no_example(share: int, shown: bool) -> None:
    note = Column(name="note", role="feature", type="string", unit="", sensitivity="sensitive")
    seen = pd.DataFrame({"note": ["often told"] * share + [f"person {row} is ill" for row in range(50)]})
    assert (typical_row((note,), seen)["note"] == "often told") is shown
