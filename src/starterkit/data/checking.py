"""Everything that is wrong with a table, all at once, and without showing a sensitive value."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pandera.pandas as pa
from numpy.typing import NDArray
from pandas.api import types
from pandera.errors import SchemaErrorReason, SchemaErrors

from starterkit.contract import Column
from starterkit.errors import DataError
from starterkit.problem import Problem
from starterkit.serving.validation import unmet

# --- Values in the type that the schema gives them, and which of them are not of it. Nothing is rounded or guessed.

_EXACT = 2**53
"""Up to here every whole number is a float64 of its own."""

_NUMBERS = frozenset({"integer", "floating", "mixed-integer", "mixed-integer-float", "decimal", "boolean"})
"""What pandas calls a column of objects that has numbers in it."""

Converted = tuple[pd.Series, NDArray[np.bool_]]
_FLAGS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


def convert(column: Column, values: pd.Series) -> Converted:
    """n values in the column's type, and which of them are not of it. A missing value is not a wrong one."""
    if column.type == "string":
        texts = as_text(values)
        return texts, texts.notna().to_numpy() & to_dates(texts)[1] if column.role == "time" else _none(values)
    if column.type == "datetime":
        return to_dates(values)
    if column.type == "boolean":
        flags = as_text(values).str.lower().map(_FLAGS).astype("float64")
        return flags, values.notna().to_numpy() & flags.isna().to_numpy()
    return _numbers(column, values)


def typed(column: Column, values: pd.Series) -> pd.Series:
    """The schema's own type, for values that are known to fit.

    A nullable number or boolean is float64, also where nothing happens to be missing: the type does not depend on
    the rows.
    """
    if column.type in ("integer", "boolean") and not column.nullable:
        return values.astype("int64" if column.type == "integer" else "bool")
    return values.astype("float64") if column.type in ("integer", "boolean", "float") else values


def to_dates(values: pd.Series) -> Converted:
    """n moments without a zone, in UTC where a zone was given, and which of the values are none."""
    present = values.notna().to_numpy()
    if isinstance(values.dtype, pd.PeriodDtype):
        values = values.dt.to_timestamp()
    if types.is_numeric_dtype(values) or types.infer_dtype(values, skipna=True) in _NUMBERS:
        # pandas would count nanoseconds from 1970
        return pd.Series(pd.NaT, index=values.index, dtype="datetime64[us]"), present
    written = types.is_string_dtype(values)
    dates = pd.to_datetime(values, errors="coerce", format="ISO8601" if written else None, utc=True)
    dates = dates.dt.tz_convert(None).astype("datetime64[us]")
    return dates, present & dates.isna().to_numpy()


def as_text(values: pd.Series) -> pd.Series:
    """An empty text is a missing one, as in a CSV file. Ids that were read as 1.0 because one is missing are 1.

    A value's text follows from the value alone, never from the rows beside it: the side of the holdout hangs on it.
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        kind = values.cat.categories.dtype
        values = values.astype(kind if types.is_float_dtype(kind) or types.is_datetime64_any_dtype(kind) else object)
    texts = values.astype("str").where(values.notna())
    if types.is_float_dtype(values):
        numbers = values.astype("float64")
        whole = (numbers % 1 == 0) & (numbers.abs() <= _EXACT)
        texts = texts.mask(whole, numbers.where(whole).astype("Int64").astype("str"))
    elif types.is_datetime64_any_dtype(values):  # pandas writes the hour where another row has one
        texts = texts.str.removesuffix(" 00:00:00")
    elif types.is_object_dtype(values):
        texts = texts.mask(values.map(_is_whole), texts.str.replace(r"\.0+$", "", regex=True))
    return texts.where(texts != "")


def _is_whole(value: object) -> bool:
    return isinstance(value, float | Decimal) and value % 1 == 0 and abs(value) <= _EXACT


def _numbers(column: Column, values: pd.Series) -> Converted:
    present = values.notna().to_numpy()
    if not (types.is_numeric_dtype(values) or types.is_string_dtype(values) or types.is_object_dtype(values)):
        return pd.Series(np.nan, index=values.index), present  # a date would become its nanoseconds
    if types.is_string_dtype(values):
        values = values.str.replace("−", "-", regex=False)
    numbers = pd.to_numeric(values, errors="coerce")
    if column.type == "integer" and types.is_integer_dtype(numbers) and present.all():
        return numbers.astype("int64"), _none(values)  # a float would round a long id
    floats = numbers.astype("float64")
    lost = floats.isna() if column.type == "float" else floats.isna() | (floats.abs() > _EXACT)
    return floats, present & lost.to_numpy()


def _none(values: pd.Series) -> NDArray[np.bool_]:
    return np.zeros(len(values), dtype=bool)


# --- What does not fit the schema.

_ROWS_SHOWN = 5
_COLUMNS_SHOWN = 20
_WHOLE_ROW = "(whole row)"
_IN_CONTRACT = {"greater_than_or_equal_to", "less_than_or_equal_to", "in_range", "isin"}


@dataclass(frozen=True)
class Failure:
    """One check that one column did not pass. Rows count from 0, the header not included."""

    column: str
    check: str
    rows: tuple[int, ...]
    count: int

    @property
    def rows_in_words(self) -> str:
        shown = ", ".join(map(str, self.rows))
        return f"{shown} …" if self.count > len(self.rows) else shown


class InvalidData(DataError):
    """The data is not what the schema says. `failures` has a line for each column and check."""

    def __init__(self, where: str, failures: Sequence[Failure]) -> None:
        self.failures = tuple(failures)
        columns = len({failure.column for failure in failures})
        what = f"{where} does not fit the schema: {_many(len(failures), 'check')} failed in {_many(columns, 'column')}"
        telling = next((failure for failure in failures if "did you mean" in failure.check), failures[0])
        hint = "Mend the rows, or the schema in the project's problem.py"
        super().__init__(f"{what}; first, {telling.column} {telling.check.rstrip('?')}", hint)


def check_frame(problem: Problem, frame: pd.DataFrame, where: str) -> pd.DataFrame:
    """The schema's columns, in its order, with its types.

    Values are converted only where nothing is lost: "7" becomes 7, but 59.5 never becomes the whole number 59.

    Raises
    ------
    InvalidData
        Something does not fit. `failures` names all of it.
    """
    failures = _wrong_columns(problem, frame, where)
    if failures:
        raise InvalidData(where, failures)
    if frame.empty:
        raise DataError(f"{where} has no rows", "Put data there or change data.source in config")
    frame = frame.reset_index(drop=True)
    checked = {column.name: _check_column(column, frame[column.name]) for column in problem.columns}
    failures = [failure for one in checked.values() for failure in one.unfit] + _schema_failures(problem, checked)
    if failures:
        raise InvalidData(where, failures)
    return pd.DataFrame({column.name: typed(column, checked[column.name].values) for column in problem.columns})


class _Checked(NamedTuple):
    """A column after the check that rows and files meet too. `sound` are the rows with a value of its type."""

    values: pd.Series
    sound: NDArray[np.bool_]
    unfit: list[Failure]
    out_of_range: list[Failure]


def _check_column(column: Column, given: pd.Series) -> _Checked:
    values, wrong = convert(column, given)
    missing = values.isna().to_numpy() & ~wrong
    found = list(unmet(column, values.to_numpy(), np.flatnonzero(~(wrong | missing))))
    of_type = np.concatenate([np.flatnonzero(wrong), *(rows for kind, _, rows in found if kind == "type")])
    absent = np.flatnonzero(missing & (not column.nullable))
    told = [(f"is not {column.expected}", np.sort(of_type)), ("is missing a value", absent)]
    words = {"category": f"is none of {list(column.categories)}"}
    beyond = [(words.get(kind, problem), rows) for kind, problem, rows in found if kind != "type"]
    sound = np.ones(len(values), np.bool_)
    sound[of_type] = sound[absent] = False
    unfit, out_of_range = ([_failure(column.name, *one) for one in some if len(one[1])] for some in (told, beyond))
    return _Checked(values, sound, unfit, out_of_range)


def _wrong_columns(problem: Problem, frame: pd.DataFrame, where: str) -> list[Failure]:
    expected = [column.name for column in problem.columns]
    missing = [name for name in expected if name not in frame]
    if missing and len(frame.columns) == 1 and len(expected) > 1:
        raise DataError(f"{where} has one column, the schema has {len(expected)}", "Separate the columns with commas")
    if missing == expected and not any(_near(str(name), expected) for name in frame.columns):
        # Without a header the names would be somebody's values.
        hint = f"Begin the file with a header line: {', '.join(expected)[:200]}"
        raise DataError(f"{where} has none of the schema's columns", hint)
    names = list(map(str, frame.columns))
    repeated = [name for name in expected if names.count(name) > 1]
    extra = [name for name in names if name not in expected]
    failures = [Failure(name, "is missing", (), len(frame)) for name in missing]
    failures += [Failure(name, "is there more than once", (), len(frame)) for name in repeated]
    failures += [Failure(name[:100], _unknown(name, missing), (), len(frame)) for name in extra[:_COLUMNS_SHOWN]]
    if len(extra) > _COLUMNS_SHOWN:
        rest = f"{len(extra) - _COLUMNS_SHOWN} more columns"
        failures.append(Failure(rest, "are not in the schema", (), len(frame)))
    return failures


def _unknown(name: str, missing: Sequence[str]) -> str:
    near = _near(name, missing) or next(iter(get_close_matches(_plain(name), missing, n=1, cutoff=0.6)), "")
    return "is not in the schema" + (f"; did you mean '{near}'?" if near else "")


def _near(name: str, names: Sequence[str]) -> str:
    """The one of the names that differs in case, spaces or hyphens alone."""
    return next((known for known in names if _plain(known) == _plain(name)), "")


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().casefold())


def _schema_failures(problem: Problem, checked: Mapping[str, _Checked]) -> list[Failure]:
    """What is said of each column where its values are sound, and of the rows that are sound throughout."""
    schema, failures = problem.schema.to_schema(), []
    for column in problem.columns:
        values, sound, _, out_of_range = checked[column.name]
        failures += out_of_range
        declared = schema.columns[column.name]
        # Types are known to fit by now, and a nullable whole number is a float; bounds and categories are asked of
        # every value, here and where the model answers.
        own = [one for one in declared.checks or () if column.type == "datetime" or one.name not in _IN_CONTRACT]
        if own or declared.unique:  # asking pandera of nothing costs more than all the rest
            rows = pd.DataFrame({column.name: typed(column, values[sound])})
            rest = {column.name: {"dtype": None, "coerce": False, "checks": own}}
            failures += _failures_of(pa.DataFrameSchema({column.name: declared}).update_columns(rest), rows)
    if not (schema.checks or schema.unique):
        return failures
    sound = np.logical_and.reduce([one.sound for one in checked.values()])
    whole = {column.name: typed(column, checked[column.name].values[sound]) for column in problem.columns}
    return failures + _failures_of(pa.DataFrameSchema(checks=schema.checks, unique=schema.unique), pd.DataFrame(whole))


def _failures_of(schema: pa.DataFrameSchema, rows: pd.DataFrame) -> list[Failure]:
    if rows.empty:
        return []
    try:
        schema.validate(rows, lazy=True)
    except SchemaErrors as errors:
        return [_of_pandera(next(iter(schema.columns), _WHOLE_ROW), error) for error in errors.schema_errors]
    return []


def _of_pandera(column: str, error: Any) -> Failure:
    name = str(getattr(error.check, "error", None) or getattr(error.check, "name", None) or error.check)
    if error.reason_code == SchemaErrorReason.CHECK_ERROR:  # its message could repeat a value
        return _failure(column, f"has a check that fails itself: {name}", np.array([], dtype=int))
    cases = error.failure_cases
    rows = cases["index"].dropna() if isinstance(cases, pd.DataFrame) and "index" in cases else pd.Series(dtype=int)
    return _failure(column, _in_words(name), np.unique(rows.astype(int)))


def _in_words(check: str) -> str:
    """pandera's check as a person would say it."""
    name, _, rest = check.partition("(")
    words = {
        "greater_than_or_equal_to": "is below",
        "less_than_or_equal_to": "is above",
        "isin": "is none of",
        "field_uniqueness": "is not unique",
        "multiple_fields_uniqueness": "is not unique",
    }
    if name in words:
        return f"{words[name]} {rest.removesuffix(')')}".strip()
    return f"fails {check}"


def _failure(column: str, check: str, rows: NDArray[np.integer]) -> Failure:
    return Failure(column, check, tuple(int(row) for row in rows[:_ROWS_SHOWN]), len(rows))


def _many(count: int, thing: str) -> str:
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"
