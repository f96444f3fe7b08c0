"""What a column is: its name, what its name and its values say of it, its kind, its range.

A guess that is wrong costs a review; one that is missed could cost a person's secret.
"""

import keyword
from typing import Any

import numpy as np
import pandas as pd
import pytest

XX
    bounds,
    categories,
    class_name,
    column_names,
    counts_rows,
    is_sensitive,
    names_somebody,
    plain,
    problem_name,
    profile,
    same_values,
    says_id,
    unit_of,
)

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

WORDS = pd.Series(["some", "words"], dtype="str")


@pytest.mark.parametrize(
    "header",
    ["name", "First Name", "lastName", "customer_name", "E-Mail", "phone number", "Telefon", "Street", "IBAN", "SSN"],
)
def test_a_name_that_says_who_somebody_is(header: str) -> None:
    assert names_somebody(header, WORDS)


@pytest.mark.parametrize("values", [["a@b.de", "c.d@e.org"], ["10.0.0.1", "192.168.0.77"], ["+49 351 123456"] * 2])
def test_values_that_say_who_somebody_is(values: list[str]) -> None:
    assert names_somebody("contact", pd.Series(values, dtype="str"))


@pytest.mark.parametrize("header", ["product name", "filename", "mean radius", "ship", "emailed"])
def test_other_names_do_not(header: str) -> None:
    assert not names_somebody(header, WORDS)


@pytest.mark.parametrize("header", ["age", "Sex", "gender", "date of birth", "ZIP", "postcode", "PLZ", "annual_income"])
def test_what_is_a_person_s_own_affair_is_sensitive(header: str) -> None:
    assert is_sensitive(header)


@pytest.mark.parametrize("header", ["average", "message", "mileage", "stage", "mean area"])
def test_a_word_within_a_word_is_not(header: str) -> None:
    assert not is_sensitive(header)


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


def test_ids_and_row_numbers_are_told_apart() -> None:
    assert says_id("PassengerId")
    assert says_id("patient")
    assert not says_id("patient age")
    assert not says_id("humid")
    assert counts_rows("Unnamed: 0", pd.Series([0, 1, 3]))
    assert not counts_rows("Unnamed: 0", pd.Series([3, 1, 2]))
    assert not counts_rows("year", pd.Series([0, 1, 2]))


# --- What a column holds is seen from its values, and nothing is rounded.


@pytest.mark.parametrize(
    ("texts", "kind", "no_value", "missing"),
    [
        (["1", "-2", "3"], "integer", (), 0),
        (["1", "2.5", None], "float", (), 1),
        (["1", "?", "N/A", "4"], "integer", ("?", "N/A"), 2),
        (["001", "002", "003"], "text", (), 0),
        (["0", "10", "0"], "integer", (), 0),
        (["True", "FALSE", None], "boolean", (), 1),
        (["yes", "no", "na"], "text", (), 0),
        (["1", "two", "3"], "text", (), 0),
        (["1", "inf", "3"], "text", (), 0),
        (["1,5", "2,5"], "text", (), 0),
        (["2020-01-31", "2021-02-01", "-"], "date", ("-",), 1),
        (["31.1.2020", "1.2.21"], "date", (), 0),
        (["2020-01-31T10:00", "2021-02-01 11:00:01"], "date", (), 0),
        ([None, "", "  "], "nothing", ("", "  "), 3),
        (["a", " ", "b"], "text", (" ",), 1),
        ([" true", "false"], "text", (), 0),
        (["NA", "null"], "nothing", ("NA", "null"), 2),
    ],
)
def test_a_column_of_texts_is_seen_for_what_it_is(texts: Any, kind: str, no_value: Any, missing: int) -> None:
    column = profile("x", pd.Series(texts, dtype="str"))
    assert (column.kind, column.no_value, column.missing) == (kind, no_value, missing)


def test_a_parquet_file_s_own_types_are_taken() -> None:
    def kind(values: Any, dtype: str) -> str:
        return profile("x", pd.Series(values, dtype=dtype)).kind

    assert kind([1, 2], "int32") == "integer"
    assert kind([1, None], "Int64") == "integer"
    assert kind([1.0, None], "float64") == "float"
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
        (["a long way of saying it: " + "x" * 30, "b"] * 10, False, ()),
        ([f"a faith with long name {row % 2}" for row in range(40)], True, ()),
        (["a\nb", "c"] * 20, False, ()),
        ([1, 2] * 20, False, (1, 2)),
        ([1, 2, 3] * 20, False, ()),
        ([1, 2, 3] * 20, True, (1, 2, 3)),
    ],
)
def test_categories_are_few_short_and_shared(values: list[Any], sensitive: bool, listed: tuple[Any, ...]) -> None:
    assert categories(profile("x", pd.Series(values)), sensitive) == listed


def test_columns_that_say_the_same_are_found_and_others_are_not() -> None:
    codes = pd.Series([1, 2, 3] * 20)
    assert same_values(codes, codes.map({1: "a", 2: "b", 3: "c"}))
    assert not same_values(codes, codes.sample(frac=1, random_state=0, ignore_index=True))
    different = pd.Series(np.random.default_rng(0).normal(size=60))
    assert same_values(different, different.copy())
    assert not same_values(different, different * 2)
    assert not same_values(codes, codes.where(codes.index > 3))
