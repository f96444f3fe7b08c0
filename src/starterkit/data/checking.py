"""Everything that is wrong with a table, all at once, and without showing a sensitive value."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from pandera.errors import SchemaErrors

from starterkit.contract import Column
from starterkit.errors import DataError
from starterkit.problem import Problem

_ROWS_SHOWN = 5


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
        what = f"{where} does not fit the schema: {len(failures)} checks failed in {columns} columns"
        super().__init__(what, "Mend the rows, or the schema in the project's problem.py")


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
    sound = np.ones(len(frame), dtype=bool)
    converted = {}
    for column in problem.columns:
        converted[column.name], wrong = _convert(column, frame[column.name])
        if wrong.any():
            failures.append(_failure(column.name, f"is not {column.expected}", np.flatnonzero(wrong)))
            sound &= ~wrong
    result = pd.DataFrame(converted)
    failures += _schema_failures(problem, result[sound])
    if failures:
        raise InvalidData(where, failures)
    return _typed(problem, result)


def _wrong_columns(problem: Problem, frame: pd.DataFrame, where: str) -> list[Failure]:
    expected = [column.name for column in problem.columns]
    missing = [Failure(name, "is missing", (), len(frame)) for name in expected if name not in frame]
    extra = [Failure(str(name), "is not in the schema", (), len(frame)) for name in frame if name not in expected]
    if missing and len(frame.columns) == 1 and len(expected) > 1:
        raise DataError(f"{where} has one column", "Separate the columns with commas")
    return missing + extra


def _convert(column: Column, values: pd.Series) -> tuple[pd.Series, np.ndarray]:
    """The values in the column's type, and which of them are not of it. A missing value is not a wrong one."""
    present = values.notna().to_numpy()
    if column.type == "string":
        return values.astype("str").where(present, None), np.zeros(len(values), dtype=bool)
    if column.type == "datetime":
        dates = pd.to_datetime(values, errors="coerce", format="ISO8601" if values.dtype == "str" else None)
        return dates, present & dates.isna().to_numpy()
    if column.type == "boolean":
        known = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}
        flags = values.astype("str").str.lower().map(known)
        return flags.where(present, None), present & flags.isna().to_numpy()
    numbers = pd.to_numeric(values, errors="coerce").astype("float64")
    wrong = present & ~np.isfinite(numbers.to_numpy())
    if column.type == "integer":
        wrong |= present & (numbers.to_numpy() % 1 != 0)
    return numbers, wrong


def _schema_failures(problem: Problem, frame: pd.DataFrame) -> list[Failure]:
    """What pandera says of the rows whose values have the right type."""
    missing = [
        _failure(column.name, "is missing a value", frame.index[frame[column.name].isna()].to_numpy())
        for column in problem.columns
        if not column.nullable and frame[column.name].isna().any()
    ]
    complete = frame.dropna(subset=[column.name for column in problem.columns if not column.nullable])
    if complete.empty:
        return missing
    try:
        problem.schema.to_schema().validate(_typed(problem, complete), lazy=True)
    except SchemaErrors as errors:
        cases = errors.failure_cases
        cases = cases.assign(column=cases["column"].where(cases["column"].notna(), "(whole row)"))
        for (column, check), found in cases.groupby(["column", "check"], sort=False):
            rows = found["index"].dropna().astype(int).sort_values().to_numpy()
            missing.append(_failure(str(column), _in_words(str(check)), rows))
    return missing


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
    }
    return " ".join(part for part in (words.get(name, f"fails {name}"), rest.removesuffix(")")) if part)


def _typed(problem: Problem, frame: pd.DataFrame) -> pd.DataFrame:
    """The schema's own types, now that every value is known to fit."""
    dtypes = {}
    for column in problem.columns:
        if column.type == "integer" and not frame[column.name].isna().any():
            dtypes[column.name] = "int64"
        elif column.type == "boolean" and not frame[column.name].isna().any():
            dtypes[column.name] = "bool"
        elif column.type == "string":
            dtypes[column.name] = "str"
    return frame.astype(dtypes)


def _failure(column: str, check: str, rows: np.ndarray) -> Failure:
    return Failure(column, check, tuple(int(row) for row in rows[:_ROWS_SHOWN]), len(rows))
