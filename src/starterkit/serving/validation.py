"""Rows and columns checked against the contract: every fault is found, and none repeats a value."""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from starterkit.contract import Column, Contract, Prediction
from starterkit.errors import UserError
from starterkit.serving.graph import Columns

# --- Rows as a client sends them, checked against the contract and turned into columns.
#
# Every fault is found, not only the first, and none repeats the value it is about: it could be a person's.

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


# --- Columns as a file holds them, checked against the contract at once: what `records` finds row by row, faster.
#
# A test draws rows and holds both checks against each other.

Mask = NDArray[np.bool_]


class Values(NamedTuple):
    """One column of n rows. `values` are flags, whole numbers, floats, or texts as objects.

    `missing` marks the rows without a value, `wrong` those with a value that `values` could not hold: a text among
    numbers. What stands in `values` there means nothing.
    """

    values: NDArray[Any]
    missing: Mask
    wrong: Mask


class Checked(NamedTuple):
    """n rows after the check: arrays for the predictor, which rows are bad, and why, in the order of the rows.

    What the arrays hold in bad rows means nothing.
    """

    columns: Columns
    bad: Mask
    faults: Sequence[Fault]


def check_columns(contract: Contract, given: Mapping[str, Values]) -> Checked:
    """Every fault in n rows, and one array for each of the contract's columns. `given` has all of them."""
    rows = len(next(iter(given.values())).missing)
    bad, found = np.zeros(rows, dtype=np.bool_), []
    for place, column in enumerate(contract.columns):
        faulty = np.zeros(rows, dtype=np.bool_)
        for problem, mask in _problems(column, *given[column.name]):
            found += [(row, place, problem) for row in np.flatnonzero(mask & ~faulty).tolist()]
            faulty |= mask
        bad |= faulty
    columns, mends = contract.columns, [mend_of(column) for column in contract.columns]
    faults = [Fault(row, columns[place].name, problem, mends[place]) for row, place, problem in sorted(found)]
    return Checked({column.name: _known_array(column, given[column.name]) for column in columns}, bad, faults)


def faults_of_answers(prediction: Prediction) -> list[Fault]:
    """The rows that the model has no finite answer for."""
    numbers = prediction.values if prediction.probabilities is None else prediction.probabilities
    rows = np.flatnonzero(~np.isfinite(numbers.reshape(len(numbers), -1)).all(axis=1)).tolist()
    mend = "Give values nearer to those that the model was trained on"
    return [Fault(row, None, "has no finite answer", mend) for row in rows]


def _problems(column: Column, values: NDArray[Any], missing: Mask, wrong: Mask) -> Iterator[tuple[str, Mask]]:
    """Problems and the rows that have them, the first that fits a row first: the order of `fault_of_value`."""
    if column.type == "string" and values.dtype == object:
        missing = missing | (values == "")
    if not column.nullable:
        yield "has no value", missing
    there = ~missing
    kinds = {"string": "O", "boolean": "b"}.get(column.type, "iuf")
    yield f"is not {column.kind}", there & (wrong | (values.dtype.kind not in kinds))
    if values.dtype.kind not in kinds:
        return
    if column.type == "string":
        yield "is not valid Unicode", there & _not_unicode(values, there)
    elif column.type in ("integer", "float"):
        yield from ((problem, there & mask) for problem, mask in _problems_of_numbers(column, values))
    if column.categories:
        yield "is not one of the known values", there & ~_known(column, values)


def _problems_of_numbers(column: Column, values: NDArray[Any]) -> Iterator[tuple[str, Mask]]:
    low, high = column.minimum, column.maximum
    if values.dtype.kind == "f":
        yield "is not a finite number", ~(np.abs(values) <= sys.float_info.max)
        if column.type == "integer":
            yield "is not a whole number", values != np.floor(values)
    else:  # whole numbers are compared with whole ones: beyond 2 ** 53 not each of them is a float
        low = math.ceil(low) if low is not None and math.isfinite(low) else low
        high = math.floor(high) if high is not None and math.isfinite(high) else high
    if column.type == "integer":
        floats = values.astype(np.float64, copy=False)
        yield "has more than 64 bits", ~((floats >= -BEYOND) & (floats < BEYOND))
    if column.minimum is not None:
        yield f"is below {column.minimum:g}", values < low
    if column.maximum is not None:
        yield f"is above {column.maximum:g}", values > high


def _known(column: Column, values: NDArray[Any]) -> Mask:
    if values.dtype == object:
        known = set(column.categories)
        return np.fromiter((value in known for value in values), np.bool_, len(values))
    return np.logical_or.reduce([values == category for category in column.categories])


def _not_unicode(texts: NDArray[Any], there: Mask) -> Mask:
    if is_unicode("".join(texts[there])):
        return np.zeros(len(texts), dtype=np.bool_)
    return np.fromiter((isinstance(text, str) and not is_unicode(text) for text in texts), np.bool_, len(texts))


def _known_array(column: Column, given: Values) -> NDArray[Any]:
    values, missing, _ = given
    if column.type == "string":
        array = values.astype(object)
    elif values.dtype.kind in "biuf":
        array = values.astype(np.float64)
    else:
        return np.full(len(values), math.nan)  # texts instead of numbers: each row is bad
    array[missing] = math.nan  # in text columns too, as in training
    return array
