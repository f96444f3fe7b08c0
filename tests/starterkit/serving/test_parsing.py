"""Texts as files write them, in the schema's own words."""

import numpy as np
import pyarrow as pa
import pytest

from starterkit.contract import Column, ColumnType, Scalar, Written
from starterkit.serving.parsing import find_columns, plain_texts, values_of

NBSP, NARROW = "\u00a0", "\u202f"
GERMAN = Written(decimal=",", thousands=".")
MONEY = Written(thousands=",", affixes=("$", "USD"), brackets=True)
FRENCH = Written(decimal=",", thousands=" ", affixes=("€", "%"))
FLAG = Written(flags={"Y": True, "N": False}, missing=("?",))
YES_OR_EMPTY = Written(flags={"Y": True, "": False}, missing=("?",))
GAPS = Written(missing=("NA", r"\N", "—"))


def a_column(kind: ColumnType, written: Written, *categories: Scalar) -> Column:
    return Column(
        name="x", role="feature", type=kind, unit="", sensitivity="plain", written=written, categories=categories
    )


@pytest.mark.parametrize(
    ("written", "text", "expected"),
    [
        (GERMAN, "1.234,5", 1234.5), (GERMAN, "12,5", 12.5), (GERMAN, "-1.234.567", -1234567),
        (GERMAN, "12.5", "wrong"), (GERMAN, "1.23,4", "wrong"), (GERMAN, "1234,5", 1234.5), (GERMAN, ",5", 0.5),
        (GERMAN, "  ", None),
        (MONEY, "$1,234.50", 1234.5), (MONEY, "($12.50)", -12.5), (MONEY, "$(12.50)", -12.5), (MONEY, "12 USD", 12),
        (MONEY, "-$5", -5), (MONEY, "$-5", -5), (MONEY, "(12", "wrong"), (MONEY, "(-12)", "wrong"),
        (MONEY, "1,2", "wrong"),
        (FRENCH, f"1{NARROW}234,5{NBSP}€", 1234.5), (FRENCH, "1 234 567", 1234567), (FRENCH, "12,5 %", 12.5),
        (FRENCH, "−3,5", -3.5), (FRENCH, "5 kg", "wrong"), (FRENCH, "1,5e3", 1500),
        (Written(thousands="'"), "1’234.5", 1234.5), (Written(affixes=("kg",)), "12.5kg", 12.5),
        (GAPS, "NA", None), (GAPS, r" \N ", None), (GAPS, "—", None), (GAPS, "", None), (GAPS, "7", 7),
        (GAPS, "−7", -7), (Written(), "−7", -7), (Written(), "NA", "wrong"), (Written(), "+7 ", 7),
    ],
)  # fmt: skip
def test_a_number_is_read_as_it_is_declared(written, text, expected):
    column = a_column("float", written)
    values, missing, wrong = values_of(column, plain_texts(column, pa.array([text or None], pa.string())))
    got = None if missing[0] else "wrong" if wrong[0] else values[0]
    assert got == expected


def test_texts_are_put_into_the_schemas_words():
    for kind, written, categories, texts, expected in (
        ("boolean", FLAG, (), ["Y", " N ", "?", None, "true"], ["true", "false", None, None, "true"]),
        ("boolean", YES_OR_EMPTY, (), ["Y", "", None, "?"], ["true", "false", "false", None]),
        ("string", GAPS, (), [" NA", "Na", "", "\\N"], [None, "Na", None, None]),
        ("string", Written(trim=True), ("Männer", "B"), ["ma\u0308nner ", "b", "c "], ["Männer", "B", "c "]),
        ("string", Written(trim=True), (), ["Ab ", "aB"], ["ab", "ab"]),
        ("string", Written(header="X"), (), ["1.234,5"], ["1.234,5"]),
    ):
        found = plain_texts(a_column(kind, written, *categories), pa.array(texts, pa.string()))
        assert found.to_pylist() == expected
    numbers = values_of(a_column("boolean", FLAG), pa.array(["1.0", "0"])).values  # as a file may write flags
    assert np.array_equal(numbers, [True, False])


def test_a_column_is_found_by_its_header_else_by_its_name():
    columns = [
        Column(name=name, role="feature", type="float", unit="", sensitivity="plain", written=Written(header=header))
        for name, header in (("age", "Age (y)"), ("weight", ""), ("x_1", "x"), ("x", "x.2"))
    ]
    assert find_columns(columns, ["Age (y)", "weight", "id"]) == {"age": "Age (y)", "weight": "weight"}
    assert find_columns(columns, ["age", "x", "x.2"]) == {"age": "age", "x_1": "x", "x": "x.2"}
    assert find_columns(columns, ["x"]) == {"x_1": "x"}
