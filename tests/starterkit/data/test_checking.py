"""Bad data: all that is wrong at once, with the right rows and counts, and never a value."""

import math
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starterkit.data.checking import InvalidData, check_frame
from starterkit.errors import DataError
from starterkit.problem import Problem, feature, identifier, target
from starterkit.serving.validation import fault_of_value


class People(pa.DataFrameModel):
    person: str = identifier()
    age: int = feature(sensitivity="sensitive", ge=0, le=120)
    weight: float = feature(sensitivity="sensitive", unit="kg", ge=1)
    city: str = feature(sensitivity="sensitive", isin=["Köln", "Bonn"])
    smoker: bool = feature(sensitivity="sensitive")
    children: int = feature(sensitivity="sensitive", nullable=True, ge=0)
    score: float = target()


def problem_of(schema: type[pa.DataFrameModel]) -> Problem:
    return Problem(name="people", title="", task="regression", schema=schema, estimator=lambda: None, metric="rmse")


def people(**columns: list[Any]) -> pd.DataFrame:
    """Six sound rows, with some columns replaced."""
    sound = {"person": list("abcdef"), "age": [30, 40, 50, 60, 70, 80], "weight": [50.5, 60.5, 70.5, 80.5, 90.5, 99.5]}
    sound |= {"city": ["Köln", "Bonn"] * 3, "smoker": [True, False] * 3, "children": [0, 1, 2, None, 4, 5]}
    sound["score"] = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    return pd.DataFrame({**sound, **columns})


def failures(frame: pd.DataFrame, schema: type[pa.DataFrameModel] = People) -> list[tuple[str, str, tuple[int, ...]]]:
    with pytest.raises(InvalidData) as refusal:
        check_frame(problem_of(schema), frame, "table")
    for failure in refusal.value.failures:
        assert failure.count == len(failure.rows) or not failure.rows
    return [(failure.column, failure.check, failure.rows) for failure in refusal.value.failures]


def test_sound_rows_come_back_in_the_schemas_order_and_types():
    checked = check_frame(problem_of(People), people().iloc[::-1, ::-1].astype(object), "table")
    assert list(checked) == ["person", "age", "weight", "city", "smoker", "children", "score"]
    assert list(map(str, checked.dtypes)) == ["str", "int64", "float64", "str", "bool", "float64", "float64"]
    assert checked.index.tolist() == [0, 1, 2, 3, 4, 5]
    full = check_frame(problem_of(People), people(children=[1] * 6), "table")
    assert full.dtypes.tolist() == checked.dtypes.tolist()  # whether or not a value is missing

    class Long(People):
        person: int = identifier()  # type: ignore[assignment]

    ids = [2**53 + number for number in range(6)]
    for given_ids in (ids, list(map(str, ids))):
        assert check_frame(problem_of(Long), people(person=given_ids), "table")["person"].tolist() == ids
    fields = {"person": identifier(), "self": feature(sensitivity="plain", ge=0), "cls": target()}
    types = {"person": str, "self": float, "cls": float}
    schema = type("Words", (pa.DataFrameModel,), {**fields, "__annotations__": types})
    frame = pd.DataFrame({"person": ["a", "b"], "self": [1.0, 2.0], "cls": [3.0, 4.0]})
    assert list(check_frame(problem_of(schema), frame, "table")) == ["person", "self", "cls"]
    assert failures(frame.assign(cls=["x", 4.0]), schema) == [("cls", "is not a number", (0,))]


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"age": [30, -1, 50, 121, 70, 80]}, [("age", "is below 0", (1,)), ("age", "is above 120", (3,))]),
        ({"age": [30, 59.5, 50, 60, 70, 80]}, [("age", "is not a whole number, 0 to 120", (1,))]),
        ({"age": ["30", "forty", "50", "6 0", "", "80"]}, [("age", "is not a whole number, 0 to 120", (1, 3, 4))]),
        ({"age": [30, None, 50, 60, np.nan, 80]}, [("age", "is missing a value", (1, 4))]),
        ({"age": [30, 1e300, 50, 60, 70, 80]}, [("age", "is not a whole number, 0 to 120", (1,))]),
        ({"weight": [1, np.inf, 1, -np.inf, 1, "nan"]}, [("weight", "is not a number in kg, at least 1", (1, 3, 5))]),
        ({"weight": [1, 1, 1, 1, 1, 0.0]}, [("weight", "is below 1", (5,))]),
        ({"city": ["Köln", "Ulm", "Bonn", "köln", "Bonn", "Bonn"]}, [("city", "is none of ['Köln', 'Bonn']", (1, 3))]),
        ({"city": ["Köln", "", "Bonn", None, "Bonn", "Bonn"]}, [("city", "is missing a value", (1, 3))]),
        ({"person": list("abcabf")}, [("person", "is not unique", (0, 1, 3, 4))]),
        ({"smoker": [True, "maybe", False, 2, True, False]}, [("smoker", "is not true or false", (1, 3))]),
        ({"children": [0, 1.5, None, 1, 1, 2]}, [("children", "is not a whole number, at least 0", (1,))]),
        ({"score": [None, 1, 1, 1, 1, 1]}, [("score", "is missing a value", (0,))]),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_rows(columns, expected):
    assert failures(people(**columns)) == expected


ODD = [math.inf, 1e300, 0.5, 120, 120.5, "Köln", "Ulm", ""]


@settings(max_examples=40, deadline=None)
@given(
    name=st.sampled_from(["age", "weight", "city", "smoker", "children", "score"]),
    value=st.none() | st.booleans() | st.integers(-2, 125) | st.floats(-2, 125) | st.sampled_from(ODD),
)
def test_a_table_is_refused_for_what_the_api_refuses(name, value):
    problem = problem_of(People)
    column = next(one for one in problem.columns if one.name == name)
    if isinstance(value, bool) != (name == "smoker") or isinstance(value, str) != (name == "city"):
        value = None  # a table is converted: what it holds is of another type than JSON's
    frame = people().astype(object)
    frame.loc[3, name] = value
    try:
        check_frame(problem, frame, "table")
        refused = []
    except InvalidData as refusal:
        refused = [(failure.column, failure.rows) for failure in refusal.failures]
    assert refused == ([(name, (3,))] if fault_of_value(column, value) else [])


def test_everything_wrong_is_found_at_once():
    frame = people(
        person=list("aacdef"), age=["x"] * 6, weight=pd.date_range("2026-01-01", periods=6),  # no nanoseconds
        city=["Köln", "Bonn", "Ulm", "Bonn", "Köln", "Bonn"], smoker=[None, True, True, True, True, True],
    )  # fmt: skip
    with pytest.raises(InvalidData) as refusal:
        check_frame(problem_of(People), frame, "table.csv")
    few = (0, 1, 2, 3, 4)
    assert [(f.column, f.rows, f.count) for f in refusal.value.failures] == [
        ("age", few, 6), ("weight", few, 6), ("smoker", (0,), 1), ("person", (0, 1), 2), ("city", (2,), 1)
    ]  # fmt: skip
    what = "table.csv does not fit the schema: 5 checks failed in 5 columns; first, age is not a whole number, 0 to 120"
    assert refusal.value.what == what
    assert refusal.value.failures[0].rows_in_words == "0, 1, 2, 3, 4 …"
    assert refusal.value.exit_code == 2


def test_missing_extra_and_misspelt_columns_are_found_at_once():
    frame = people().rename(columns={"weight": "Weigth", "city": "CITY"}).drop(columns="score").assign(shoe_size=42)
    assert failures(frame) == [
        ("weight", "is missing", ()),
        ("city", "is missing", ()),
        ("score", "is missing", ()),
        ("Weigth", "is not in the schema; did you mean 'weight'?", ()),
        ("CITY", "is not in the schema; did you mean 'city'?", ()),
        ("shoe_size", "is not in the schema", ()),
    ]
    wide = pd.concat([people(), pd.DataFrame({f"x{i:03}" * 50: [0] * 6 for i in range(1000)})], axis=1)
    found = failures(wide)  # a thousand stay a short list
    assert len(found) == 21
    assert found[-1][:2] == ("980 more columns", "are not in the schema")
    assert max(len(column) for column, _, _ in found) <= 100


def test_thousands_of_bad_rows_stay_five_and_none_at_all_are_refused():
    many = pd.concat([people(age=[-1] * 6)] * 5_000, ignore_index=True)
    with pytest.raises(InvalidData) as refusal:
        check_frame(problem_of(People), many, "table")
    found = {failure.column: (failure.count, failure.rows) for failure in refusal.value.failures}
    assert found["age"] == found["person"] == (30_000, (0, 1, 2, 3, 4))
    with pytest.raises(DataError, match="table has no rows"):
        check_frame(problem_of(People), people().head(0), "table")


class Checked(People):
    """Checks of the user's own, of every kind that pandera has."""

    @pa.check("age", name="even")
    def _even(cls, ages: pd.Series) -> pd.Series:  # noqa: N805
        return ages % 2 == 0

    @pa.check("weight", name="light_on_average")
    def _light(cls, weights: pd.Series) -> bool:  # noqa: N805
        return bool(weights.mean() < 1000)

    @pa.check("city", name="crashing")
    def _crash(cls, cities: pd.Series) -> bool:  # noqa: N805
        if "Bonn" in set(cities):
            return True
        raise ValueError(f"no Bonn among {list(cities)}")

    @pa.dataframe_check
    def lighter_than_old(cls, frame: pd.DataFrame) -> pd.Series:  # noqa: N805
        return frame["weight"] < frame["age"] + 100

    class Config:
        unique = ["age", "weight"]  # noqa: RUF012


def test_the_users_own_checks_are_asked():
    frame = people(age=[30, 41, 50, 30, 70, 80], weight=[50.0, 60, 70, 50, 4000, 9000], city=["Köln"] * 6)
    assert failures(frame, Checked) == [
        ("age", "fails even", (1,)),
        ("weight", "fails light_on_average", ()),
        ("city", "has a check that fails itself: crashing", ()),
        ("(whole row)", "is not unique", (0, 3)),
        ("(whole row)", "fails lighter_than_old", (4, 5)),
    ]
    # A row that is wrong in one column is not asked about as a whole.
    frame = people(age=["x", 40, 50, 60, 70, 80], weight=[900, 60, 70, 80, 90, 99])
    assert failures(frame, Checked) == [("age", "is not a whole number, 0 to 120", (0,))]
