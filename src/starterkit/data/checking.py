"""Everything that is wrong with a table, all at once, and without showing a sensitive value."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
from numpy.typing import NDArray
from pandera.errors import SchemaErrorReason, SchemaErrors

from starterkit.data.conversion import convert, typed
from starterkit.errors import DataError
from starterkit.problem import Problem

_ROWS_SHOWN = 5
_COLUMNS_SHOWN = 20
_WHOLE_ROW = "(whole row)"


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
        mend = "Mend the rows, or the schema in the project's problem.py"
        super().__init__(f"{what}; first, {telling.column} {telling.check.rstrip('?')}", mend)


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
    converted, sound = {}, {}
    for column in problem.columns:
        values, wrong = convert(column, frame[column.name])
        missing = values.isna().to_numpy() & ~wrong & (not column.nullable)
        if wrong.any():
            failures.append(_failure(column.name, f"is not {column.expected}", np.flatnonzero(wrong)))
        if missing.any():
            failures.append(_failure(column.name, "is missing a value", np.flatnonzero(missing)))
        converted[column.name], sound[column.name] = values, ~wrong & ~missing
    failures += _schema_failures(problem, pd.DataFrame(converted), pd.DataFrame(sound))
    if failures:
        raise InvalidData(where, failures)
    return pd.DataFrame({column.name: typed(column, converted[column.name]) for column in problem.columns})


def _wrong_columns(problem: Problem, frame: pd.DataFrame, where: str) -> list[Failure]:
    expected = [column.name for column in problem.columns]
    missing = [name for name in expected if name not in frame]
    if missing and len(frame.columns) == 1 and len(expected) > 1:
        raise DataError(f"{where} has one column, the schema has {len(expected)}", "Separate the columns with commas")
    if missing == expected and not any(_near(str(name), expected) for name in frame.columns):
        # Without a header the names would be somebody's values.
        mend = f"Begin the file with a header line: {', '.join(expected)[:200]}"
        raise DataError(f"{where} has none of the schema's columns", mend)
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


def _schema_failures(problem: Problem, frame: pd.DataFrame, sound: pd.DataFrame) -> list[Failure]:
    """What pandera says: of each column where its values are sound, and of the rows that are sound throughout.

    The types are known to fit by now, and a nullable whole number is a float, so pandera isn't asked about types.
    """
    schema = problem.schema.to_schema()
    failures = []
    for column in problem.columns:
        declared = pa.DataFrameSchema({column.name: schema.columns[column.name]})
        declared = declared.update_columns({column.name: {"dtype": None, "coerce": False}})
        rows = frame.loc[sound[column.name], [column.name]]
        failures += _failures_of(declared, pd.DataFrame({column.name: typed(column, rows[column.name])}))
    whole = frame[sound.all(axis="columns")]
    whole = pd.DataFrame({column.name: typed(column, whole[column.name]) for column in problem.columns})
    return failures + _failures_of(pa.DataFrameSchema(checks=schema.checks, unique=schema.unique), whole)


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
        "greater_than": "is not above",
        "less_than": "is not below",
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
