"""`read_records` gives a graph what training gave it, and a client all that is wrong."""

import math
import time

import numpy as np
import pytest

from starterkit.contract import Column, Contract, Lineage, Parity
from starterkit.serving.validation import InvalidRecords, read_records


def column(name: str, **said) -> Column:
    return Column(**{"name": name, "role": "feature", "type": "float", "unit": "", "sensitivity": "plain", **said})


def contract(*columns: Column) -> Contract:
    return Contract(
        problem="made-up",
        title="Made up",
        task="regression",
        columns=columns,
        target=column("answer"),
        layout="columns",
        example={},
        parity=Parity(rows=1, measure="", largest=0, allowed=1, scale=1),
        lineage=Lineage(**dict.fromkeys(Lineage.__dataclass_fields__, "")),
        digests={},
    )


NUMBER = column("number")
COUNT = column("count", type="integer", nullable=True, minimum=0)
FLAG = column("flag", type="boolean", nullable=True)
TEXT = column("text", type="string", nullable=True)
ALL = contract(NUMBER, COUNT, FLAG, TEXT)


def faults(columns: Contract, *records: object) -> list[tuple[int, str | None, str, str]]:
    with pytest.raises(InvalidRecords) as refusal:
        read_records(columns, records)
    return [(fault.row, fault.column, fault.problem, fault.mend) for fault in refusal.value.faults]


def test_values_become_one_array_a_column():
    columns = read_records(
        ALL,
        [
            {"text": "é\x00", "flag": True, "count": 3.0, "number": 10**300},
            {"number": -0.5, "count": 2**60, "flag": False, "text": ""},
        ],
    )
    assert list(columns) == ["number", "count", "flag", "text"]
    assert [values.tolist() for values in columns.values()] == [[1e300, -0.5], [3, 2**60], [1, 0], ["é\x00", ""]]
    assert [values.dtype for values in columns.values()] == [np.float64, np.float64, np.float64, object]


def test_a_missing_value_is_nan_in_every_column_as_in_training():
    columns = read_records(ALL, [{"number": 1, "count": None, "flag": None, "text": None}])
    assert all(math.isnan(columns[name][0]) for name in ("count", "flag", "text"))


def test_all_faults_of_all_rows_are_found_at_once():
    found = faults(ALL, {"number": 1, "count": -1, "flag": 0, "text": 1}, "row", {"numbr": math.nan})
    assert found == [
        (0, "count", "is below 0", "Give a whole number, at least 0 or null"),
        (0, "flag", "is not true or false", "Give true or false or null"),
        (0, "text", "is not a text", "Give a text or null"),
        (1, None, "is not an object", "Give an object with number, count, flag, text"),
        (2, "number", "is missing", "Give a number"),
        (2, "count", "is missing", "Give a whole number, at least 0 or null"),
        (2, "flag", "is missing", "Give true or false or null"),
        (2, "text", "is missing", "Give a text or null"),
        (2, "numbr", "is not a column of this model", "Did you mean 'number'?"),
    ]


def test_half_a_surrogate_pair_is_no_text():
    assert faults(contract(TEXT), {"text": "a\udfff"})[0][2] == "is not valid Unicode"


def test_a_category_is_compared_with_its_type():
    sizes = contract(column("size", type="integer", categories=(1, 2)))
    assert read_records(sizes, [{"size": 2.0}])["size"].tolist() == [2.0]
    assert faults(sizes, {"size": 3})[0][2] == "is not one of the known values"
    assert faults(sizes, {"size": True})[0][2] == "is not a whole number"


def test_the_message_counts_what_it_does_not_show():
    with pytest.raises(InvalidRecords, match=r"^row 0, column 'number': is missing \(and 1 more\)\. Give a number\.$"):
        read_records(contract(NUMBER), [{}, {}])
    with pytest.raises(InvalidRecords, match=r"^row 0, column 'number': is missing\. Give a number\.$"):
        read_records(contract(NUMBER), [{}])
    with pytest.raises(InvalidRecords, match=r"\(and many more\)") as refusal:
        read_records(contract(NUMBER), [{}] * 200)
    assert len(refusal.value.faults) == 100


def test_a_million_unknown_columns_cost_no_more_than_a_hundred():
    record = {"number": 1.0} | {f"n{index}": 0 for index in range(300_000)} | {"x" * 5_000_000: 0}
    began = time.process_time()
    assert len(faults(contract(NUMBER), record)) == 100
    assert time.process_time() - began < 1
    assert len(faults(contract(NUMBER), {"x" * 5_000_000: 0})[1][1]) == 100


@pytest.mark.parametrize("value", [2**63 - 1, 2**63, 1e300, -1e300])
def test_a_whole_number_that_no_graph_can_take_is_a_fault(value: float):
    found = faults(contract(column("size", type="integer")), {"size": value})
    assert found == [(0, "size", "has more than 64 bits", "Give a whole number")]
