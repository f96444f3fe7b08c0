"""Columns as a file holds them, checked against the contract at once: what `records` finds row by row, faster.

A test draws rows and holds both checks against each other.
"""

import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from starterkit.contract import Column, Contract, Prediction
from starterkit.inference.graph import Columns
from starterkit.inference.records import BEYOND, Fault, is_unicode, mend_of

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
