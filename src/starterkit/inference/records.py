"""Rows as a client sends them, checked against the contract and turned into columns.

Every fault is found, not only the first, and none repeats the value it is about: it could be a person's.
"""

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np

from starterkit.contract import Column, Contract
from starterkit.errors import UserError
from starterkit.inference.graph import Columns

_FAULTS_SHOWN = 100


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
        more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
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
    faults: list[Fault] = []
    for row, record in enumerate(records):
        if isinstance(record, Mapping):
            faults += _faults_of_record(contract, row, record)
        else:
            faults.append(Fault(row, None, "is not an object", f"Give an object with {', '.join(contract.names)}"))
        if len(faults) >= _FAULTS_SHOWN:
            break
    if faults:
        raise InvalidRecords(faults)
    return {column.name: _array(column, records) for column in contract.columns}


def _faults_of_record(contract: Contract, row: int, record: Mapping[str, Any]) -> list[Fault]:
    faults = []
    for column in contract.columns:
        if column.name not in record:
            faults.append(Fault(row, column.name, "is missing", f"Give {column.expected}"))
        elif problem := fault_of_value(column, record[column.name]):
            faults.append(Fault(row, column.name, problem, f"Give {column.expected}"))
    missing = [name for name in contract.names if name not in record]
    for name in record:
        if name not in contract.names:
            near = get_close_matches(str(name), missing, n=1, cutoff=0.6)
            mend = f"Did you mean '{near[0]}'?" if near else f"Leave it out; the model takes {', '.join(contract.names)}"
            faults.append(Fault(row, str(name)[:100], "is not a column of this model", mend))
    return faults


def fault_of_value(column: Column, value: object) -> str:
    """What is wrong with a value, in words; empty where nothing is."""
    if value is None:
        return "" if column.nullable else "has no value"
    if column.type == "string":
        wrong_type = not isinstance(value, str)
    elif column.type == "boolean":
        wrong_type = not isinstance(value, bool)
    else:
        wrong_type = isinstance(value, bool) or not isinstance(value, int | float)
    if wrong_type:
        return f"is not {column.kind}"
    if isinstance(value, int | float) and not abs(value) <= sys.float_info.max:  # NaN, infinity, 10 ** 400
        return "is not a finite number"
    if column.type == "integer" and isinstance(value, float) and not value.is_integer():
        return "is not a whole number"
    if column.categories and value not in column.categories:
        return "is not one of the known values"
    if isinstance(value, int | float) and not isinstance(value, bool):
        if column.minimum is not None and value < column.minimum:
            return f"is below {column.minimum:g}"
        if column.maximum is not None and value > column.maximum:
            return f"is above {column.maximum:g}"
    return ""


def _array(column: Column, records: Sequence[Any]) -> np.ndarray:
    values = [record[column.name] for record in records]
    if column.type == "string":
        return np.array(values, dtype=object)
    return np.array([math.nan if value is None else value for value in values], dtype=np.float64)
