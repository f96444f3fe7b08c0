"""Rows as a client sends them, checked against the contract and turned into columns.

Every fault is found, not only the first, and none repeats the value it is about: it could be a person's.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Any

import numpy as np

from starterkit.contract import Column, Contract
from starterkit.errors import UserError
from starterkit.inference.graph import Columns

_FAULTS_SHOWN = 100
_NAME_SHOWN = 100
BEYOND = 2**63
"""The first whole number that a graph cannot take; as a float, which every number is on its way, it is exact."""


@dataclass(frozen=True)
class Fault:
    """What is wrong with one value. Rows count from 0."""

    row: int
    column: str | None
    problem: str
    mend: str


class InvalidRecords(UserError):
    """Some rows cannot be scored. `faults` says which, why and what would do."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults[:_FAULTS_SHOWN])
        first = self.faults[0]
        place = f"row {first.row}" + (f", column '{first.column}'" if first.column else "")
        others = "many" if len(faults) > _FAULTS_SHOWN else len(faults) - 1
        more = f" (and {others} more)" if others else ""
        super().__init__(f"{place}: {first.problem}{more}", first.mend)


def read_records(contract: Contract, records: Sequence[object]) -> Columns:
    """One array for each of the contract's columns.

    Parameters
    ----------
    records
        n mappings from column name to value, as JSON gives them.

    Raises
    ------
    InvalidRecords
        A column is missing, unknown or misspelt, or a value is of the wrong type, not finite or out of range.
    """
    # A client can send a million unknown columns: nobody looks further than the faults that are shown.
    faults = list(islice(_faults(contract, records), _FAULTS_SHOWN + 1))
    if faults:
        raise InvalidRecords(faults)
    return {column.name: _array(column, records) for column in contract.columns}


def _faults(contract: Contract, records: Sequence[object]) -> Iterator[Fault]:
    for row, record in enumerate(records):
        if isinstance(record, Mapping):
            yield from _faults_of_values(contract, row, record)
            if not record.keys() <= set(contract.names):
                yield from _unknown_columns(contract, row, record)
        else:
            yield Fault(row, None, "is not an object", f"Give an object with {', '.join(contract.names)}")


def _faults_of_values(contract: Contract, row: int, record: Mapping[str, Any]) -> Iterator[Fault]:
    for column in contract.columns:
        problem = fault_of_value(column, record[column.name]) if column.name in record else "is missing"
        if problem:
            yield Fault(row, column.name, problem, mend_of(column))


def mend_of(column: Column) -> str:
    """What a bad value of a column should be instead."""
    return f"Give {column.expected}{' or null' if column.nullable else ''}"


def _unknown_columns(contract: Contract, row: int, record: Mapping[str, Any]) -> Iterator[Fault]:
    missing = [name for name in contract.names if name not in record]
    for name in record:
        if name not in contract.names:
            shown = name[:_NAME_SHOWN]
            near = get_close_matches(shown, missing, n=1, cutoff=0.6)
            mend = (
                f"Did you mean '{near[0]}'?" if near else f"Leave it out. The model takes {', '.join(contract.names)}"
            )
            yield Fault(row, shown, "is not a column of this model", mend)


def fault_of_value(column: Column, value: object) -> str:
    """What is wrong with a value, in words; empty where nothing is."""
    if value is None or (value == "" and column.type == "string"):
        return "" if column.nullable else "has no value"
    if isinstance(value, bool) != (column.type == "boolean"):
        return f"is not {column.kind}"
    if column.type == "string":
        if not isinstance(value, str):
            return f"is not {column.kind}"
        if not is_unicode(value):
            return "is not valid Unicode"
    if column.type in ("float", "integer"):
        if not isinstance(value, int | float):
            return f"is not {column.kind}"
        if fault := _fault_of_number(column, value):
            return fault
    if column.categories and value not in column.categories:
        return "is not one of the known values"
    return ""


def is_unicode(text: str) -> bool:
    """Whether it can be encoded: JSON lets half of a surrogate pair stand alone, and onnxruntime stops at it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _fault_of_number(column: Column, value: float) -> str:
    if not abs(value) <= sys.float_info.max:  # NaN, infinity, 10 ** 400
        return "is not a finite number"
    if column.type == "integer" and isinstance(value, float) and not value.is_integer():
        return "is not a whole number"
    if column.type == "integer" and not -BEYOND <= float(value) < BEYOND:
        return "has more than 64 bits"
    if column.minimum is not None and value < column.minimum:
        return f"is below {column.minimum:g}"
    if column.maximum is not None and value > column.maximum:
        return f"is above {column.maximum:g}"
    return ""


def _array(column: Column, records: Sequence[Any]) -> np.ndarray:
    # Missing is NaN in text columns too, as in training: onnxruntime reads None as the text "None".
    values = [math.nan if value is None else value for value in (record[column.name] for record in records)]
    return np.array(values, dtype=object if column.type == "string" else np.float64)
