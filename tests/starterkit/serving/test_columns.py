"""The check of whole columns finds what the check row by row finds, and gives the same arrays."""

import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from starterkit.contract import Column, Contract, Lineage, Parity, Prediction
from starterkit.serving.validation import InvalidRecords, Values, check_columns, faults_of_answers, read_records


def column(name: str, **said: Any) -> Column:
    return Column(**{"name": name, "role": "feature", "type": "float", "unit": "", "sensitivity": "plain", **said})


CONTRACT = Contract(
    problem="made-up",
    title="Made up",
    task="regression",
    columns=(
        column("level", minimum=-1.5, maximum=10.0, unit="mm"),
        column("free", nullable=True),
        column("count", type="integer", nullable=True, minimum=0.0, maximum=2.0**53),
        column("size", type="integer", categories=(1, 2, 2**60 + 1)),
        column("any", type="integer"),
        column("flag", type="boolean", nullable=True),
        column("sure", type="boolean", categories=(True,)),
        column("city", type="string", nullable=True, categories=("Köln", "Bonn")),
        column("note", type="string"),
    ),
    target=column("answer"),
    layout="columns",
    example={},
    parity=Parity(rows=1, measure="", largest=0, allowed=1, scale=1),
    lineage=Lineage(**dict.fromkeys(Lineage.__dataclass_fields__, "")),
    digests={},
)

FLOATS = st.sampled_from([0.0, -0.0, 1.0, 2.0, 9.5, 10.0, -1.5, 1e300, math.inf, -math.inf, math.nan]) | st.floats()
WHOLE = st.sampled_from([0, 1, 2, 3, 10, 11, -1, 2**53, 2**53 + 1, 2**60 + 1, 2**60, 2**63 - 1]) | st.integers(
    -(2**63), 2**63 - 1
)
TEXTS = st.sampled_from(["", "Köln", "Bonn", "Ulm", "NA", "\x00", "a\udfff"]) | st.text(max_size=3)
KINDS: dict[type, tuple[Any, Any]] = {
    float: (FLOATS, 0.0),
    int: (WHOLE, 0),
    bool: (st.booleans(), False),
    str: (TEXTS, None),
}

_ODD = ("neither number, flag nor text",)


@st.composite
def stored(draw: st.DrawFn, rows: int) -> tuple[list[Any], Values]:
    """Values as a client sends them, and the same as a file holds them: of one type, some missing or of another."""
    kind = draw(st.sampled_from(list(KINDS)))
    strategy, filler = KINDS[kind]
    odd = st.nothing() if kind is str else st.just(_ODD)
    values = draw(st.lists(strategy | st.none() | odd, min_size=rows, max_size=rows))
    missing = np.array([value is None for value in values], dtype=bool)
    wrong = np.array([value is _ODD for value in values], dtype=bool)
    plain = [filler if gap else value for value, gap in zip(values, missing | wrong, strict=True)]
    dtype = {float: np.float64, int: np.int64, bool: np.bool_, str: object}[kind]
    return values, Values(np.array(plain, dtype=dtype), missing, wrong)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[dict[str, Any]], dict[str, Values]]:
    rows = draw(st.integers(1, 6))
    drawn = {name: draw(stored(rows)) for name in CONTRACT.names}
    records = [{name: values[row] for name, (values, _) in drawn.items()} for row in range(rows)]
    return records, {name: values for name, (_, values) in drawn.items()}


@settings(max_examples=200, deadline=None)
@given(tables())
def test_both_checks_agree(table: tuple[list[dict[str, Any]], dict[str, Values]]) -> None:
    records, columns = table
    checked = check_columns(CONTRACT, columns)
    try:
        read_records(CONTRACT, records)
        expected: list[Any] = []
    except InvalidRecords as refusal:
        expected = list(refusal.faults)
    assert list(checked.faults) == expected
    assert sorted({fault.row for fault in expected}) == np.flatnonzero(checked.bad).tolist()
    good = np.flatnonzero(~checked.bad)
    by_row = read_records(CONTRACT, [records[row] for row in good])
    for name, values in by_row.items():
        found = checked.columns[name][good]
        assert found.dtype == values.dtype
        assert [repr(value) for value in found.tolist()] == [repr(value) for value in values.tolist()]


def test_sound_rows_are_common_enough_to_be_compared() -> None:
    none = np.zeros(1, bool)
    sound = [2.0, 1.0, 3, 1, 7, True, True, "Köln", "x"]
    dtypes = [float, float, int, int, int, bool, bool, object, object]
    given_values = {
        name: Values(np.array([value], dtype=dtype), none, none)
        for name, value, dtype in zip(CONTRACT.names, sound, dtypes, strict=True)
    }
    checked = check_columns(CONTRACT, given_values)
    assert list(checked.faults) == []
    expected = read_records(CONTRACT, [dict(zip(CONTRACT.names, sound, strict=True))])
    assert {name: values.tolist() for name, values in checked.columns.items()} == {
        name: values.tolist() for name, values in expected.items()
    }


def test_an_answer_that_is_no_number_is_a_fault() -> None:
    assert [fault.row for fault in faults_of_answers(Prediction(np.array([1.0, np.nan, -np.inf])))] == [1, 2]
    labels = Prediction(np.array(["a", "b"]), np.array([[0.5, 0.5], [np.nan, 0.5]]))
    assert [fault.row for fault in faults_of_answers(labels)] == [1]
