"""Values in the type that the schema gives them, and which of them are not of it. Nothing is rounded or guessed."""

from decimal import Decimal

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas.api import types

from starterkit.contract import Column

_EXACT = 2**53
"""Up to here every whole number is a float64 of its own."""

_NUMBERS = frozenset({"integer", "floating", "mixed-integer", "mixed-integer-float", "decimal", "boolean"})
"""What pandas calls a column of objects that has numbers in it."""

Converted = tuple[pd.Series, NDArray[np.bool_]]
_FLAGS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


def convert(column: Column, values: pd.Series) -> Converted:
    """n values in the column's type, and which of them are not of it. A missing value is not a wrong one."""
    if column.type == "string":
        texts = _as_text(values)
        return texts, texts.notna().to_numpy() & to_dates(texts)[1] if column.role == "time" else _none(values)
    if column.type == "datetime":
        return to_dates(values)
    if column.type == "boolean":
        flags = _as_text(values).str.lower().map(_FLAGS).astype("float64")
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


def _as_text(values: pd.Series) -> pd.Series:
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
    numbers = pd.to_numeric(values, errors="coerce")
    if column.type == "integer" and types.is_integer_dtype(numbers) and present.all():
        return numbers.astype("int64"), _none(values)  # a float would round a long id
    floats = numbers.astype("float64")
    wrong = present & ~np.isfinite(floats.to_numpy())
    if column.type == "integer":
        wrong |= present & ((floats % 1 != 0) | (floats.abs() > _EXACT)).to_numpy()
    return floats, wrong


def _none(values: pd.Series) -> NDArray[np.bool_]:
    return np.zeros(len(values), dtype=bool)
