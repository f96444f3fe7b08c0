"""What a column is: its name, what its name and its values say of it, its kind, its range.

A guess that is wrong costs a review; one that is missed could cost a person's secret.
"""

import keyword
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from string import ascii_letters
from typing import Any

import numpy as np
import pandas as pd
import pytest

from starterkit.cli.init import headers
from starterkit.cli.init.decisions import plan_for, read_table
from starterkit.cli.init.profile import bounds, categories, profile
from starterkit.cli.init.rendering import problem_source
from starterkit.cli.init.trial import imported, read, try_out

NAMES = {
    "mean radius": "mean_radius", "od280/od315_of_diluted_wines": "od280_od315_of_diluted_wines", "": "column_1",
    "sepal length (cm)": "sepal_length_cm", "CustomerID": "customer_id", "SibSp": "sib_sp", "Größe": "groesse",
    "class": "class_value", "target": "target_value", "float": "float_value", "feature": "feature_value",
    "validate": "validate_value", "2nd floor": "n2nd_floor", "年龄": "column_1", 'say "hi"': "say_hi",
}  # fmt: skip


def test_a_header_becomes_a_name_one_that_is_a_name_stays_and_others_step_aside_as_short_names_that_are_no_keywords():
    assert {header: headers.column_names([header])[header] for header in NAMES} == NAMES
    assert headers.column_names(["Age", "age", "AGE!"]) == {"Age": "age_2", "age": "age", "AGE!": "age_3"}
    names = headers.column_names([*keyword.kwlist, *keyword.softkwlist, "x" * 300, "ä" * 300]).values()
    assert all(name.isidentifier() and not keyword.iskeyword(name) and len(name) < 50 for name in names)
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("becomes", "text", "name"),
    [
        (headers.problem_name, "Breast Cancer_v2 (final)", "breast-cancer-v2-final"),
        (headers.problem_name, "数据", "my-problem"),
        (headers.class_name, "breast-cancer", "BreastCancer"),
        (headers.class_name, "2024-sales", "Rows2024Sales"),
        (headers.plain, "HTTPServer Load", "http_server_load"),
    ],
)
def test_a_file_s_name_becomes_the_problem_s(becomes, text, name):
    assert becomes(text) == name


WORDS = [f"some words {letter}" for letter in ascii_letters]
CALLED_SO = ("name", "First Name", "lastName", "customer_name", "E-Mail", "Street", "IBAN", "SSN")
NOT_SO = ("product name", "filename", "mean radius", "ship", "emailed")
SOMEBODY: list[tuple[str, Any, bool]] = [
    *((header, WORDS, True) for header in CALLED_SO),
    *((header, WORDS, False) for header in NOT_SO),
    ("contact", ["a@b.de", "c.d@e.org", "c@f.g"], True), ("contact", ["10.0.0.1", "192.168.0.77", "1.2.3.4"], True),
    ("contact", [f"+49 351 12345{n}" for n in range(3)], True), ("mobile", [f"0351 {n:07}" for n in range(30)], True),
    ("cell", 49351e7 + np.arange(30), True),
    # A header's word alone names nobody.
    ("phone_service", [0, 1] * 20, False), ("Street", ["Pave", "Grvl"] * 20, False),
    ("fuel_cell", [1, 2, 3, 4] * 10, False), ("mobile", ["Android", "iOS", "none"] * 10, False),
    ("name", ["a", "b"] * 20, False), ("name", [f"mazda rx{n}" for n in range(40)], False),
]  # fmt: skip


@pytest.mark.parametrize(("header", "values", "expected"), SOMEBODY)
def test_who_somebody_is_is_seen_from_a_name_and_values(header, values, expected):
    assert headers.names_somebody(header, pd.Series(values)) == expected


SENSITIVE = (
    "age", "Sex", "gender", "date of birth", "ZIP", "postcode", "PLZ", "annual_income", "female", "male", "fem",
    "black", "white", "hispanic", "ethn", "catholic", "married", "marital_status", "mage", "fage", "faminc", "lwage",
    "huswage", "health", "disease", "disability", "smoke", "SeniorCitizen", "income86",
)  # fmt: skip


def test_what_is_a_person_s_own_affair_is_sensitive_and_a_word_within_a_word_is_not():
    others = {"average", "message", "mileage", "stage", "mean area", "long", "mar", "apr"}
    assert headers.sensitive_among([*SENSITIVE, *others]) == {*SENSITIVE}
    assert headers.sensitive_among(["lat", "long"]) == {"lat", "long"}  # a longitude is one beside a latitude


UNITS = {
    "sepal length (cm)": "cm", "weight_kg": "kg", "mass (g)": "g", "income (€)": "€", "temp [°C]": "°C", "g": "",
    "size (large)": "", "cm": "", "mean radius": "",
}  # fmt: skip


def test_a_unit_and_an_id_are_what_the_name_says():
    assert {header: headers.unit_of(header) for header in UNITS} == UNITS
    said = {"PassengerId": True, "patient": True, "patient age": False, "humid": False}
    assert {one: headers.says_id(one) for one in said} == said


@pytest.mark.parametrize(
    ("texts", "kind", "none", "missing"),
    [
        (["1", "-2", "3"], "integer", (), 0), (["1", "2.5", None], "float", (), 1),
        (["001", "002", "003"], "text", (), 0), (["0", "10", "0"], "integer", (), 0),
        (["True", "FALSE", None], "boolean", (), 1), (["yes", "no", "na"], "text", (), 0),
        (["1", "two", "3"], "text", (), 0), (["1,5", "2,5"], "float", (), 0),
        (["2020-01-31", "2021-02-01", "-"], "date", ("-",), 1), (["31.1.2020", "1.2.21"], "date", (), 0),
        (["2020-01-31T10:00", "2021-02-01 11:00:01"], "date", (), 0), ([None, "", "  "], "nothing", ("  ",), 3),
        (["a", " ", "b"], "text", (" ",), 1), ([" true", "false"], "text", (), 0),
        (["NA", "null"], "nothing", ("NA", "null"), 2),
    ],
)  # fmt: skip
def test_a_column_of_texts_is_seen_for_what_it_is(texts, kind, none, missing):
    column = profile("x", pd.Series(texts, dtype="str"))
    assert (column.kind, column.written.missing, column.missing) == (kind, none, missing)


def test_a_parquet_file_s_own_types_are_taken():
    known: list[tuple[list[Any], str, str]] = [
        ([1, 2], "int32", "integer"), ([1, 2, None], "Int64", "integer"), ([1, None], "Int64", "boolean"),
        ([1.5, None], "float64", "float"), ([True, None], "boolean", "boolean"), (["a", None], "str", "text"),
        (["a", "b"], "category", "text"), (["2020-01-01", None], "datetime64[us]", "date"),
        ([None, None], "float64", "nothing"),
    ]  # fmt: skip
    for values, dtype, kind in known:
        assert profile("x", pd.Series(values, dtype=dtype)).kind == kind, dtype


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([19, 79, 40], 10, 90), ([0, 16], 0, 20), ([6.981, 28.11], 0, 40), ([0.05263, 0.1634], 0, 0.2),
        ([-3.2, 2.9], -4, 4), ([-500, -20], -600, 0), ([1990, 2020], 1980, 2030), ([7, 7], 6, 8),
    ],
)  # fmt: skip
def test_bounds_are_rounded_outwards(values, low, high):
    assert bounds(profile("x", pd.Series(values))) == (low, high)


def test_no_bound_is_somebody_s_value_and_none_is_outside():
    random = np.random.default_rng(0)
    for scale in 10.0 ** np.arange(-6, 7):
        values = pd.Series(random.normal(size=50) * scale)
        low, high = bounds(profile("x", values))
        assert low < values.min() < values.max() < high
        assert high - low < 4 * (values.max() - values.min())


@pytest.mark.parametrize(
    ("values", "sensitive", "listed"),
    [
        (["f", "m"] * 10, True, ("f", "m")), (["f"] * 20 + ["x"] * 4, True, ()),  # four people are few
        (["a"] * 20 + ["x"] * 4, False, ("a", "x")), ([f"value {row}" for row in range(40)], False, ()),
        (["a long way of saying it: " + "x" * 60, "b"] * 10, False, ()), (["a\nb", "c"] * 20, False, ()),
        ([1, 2] * 20, False, (1, 2)), ([1, 2, 3] * 20, False, ()), ([1, 2, 3] * 20, True, (1, 2, 3)),
    ],
)  # fmt: skip
def test_categories_are_few_short_and_shared(values, sensitive, listed):
    assert categories(replace(profile("x", pd.Series(values)), sensitive=sensitive)) == listed


ROOT = Path(__file__).parents[4]
ROWS = 120
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=ROWS)


def one_of(*values: object) -> list[object]:
    return [values[place] for place in RANDOM.integers(0, len(values), ROWS)]


def table(**more: object) -> pd.DataFrame:
    return pd.DataFrame({"x": X, "y": X + RANDOM.normal(size=ROWS) * 0.2, **more})


OWN_WORDS = "pd pa load problem estimator frame record self cls lambda None match type _ __init__ feature columns index"
CORNERS = {
    "true or false alone": pd.DataFrame({"a": one_of(True, False), "y": one_of(True, False)}),
    "true or false with gaps": pd.DataFrame({"a": one_of(True, False, None), "y": one_of("p", "q")}),
    "texts alone": pd.DataFrame({"a": one_of("u", "v", None), "y": one_of("p", "q")}),
    "columns called as the code's own words": table(**{word: RANDOM.normal(size=ROWS) for word in OWN_WORDS.split()}),
    "the same rows twice": pd.concat([table().head(60)] * 2),
    "hardly any different rows": pd.DataFrame({"a": one_of("u", "v"), "y": RANDOM.normal(size=ROWS)}),
    "labels with a line break": table().assign(y=one_of("a\nb", "c")),
    "whole numbers beyond a float": table(h=RANDOM.integers(2**60, 2**62, ROWS)),
    "infinities": table(h=np.r_[np.inf, -np.inf, X[2:]]),
    "very small ones": table(h=RANDOM.normal(size=ROWS) * 1e-30),
    "exponents": table(h=[f"{value:.3e}" for value in X * 1e9]),
    "spaces around numbers": table(h=[f" {value} " for value in RANDOM.integers(0, 9, ROWS)]),
    "classes with a fraction of nothing": table().assign(y=one_of(0.0, 1.0, None)),
    "a number that is a name": table(ward_id=one_of(1, 2, 3)),
    "a name that is written with spaces and signs": table(ward_id=one_of(" 1", "+2", "3")),
    "whole numbers beyond 64 bits": table(h=[str(10**20 + number) for number in range(ROWS)]),
    "ids beyond a float": table(id=10**18 + np.arange(ROWS)),
    "blanks among numbers": table(h=one_of("1", "2", "3.5", " ", "  ")),
    "blanks among texts": table(h=one_of("u", "v", " ", "")).assign(y=one_of("p", "q", " ")),
    "blanks around true and false": table(h=one_of(" True", "False")),
    "a postcode": table(zip=[f"{number:05}" for number in range(ROWS)]),
    "a column called as the kit's own": table(split=one_of("u", "v")),
}


TYPED = ("true or false with gaps", "whole numbers beyond a float", "ids beyond a float")
"""What a Parquet file holds in types of its own."""
CASES = [*((corner, "csv") for corner in CORNERS), *((corner, "parquet") for corner in TYPED)]


@pytest.mark.parametrize(("corner", "kind"), CASES)
def test_a_corner_leads_to_a_problem_that_can_be_fitted(corner, kind, tmp_path):
    path = tmp_path / f"corner.{kind}"
    frame = CORNERS[corner].reset_index(drop=True)
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    plan = plan_for(read_table(path), path.name, "y", "corner", None)
    with imported(plan) as problem:
        dataset = read(problem, path)
        tried = try_out(problem, dataset)
    assert len(dataset) == (frame["y"].notna() & (frame["y"] != " ")).sum()
    assert all(np.isfinite(figure) for _, figure in tried.limits.values())
    assert max(map(len, problem_source(plan).splitlines())) <= 120
    if {"id", "zip"} & {*frame}:  # a float would round the one, and the other is none
        assert (plan.key and plan.key.name) == ("id" if "id" in frame else None)


@pytest.mark.slow
def test_the_type_checker_finds_nothing_in_what_is_written(messy, tmp_path):
    """A project's own `make test` asks it."""
    written = [(messy, "Kosten (€)")]
    for place, frame in enumerate(CORNERS.values()):
        written.append((tmp_path / f"corner_{place}.csv", "y"))
        frame.to_csv(written[-1][0], index=False)
    for path, target in written:
        plan = plan_for(read_table(path), path.name, target, "corner", None)
        (tmp_path / f"{path.stem.replace(' ', '_')}.py").write_text(problem_source(plan), "utf-8")
    command = [sys.executable, "-m", "pyrefly", "check", "--config", str(ROOT / "pyproject.toml")]
    command += ["--python-interpreter-path", sys.executable, *map(str, tmp_path.glob("*.py"))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout
