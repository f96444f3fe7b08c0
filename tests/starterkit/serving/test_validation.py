"""Rows and columns are judged by one definition: a graph gets what training gave it, and a client all that is wrong."""

import math
import time
from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from starterkit.contract import Column, Contract, Lineage, Parity, Prediction
from starterkit.serving.validation import Bounds, InvalidRecords, Values, check_columns, faults_of_answers, read_records


def column(name: str, **said: Any) -> Column:
    return Column(**{"name": name, "role": "feature", "type": "float", "unit": "", "sensitivity": "plain", **said})


MIXED = Contract(
    problem="made-up", title="Made up", task="regression", target=column("answer"), layout="columns", example={},
    parity=Parity(rows=1, measure="", largest=0, allowed=1, scale=1), digests={},
    lineage=Lineage(**dict.fromkeys(Lineage.__dataclass_fields__, "")),
    columns=(
        column("level", minimum=-1.5, maximum=10.0, unit="mm"),
        column("free", nullable=True, proven=(-10.0, 20.0)),
        column("count", type="integer", nullable=True, minimum=0.0, maximum=2.0**53),
        column("size", type="integer", categories=(1, 2, 2**60 + 1)),
        column("any", type="integer"),
        column("flag", type="boolean", nullable=True),
        column("sure", type="boolean", categories=(True,)),
        column("city", type="string", nullable=True, categories=("Köln", "Bonn")),
        column("note", type="string"),
    ),
)  # fmt: skip


def contract(*columns: Column) -> Contract:
    return replace(MIXED, columns=columns)


NUMBER = column("number")
COUNT = column("count", type="integer", nullable=True, minimum=0)
FLAG = column("flag", type="boolean", nullable=True)
TEXT = column("text", type="string", nullable=True)
ALL = contract(NUMBER, COUNT, FLAG, TEXT)


def faults(columns: Contract, *records: object) -> list[tuple[int, str | None, str, str]]:
    with pytest.raises(InvalidRecords) as refusal:
        read_records(columns, records)
    return [(fault.row, fault.column, fault.problem, fault.hint) for fault in refusal.value.faults]


def test_values_become_one_array_a_column_and_a_missing_one_is_nan_as_in_training():
    first = {"text": "é\x00", "flag": True, "count": 3.0, "number": 10**300}
    columns = read_records(ALL, [first, {"number": -0.5, "count": 2**60, "flag": False, "text": ""}])
    assert list(columns) == ["number", "count", "flag", "text"]
    assert [values.tolist() for values in columns.values()] == [[1e300, -0.5], [3, 2**60], [1, 0], ["é\x00", ""]]
    assert [values.dtype for values in columns.values()] == [np.float64, np.float64, np.float64, object]
    columns = read_records(ALL, [{"number": 1, "count": None, "flag": None, "text": None}])
    assert all(math.isnan(columns[name][0]) for name in ("count", "flag", "text"))
    ends = read_records(contract(column("free", proven=(-10.0, 20.0))), [{"free": -10.0}, {"free": 20.0}])
    assert ends["free"].tolist() == [-10.0, 20.0]
    sizes = contract(column("size", type="integer", categories=(1, 2, 2**60 + 1)))
    assert read_records(sizes, [{"size": 2.0}, {"size": 2**60 + 1}])["size"].tolist() == [2.0, 2.0**60]


@pytest.mark.parametrize(
    ("said", "value", "problem"),
    [
        ({"type": "string"}, "a\udfff", "is not valid Unicode"),
        ({"type": "string"}, "", "has no value"),
        ({"type": "integer", "categories": (1, 2)}, 3, "is not one of the known values"),
        ({"type": "integer", "categories": (1, 2)}, True, "is not a whole number"),
        ({"type": "integer"}, 2**63 - 1, "has more than 64 bits"),  # as a float it is 2 ** 63
        ({"type": "integer"}, 2**63, "has more than 64 bits"),
        ({"type": "integer"}, -1e300, "has more than 64 bits"),
        ({}, -math.inf, "is not a finite number"),
        ({"minimum": 0.5}, 10**400, "is not a finite number"),
        ({"proven": (-10.0, 20.0)}, -10.5, "lies beyond -10 to 20, as far as the model is proven"),
        ({"proven": (-10.0, 20.0)}, 20.5, "lies beyond -10 to 20, as far as the model is proven"),
    ],
)
def test_the_first_thing_that_does_not_hold_is_named(said, value, problem):
    assert [fault[2] for fault in faults(contract(column("one", **said)), {"one": value})] == [problem]


@pytest.mark.parametrize(
    ("rows", "more", "kept"), [([{}], "", 1), ([{}, {}], " (and 1 more)", 2), ([{}] * 200, " (and many more)", 100)]
)
def test_the_message_counts_what_it_does_not_show(rows, more, kept):
    with pytest.raises(InvalidRecords) as refusal:
        read_records(contract(NUMBER), rows)
    assert str(refusal.value) == f"row 0, column 'number': is missing{more}. Give a number."
    assert len(refusal.value.faults) == kept


def test_a_million_unknown_columns_cost_no_more_than_a_hundred():
    record = {"number": 1.0} | {f"n{index}": 0 for index in range(300_000)} | {"x" * 5_000_000: 0}
    began = time.process_time()
    assert len(faults(contract(NUMBER), record)) == 100
    assert time.process_time() - began < 1
    assert len(faults(contract(NUMBER), {"x" * 5_000_000: 0})[1][1]) == 100


ODD_FLOATS = [0.0, -0.0, 1.0, 2.0, 9.5, 10.0, -1.5, 20.0, 20.5, 1e300, math.inf, -math.inf, math.nan]
ODD_WHOLE = [0, 1, 2, 3, 10, 11, -1, 2**53, 2**53 + 1, 2**60 + 1, 2**60, 2**63 - 1]
TEXTS = st.sampled_from(["", "Köln", "Bonn", "Ulm", "NA", "\x00", "a\udfff"]) | st.text(max_size=3)
KINDS: dict[Any, tuple[Any, Any]] = {
    np.float64: (st.sampled_from(ODD_FLOATS) | st.floats(), 0.0),
    np.int64: (st.sampled_from(ODD_WHOLE) | st.integers(-(2**63), 2**63 - 1), 0),
    np.bool_: (st.booleans(), False),
    object: (TEXTS, None),
}
_ODD = ("neither number, flag nor text",)


@st.composite
def stored(draw: st.DrawFn, rows: int) -> tuple[list[Any], Values]:
    """Values as a client sends them, and the same as a file holds them: of one type, some missing or of another."""
    kind = draw(st.sampled_from(list(KINDS)))
    strategy, filler = KINDS[kind]
    odd = st.nothing() if kind is object else st.just(_ODD)
    values = draw(st.lists(strategy | st.none() | odd, min_size=rows, max_size=rows))
    missing = np.array([value is None for value in values], dtype=bool)
    wrong = np.array([value is _ODD for value in values], dtype=bool)
    plain = [filler if gap else value for value, gap in zip(values, missing | wrong, strict=True)]
    return values, Values(np.array(plain, dtype=kind), missing, wrong)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, Values]]:
    rows = draw(st.integers(1, 6))
    drawn = {name: draw(stored(rows)) for name in MIXED.names}
    records = [{name: values[row] for name, (values, _) in drawn.items()} for row in range(rows)]
    return records, {name: values for name, (_, values) in drawn.items()}


@settings(max_examples=50, deadline=None)
@given(tables())
def test_both_forms_are_judged_alike(table):
    records, columns = table
    checked = check_columns(MIXED, columns)
    try:
        read_records(MIXED, records)
        expected: list[Any] = []
    except InvalidRecords as refusal:
        expected = list(refusal.faults)
    assert list(checked.faults) == expected
    assert sorted({fault.row for fault in expected}) == np.flatnonzero(checked.bad).tolist()
    good = np.flatnonzero(~checked.bad)
    require_alike(checked.columns, records, good)


def require_alike(columns: Any, records: list[dict[str, Any]], rows: Any) -> None:
    for name, values in read_records(MIXED, [records[row] for row in rows]).items():
        found = columns[name][rows]
        assert found.dtype == values.dtype
        assert [repr(value) for value in found.tolist()] == [repr(value) for value in values.tolist()]


@pytest.mark.parametrize("nullable", [False, True])
@pytest.mark.parametrize("rows", [1, 511, 512, 1_500])
def test_a_matrix_is_judged_as_its_columns_are(rows, nullable):
    """Each wrong value alone, in the first row and in the last one."""
    known = contract(column("level", minimum=-1, maximum=9, nullable=nullable), column("size", type="integer"))
    bounds, sound = Bounds(replace(known, layout="matrix")), np.ones((rows, 2))
    assert bounds.hold(sound)
    for row, (at, value) in product((0, rows - 1), [(0, -2), (0, 10), (0, np.nan), (1, np.inf), (1, 0.5), (1, np.nan)]):
        table = sound.copy()
        table[row, at] = value
        named = zip(known.names, table.T, strict=True)
        columns = {name: Values(one, np.isnan(one), one < -np.inf) for name, one in named}
        assert bounds.hold(table) == (not check_columns(known, columns).faults), (row, at, value)


def test_sound_columns_have_no_fault_and_an_answer_that_is_no_number_is_one():
    none, sound = np.zeros(1, bool), [10.0, 1.0, 0, 1, 7, True, True, "Köln", "x"]
    dtypes = [float, float, int, int, int, bool, bool, object, object]
    values = [Values(np.array([value], dtype), none, none) for value, dtype in zip(sound, dtypes, strict=True)]
    checked = check_columns(MIXED, dict(zip(MIXED.names, values, strict=True)))
    assert list(checked.faults) == []
    require_alike(checked.columns, [dict(zip(MIXED.names, sound, strict=True))], [0])
    assert [fault.row for fault in faults_of_answers(Prediction(np.array([1.0, np.nan, -np.inf])))] == [1, 2]
    labels = Prediction(np.array(["a", "b"]), np.array([[0.5, 0.5], [np.nan, 0.5]]))
    assert [fault.row for fault in faults_of_answers(labels)] == [1]
