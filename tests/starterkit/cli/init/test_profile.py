"""What a column is: its name, what its name and its values say of it, its kind, its range.

A guess that is wrong costs a review; one that is missed could cost a person's secret.
"""

import keyword
from dataclasses import replace
from string import ascii_letters
from typing import Any

import numpy as np
import pandas as pd
import pytest

from starterkit.cli.init.headers import (
    class_name,
    column_names,
    names_somebody,
    plain,
    problem_name,
    says_id,
    sensitive_among,
    unit_of,
)
from starterkit.cli.init.profile import bounds, categories, profile, signature

# --- Headers become names that Python, pandera and the API can carry.


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ("mean radius", "mean_radius"),
        ("od280/od315_of_diluted_wines", "od280_od315_of_diluted_wines"),
        ("sepal length (cm)", "sepal_length_cm"),
        ("CustomerID", "customer_id"),
        ("SibSp", "sib_sp"),
        ("Größe", "groesse"),
        ("class", "class_value"),
        ("target", "target_value"),
        ("float", "float_value"),
        ("feature", "feature_value"),
        ("validate", "validate_value"),
        ("2nd floor", "n2nd_floor"),
        ("年龄", "column_1"),
        ("", "column_1"),
        ('say "hi"', "say_hi"),
    ],
)
def test_a_header_becomes_a_name(header: str, name: str) -> None:
    assert column_names([header]) == {header: name}


def test_a_header_that_is_a_name_stays_and_the_others_step_aside() -> None:
    assert column_names(["Age", "age", "AGE!"]) == {"Age": "age_2", "age": "age", "AGE!": "age_3"}


def test_every_name_is_short_and_no_keyword() -> None:
    names = column_names([*keyword.kwlist, *keyword.softkwlist, "x" * 300, "ä" * 300]).values()
    assert all(name.isidentifier() and not keyword.iskeyword(name) and len(name) < 50 for name in names)
    assert len(set(names)) == len(names)


def test_a_file_s_name_becomes_the_problem_s() -> None:
    assert problem_name("Breast Cancer_v2 (final)") == "breast-cancer-v2-final"
    assert problem_name("数据") == "my-problem"
    assert class_name("breast-cancer") == "BreastCancer"
    assert class_name("2024-sales") == "Rows2024Sales"
    assert plain("HTTPServer Load") == "http_server_load"


# --- What a name says.

WORDS = pd.Series([f"some words {letter}" for letter in ascii_letters], dtype="str")


@pytest.mark.parametrize(
    "header",
    ["name", "First Name", "lastName", "customer_name", "E-Mail", "Street", "IBAN", "SSN"],
)
def test_a_name_that_says_who_somebody_is(header: str) -> None:
    assert names_somebody(header, WORDS)


@pytest.mark.parametrize(
    "values",
    [
        ["a@b.de", "c.d@e.org", "c@f.g"],
        ["10.0.0.1", "192.168.0.77", "1.2.3.4"],
        [f"+49 351 12345{n}" for n in range(3)],
    ],
)
def test_values_that_say_who_somebody_is(values: list[str]) -> None:
    assert names_somebody("contact", pd.Series(values, dtype="str"))


@pytest.mark.parametrize("header", ["product name", "filename", "mean radius", "ship", "emailed"])
def test_other_names_do_not(header: str) -> None:
    assert not names_somebody(header, WORDS)


@pytest.mark.parametrize("header", ["age", "Sex", "gender", "date of birth", "ZIP", "postcode", "PLZ", "annual_income"])
def test_what_is_a_person_s_own_affair_is_sensitive(header: str) -> None:
    assert sensitive_among([header])


@pytest.mark.parametrize("header", ["average", "message", "mileage", "stage", "mean area"])
def test_a_word_within_a_word_is_not(header: str) -> None:
    assert not sensitive_among([header])


@pytest.mark.parametrize(
    ("header", "unit"),
    [
        ("sepal length (cm)", "cm"),
        ("weight_kg", "kg"),
        ("mass (g)", "g"),
        ("income (€)", "€"),
        ("temp [°C]", "°C"),
        ("g", ""),
        ("size (large)", ""),
        ("cm", ""),
        ("mean radius", ""),
    ],
)
def test_a_unit_is_one_that_the_name_says(header: str, unit: str) -> None:
    assert unit_of(header) == unit


def test_an_id_is_called_one() -> None:
    assert says_id("PassengerId")
    assert says_id("patient")
    assert not says_id("patient age")
    assert not says_id("humid")


# --- What a column holds is seen from its values, and nothing is rounded.


@pytest.mark.parametrize(
    ("texts", "kind", "none", "missing"),
    [
        (["1", "-2", "3"], "integer", (), 0),
        (["1", "2.5", None], "float", (), 1),
        (["001", "002", "003"], "text", (), 0),
        (["0", "10", "0"], "integer", (), 0),
        (["True", "FALSE", None], "boolean", (), 1),
        (["yes", "no", "na"], "text", (), 0),
        (["1", "two", "3"], "text", (), 0),
        (["1,5", "2,5"], "float", (), 0),
        (["2020-01-31", "2021-02-01", "-"], "date", ("-",), 1),
        (["31.1.2020", "1.2.21"], "date", (), 0),
        (["2020-01-31T10:00", "2021-02-01 11:00:01"], "date", (), 0),
        ([None, "", "  "], "nothing", ("  ",), 3),
        (["a", " ", "b"], "text", (" ",), 1),
        ([" true", "false"], "text", (), 0),
        (["NA", "null"], "nothing", ("NA", "null"), 2),
    ],
)
def test_a_column_of_texts_is_seen_for_what_it_is(texts: Any, kind: str, none: Any, missing: int) -> None:
    column = profile("x", pd.Series(texts, dtype="str"))
    assert (column.kind, column.written.missing, column.missing) == (kind, none, missing)


def test_a_parquet_file_s_own_types_are_taken() -> None:
    def kind(values: Any, dtype: str) -> str:
        return profile("x", pd.Series(values, dtype=dtype)).kind

    assert kind([1, 2], "int32") == "integer"
    assert kind([1, 2, None], "Int64") == "integer"
    assert kind([1, None], "Int64") == "boolean"
    assert kind([1.5, None], "float64") == "float"
    assert kind([True, None], "boolean") == "boolean"
    assert kind(["a", None], "str") == "text"
    assert kind(["a", "b"], "category") == "text"
    assert kind(["2020-01-01", None], "datetime64[us]") == "date"
    assert kind([None, None], "float64") == "nothing"


# --- Bounds and categories are wide enough for the next file, and nobody's own value.


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([19, 79, 40], 10, 90),
        ([0, 16], 0, 20),
        ([6.981, 28.11], 0, 40),
        ([0.05263, 0.1634], 0, 0.2),
        ([-3.2, 2.9], -4, 4),
        ([-500, -20], -600, 0),
        ([1990, 2020], 1980, 2030),
        ([7, 7], 6, 8),
    ],
)
def test_bounds_are_rounded_outwards(values: list[float], low: float, high: float) -> None:
    assert bounds(profile("x", pd.Series(values))) == (low, high)


def test_no_bound_is_somebody_s_value_and_none_is_outside() -> None:
    random = np.random.default_rng(0)
    for scale in 10.0 ** np.arange(-6, 7):
        values = pd.Series(random.normal(size=50) * scale)
        low, high = bounds(profile("x", values))
        assert low < values.min() < values.max() < high
        assert high - low < 4 * (values.max() - values.min())


@pytest.mark.parametrize(
    ("values", "sensitive", "listed"),
    [
        (["f", "m"] * 10, True, ("f", "m")),
        (["f"] * 20 + ["x"] * 4, True, ()),  # four people are few
        (["a"] * 20 + ["x"] * 4, False, ("a", "x")),
        ([f"value {row}" for row in range(40)], False, ()),
        (["a long way of saying it: " + "x" * 60, "b"] * 10, False, ()),
        (["a\nb", "c"] * 20, False, ()),
        ([1, 2] * 20, False, (1, 2)),
        ([1, 2, 3] * 20, False, ()),
        ([1, 2, 3] * 20, True, (1, 2, 3)),
    ],
)
def test_categories_are_few_short_and_shared(values: list[Any], sensitive: bool, listed: tuple[Any, ...]) -> None:
    assert categories(replace(profile("x", pd.Series(values)), sensitive=sensitive)) == listed


def test_columns_that_say_the_same_are_found_and_others_are_not() -> None:
    codes = pd.Series([1, 2, 3] * 20)
    assert signature(codes) == signature(codes.map({1: "a", 2: "b", 3: "c"}))
    assert signature(codes) != signature(codes.sample(frac=1, random_state=0, ignore_index=True))
    different = pd.Series(np.random.default_rng(0).normal(size=60))
    assert signature(different) == signature(different.copy())
    assert signature(different) != signature(different * 2)
    assert signature(codes) != signature(codes.where(codes.index > 3))
