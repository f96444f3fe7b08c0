"""One definition of what is wrong with a value of a column, for rows of a request, columns of a file and tables.

Every fault is found, not only the first, and none repeats the value it is about: it could be a person's.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache, partial
from itertools import islice
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from starterkit.contract import Beyond, Column, Contract, Prediction, Scalar
from starterkit.errors import UserError
from starterkit.serving.graph import Columns

# --- What is asked of a column's values. See docs/decisions/0021-one-check.md.

BEYOND = 2**63
"""The first whole number that a graph cannot take; as a float, which every number is on its way, it is exact."""

Kind = Literal["missing", "type", "range", "category", "beyond", "unknown_column", "no_answer", "unknown", "pruned"]
"""What is wrong, in one word: what clients are told and what is counted. `problem` says it to people."""
Rows = NDArray[np.intp]
Mask = NDArray[np.bool_]

_LARGEST = sys.float_info.max
_MISSING = "has no value"
_SCALARS = {"float": {int, float}, "integer": {int, float}, "boolean": {bool}, "string": {str}, "datetime": set()}
_ARRAYS = {"float": "iuf", "integer": "iuf", "boolean": "b", "string": "O", "datetime": ""}


Unmet = tuple[Kind, str, Rows]


class Requirement(NamedTuple):
    """What a value must be once it is there and of its column's type. `holds` takes one value or an array of them.

    `low` and `high` (the nearest numbers that are allowed), `step` and `known` say the same to a decoder.
    """

    kind: Kind
    problem: str
    holds: Callable[[Any], Any]
    low: float | None = None
    high: float | None = None
    step: float | None = None
    known: frozenset[Scalar] | None = None


@lru_cache(maxsize=4096)
def requirements(column: Column) -> tuple[Requirement, ...]:
    """What is asked of a column's values, one after the other: a value's problem is the first that does not hold.

    Numbers are judged as the graph gets them: as floats.
    """
    low, high, asked = column.minimum, column.maximum, []
    if column.type == "string":
        asked.append(Requirement("type", "is not valid Unicode", _are_unicode))
    elif column.type in ("float", "integer"):
        asked.append(Requirement("type", "is not a finite number", lambda x: abs(x) <= _LARGEST, -_LARGEST, _LARGEST))
    if column.type == "integer":
        asked.append(Requirement("type", "is not a whole number", lambda x: x % 1 == 0, step=1))
        last = math.nextafter(BEYOND, 0)
        asked.append(
            Requirement("type", "has more than 64 bits", lambda x: (x >= -BEYOND) & (x < BEYOND), -BEYOND, last)
        )
    if low is not None:
        asked.append(Requirement("range", f"is below {low:g}", lambda x: x >= low, low=low))
    if high is not None:
        asked.append(Requirement("range", f"is above {high:g}", lambda x: x <= high, high=high))
    if column.categories and column.type != "datetime":
        known = frozenset(column.categories if column.type == "string" else map(float, column.categories))
        asked.append(Requirement("category", "is not one of the known values", partial(_are_known, known), known=known))
    if proven := column.open_range:
        first, last = proven
        words = f"lies beyond {first:g} to {last:g}, as far as the model is proven"
        asked.append(Requirement("beyond", words, lambda x: (x >= first) & (x <= last), first, last))
    return tuple(asked)


def asked_of(column: Column, beyond: Beyond) -> tuple[Requirement, ...]:
    """The requirements that refuse a value: where rows beyond the proof are marked, that is none."""
    return tuple(one for one in requirements(column) if beyond == "refuse" or one.kind != "beyond")


def unmet(column: Column, values: NDArray[Any], rows: Rows, beyond: Beyond = "refuse") -> Iterator[Unmet]:
    """Which of these rows do not have what is asked of the column, and what that is. A row comes once at most."""
    values = values[rows]
    for one in asked_of(column, beyond):
        sound = one.holds(values)
        if not sound.all():
            yield one.kind, one.problem, rows[~sound]
            values, rows = values[sound], rows[sound]


class Bounds:
    """Whether a matrix of numbers has what is asked of its columns, all at once. Where not, the rest looks for why."""

    def __init__(self, contract: Contract) -> None:
        asked = [asked_of(column, "refuse") for column in contract.columns]
        lows = [max((one.low for one in some if one.low is not None), default=-_LARGEST) for some in asked]
        highs = [min((one.high for one in some if one.high is not None), default=_LARGEST) for some in asked]
        nullable = [column.nullable for column in contract.columns]
        self._kinds = [_ARRAYS[column.type] for column in contract.columns]
        self._width = len(asked)
        # Comparing long rows is quick, so that many short ones are compared as one.
        self._lows, self._highs, self._nullable = (np.tile(one, _AT_ONCE) for one in (lows, highs, nullable))
        self._may_miss = any(nullable)
        self._whole = [at for at, some in enumerate(asked) if any(one.step for one in some)]
        self._known = {at: [*one.known] for at, some in enumerate(asked) for one in some if one.known is not None}

    @classmethod
    def of(cls, contract: Contract) -> "Bounds | None":
        """None where the model does not take a matrix."""
        return cls(contract) if contract.layout == "matrix" else None

    def are_kinds_of(self, columns: Columns) -> bool:
        """Whether each array is of its column's kind."""
        return all(one.dtype.kind in kinds for one, kinds in zip(columns.values(), self._kinds, strict=True))

    def hold(self, table: NDArray[np.float64]) -> bool:
        """Whether each of n rows has what is asked, with NaN where a value is missing."""
        flat, step = table.ravel(), self._width * _AT_ONCE
        many = len(flat) // step * step
        parts = [*flat[:many].reshape(-1, step), flat[many:]]
        if many and not self._may_miss:  # the least and the most of many rows, in two passes that make nothing else
            parts[:-1] = (one.reduce(flat[:many].reshape(-1, step)) for one in (np.minimum, np.maximum))
        for part in parts:
            many = len(part)
            sound = (part >= self._lows[:many]) & (part <= self._highs[:many])
            if self._may_miss:
                sound |= np.isnan(part) & self._nullable[:many]
            if not sound.all():
                return False
        return all(
            (np.floor(there) == there).all() if known is None else np.isin(there, known).all()
            for there, known in ((self._there(table, at), self._known.get(at)) for at in {*self._whole, *self._known})
        )

    def _there(self, table: NDArray[np.float64], at: int) -> NDArray[np.float64]:
        """The values of a column that are not missing."""
        column = table[:, at]
        return column[column == column] if self._nullable[at] else column


_AT_ONCE = 512


# --- One value, as JSON gives it.


def fault_of_value(column: Column, value: Any, asked: Sequence[Requirement] | None = None) -> tuple[Kind, str] | None:
    """What is wrong with a value; None where nothing is. `asked` are the requirements, where known."""
    kind = type(value)
    if value is None or (kind is str and not value and column.type == "string"):
        return None if column.nullable else ("missing", _MISSING)
    if kind not in _SCALARS[column.type]:
        return "type", f"is not {column.kind}"
    if kind is int:
        value = _as_float(value)
    for one in requirements(column) if asked is None else asked:
        if not one.holds(value):
            return one.kind, one.problem
    return None


def _as_float(number: int) -> float:
    try:
        return float(number)
    except OverflowError:  # 10 ** 400
        return math.inf


def is_unicode(text: str) -> bool:
    """Whether it can be encoded: JSON lets half of a surrogate pair stand alone, and onnxruntime stops at it."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _are_unicode(texts: Any) -> Any:
    if isinstance(texts, str):
        return is_unicode(texts)
    if is_unicode("".join(texts)):
        return np.ones(len(texts), np.bool_)
    return np.fromiter(map(is_unicode, texts), np.bool_, len(texts))


def _are_known(known: frozenset[Scalar], values: Any) -> Any:
    if not isinstance(values, np.ndarray):
        return values in known
    if values.dtype.kind == "f":
        return np.isin(values, list(known))
    return np.fromiter((value in known for value in values.tolist()), np.bool_, len(values))


# --- Rows as a client sends them, turned into columns.

_FAULTS_SHOWN = 100
_NAME_SHOWN = 100


@dataclass(frozen=True)
class Fault:
    """What is wrong with one value. Rows count from 0."""

    row: int
    column: str | None
    problem: str
    hint: str
    kind: Kind = "type"

    @property
    def content(self) -> dict[str, Any]:
        """As clients are told. Its keys are a format: `hint` is ``mend`` there."""
        place = {"row": self.row, "column": self.column}
        return {**place, "kind": self.kind, "problem": self.problem, "mend": self.hint}


class InvalidRecords(UserError):
    """Some rows cannot be scored. `faults` says which, why and what would do."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults[:_FAULTS_SHOWN])
        first = self.faults[0]
        place = f"row {first.row}" + (f", column '{first.column}'" if first.column else "")
        others = "many" if len(faults) > _FAULTS_SHOWN else len(faults) - 1
        more = f" (and {others} more)" if others else ""
        super().__init__(f"{place}: {first.problem}{more}", first.hint)


def read_records(contract: Contract, records: Sequence[object], beyond: Beyond = "refuse") -> Columns:
    """One array for each of the contract's columns.

    Parameters
    ----------
    records
        n mappings from column name to value, as JSON gives them.
    beyond
        Whether a number beyond what is proven is a fault.

    Raises
    ------
    InvalidRecords
        A column is missing, unknown or misspelt, or a value is of the wrong type, not finite or out of range.
    """
    # A client can send a million unknown columns: nobody looks further than the faults that are shown.
    faults = list(islice(_faults(contract, records, beyond), _FAULTS_SHOWN + 1))
    if faults:
        raise InvalidRecords(faults)
    return {column.name: _array(column, records) for column in contract.columns}


def _faults(contract: Contract, records: Sequence[object], beyond: Beyond) -> Iterator[Fault]:
    asked = [(column.name, column, asked_of(column, beyond)) for column in contract.columns]
    names = frozenset(contract.names)
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            yield Fault(row, None, "is not an object", f"Give an object with {', '.join(contract.names)}")
            continue
        for name, column, needed in asked:
            found = fault_of_value(column, record[name], needed) if name in record else ("missing", "is missing")
            if found:
                yield Fault(row, name, found[1], hint_of(column), found[0])
        if not record.keys() <= names:
            yield from _unknown_columns(contract, row, record)


def hint_of(column: Column) -> str:
    """What a bad value of a column should be instead."""
    return f"Give {column.expected}{' or null' if column.nullable else ''}"


def _unknown_columns(contract: Contract, row: int, record: Mapping[str, Any]) -> Iterator[Fault]:
    missing = [name for name in contract.names if name not in record]
    for name in record:
        if name not in contract.names:
            shown = name[:_NAME_SHOWN]
            near = get_close_matches(shown, missing, n=1, cutoff=0.6)
            hint = (
                f"Did you mean '{near[0]}'?" if near else f"Leave it out. The model takes {', '.join(contract.names)}"
            )
            yield Fault(row, shown, "is not a column of this model", hint, "unknown_column")


def _array(column: Column, records: Sequence[Any]) -> np.ndarray:
    # Missing is NaN in text columns too, as in training: onnxruntime reads None as the text "None".
    values = [math.nan if value is None else value for value in (record[column.name] for record in records)]
    return np.array(values, dtype=object if column.type == "string" else np.float64)


# --- Columns as a file holds them.


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


def check_columns(contract: Contract, given: Mapping[str, Values], beyond: Beyond = "refuse") -> Checked:
    """Every fault in n rows, and one array for each of the contract's columns. `given` has all of them."""
    bad = np.zeros(len(next(iter(given.values())).missing), np.bool_)
    columns, found = {}, []
    for place, column in enumerate(contract.columns):
        values, missing, wrong = _as_graphs(column, given[column.name])
        for kind, problem, rows in _problems(column, values, missing, wrong, beyond):
            bad[rows] = True
            found += [(row, place, problem, kind) for row in rows.tolist()]
        values[missing] = math.nan  # in text columns too, as in training
        columns[column.name] = values
    names, hints = contract.names, [hint_of(column) for column in contract.columns]
    faults = [Fault(row, names[at], problem, hints[at], kind) for row, at, problem, kind in sorted(found)]
    return Checked(columns, bad, faults)


def _as_graphs(column: Column, given: Values) -> Values:
    """A copy in the type that the graph takes; all wrong, where the column is of another one."""
    values, missing, wrong = given
    if column.type == "string" and values.dtype == object:
        missing = missing | (values == "")
    if values.dtype.kind not in _ARRAYS[column.type]:
        values, wrong = np.full(len(values), math.nan), ~missing
    return Values(values.astype(object if column.type == "string" else np.float64), missing, wrong & ~missing)


def _problems(column: Column, values: NDArray[Any], missing: Mask, wrong: Mask, beyond: Beyond) -> Iterator[Unmet]:
    if not column.nullable:
        yield "missing", _MISSING, np.flatnonzero(missing)
    yield "type", f"is not {column.kind}", np.flatnonzero(wrong)
    yield from unmet(column, values, np.flatnonzero(~(missing | wrong)), beyond)


def faults_beyond(contract: Contract, columns: Columns) -> list[Fault]:
    """The numbers beyond the range in which the model is proven, in rows that are otherwise sound."""
    found = []
    for column in contract.columns:
        if proven := column.open_range:
            low, high = proven
            (far,) = np.nonzero((columns[column.name] < low) | (columns[column.name] > high))
            words = next(one.problem for one in requirements(column) if one.kind == "beyond")
            found += [Fault(row, column.name, words, hint_of(column), "beyond") for row in far.tolist()]
    return sorted(found, key=lambda fault: fault.row)


def faults_of_answers(prediction: Prediction) -> list[Fault]:
    """The rows that the model has no finite answer for."""
    numbers = prediction.numbers
    if numbers.dtype.kind not in "fiu":
        return []  # labels
    finite = np.isfinite(numbers)
    if np.count_nonzero(finite) == finite.size:  # a fifth of what `all` takes for one row
        return []
    rows = np.flatnonzero(~finite.reshape(len(numbers), -1).all(axis=1)).tolist()
    hint = "Give values nearer to those that the model was trained on"
    return [Fault(row, None, "has no finite answer", hint, "no_answer") for row in rows]
