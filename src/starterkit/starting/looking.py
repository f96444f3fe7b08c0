"""What a column holds: its kind, its values in that kind, and the texts that stand for a missing value."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from pandas.api import types

from starterkit.starting.guessing import says_id

Kind = Literal["integer", "float", "boolean", "text", "date", "nothing"]

_NO_VALUE = frozenset(
    ["na", "n/a", "#n/a", "nan", "null", "none", "nil", "?", "-", "--", ".", "missing", "unknown", "k.a.", "keine"]
)
_EXACT = 2**53
"""Up to here every whole number is a float64 of its own."""
_FLAGS = {"true": True, "false": False}
_INTEGER = r"\s*[-+]?\d+\s*"
_DATE = r"\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4})([T ].*)?"


@dataclass(frozen=True)
class Sight:
    """One column, looked at.

    Attributes
    ----------
    values
        In the column's kind; NaN where one is missing.
    no_value
        The texts that stand for a missing value: blanks in any column, and in one of numbers such as ``"?"``.
    """

    header: str
    kind: Kind
    values: pd.Series
    no_value: tuple[str, ...] = ()

    @property
    def known(self) -> pd.Series:
        return self.values.dropna()

    @property
    def missing(self) -> int:
        return int(self.values.isna().sum())

    @property
    def distinct(self) -> int:
        return int(self.values.nunique())

    @property
    def is_number(self) -> bool:
        return self.kind in ("integer", "float")


def look(header: str, values: pd.Series) -> Sight:
    """See what a column holds. Nothing is rounded: a column with one odd text in it is a column of texts."""
    if types.is_datetime64_any_dtype(values):
        return Sight(header, "date", values)
    if types.is_bool_dtype(values) or types.is_numeric_dtype(values):
        return _typed(header, values)
    texts = values.astype("str").where(values.notna())
    blank = texts.str.strip() == ""
    empty = blank | texts.str.strip().str.casefold().isin(_NO_VALUE)
    rest = texts.where(~empty)
    kind = _kind_of(rest.dropna())
    if kind == "integer":
        kind = _kind_of_whole(header, rest.dropna())
    if kind == "text":
        return Sight(header, "text", texts.where(~blank), _told(texts[blank]))
    return Sight(header, kind, _in_kind(rest, kind), _told(texts[empty]))


def _told(texts: pd.Series) -> tuple[str, ...]:
    return tuple(sorted(texts.unique()))


def _kind_of_whole(header: str, known: pd.Series) -> Kind:
    """An id that a float would round, or that is not written as a number is, stays as it is written."""
    exact = bool((pd.to_numeric(known).abs() <= _EXACT).all())
    if says_id(header):
        return "integer" if exact and known.str.fullmatch(r"0|-?[1-9]\d*").all() else "text"
    return "integer" if exact else "float"


def _typed(header: str, values: pd.Series) -> Sight:
    """A Parquet file's own types."""
    if types.is_bool_dtype(values):
        return Sight(header, "boolean", values.astype("float64"))
    floats = values.astype("float64").replace([np.inf, -np.inf], np.nan)
    if floats.isna().all():
        return Sight(header, "nothing", floats)
    if not types.is_integer_dtype(values):
        return Sight(header, "float", floats)
    texts = values.astype("str").where(values.notna())
    kind = _kind_of_whole(header, texts.dropna())
    return Sight(header, kind, texts if kind == "text" else floats)


def _kind_of(known: pd.Series) -> Kind:
    if known.empty:
        return "nothing"
    if known.str.casefold().isin(_FLAGS).all():
        return "boolean"
    numbers = pd.to_numeric(known, errors="coerce")
    if np.isfinite(numbers.astype("float64")).all():
        if known.str.fullmatch(r"\s*0\d+\s*").any():  # a code such as 007
            return "text"
        return "integer" if known.str.fullmatch(_INTEGER).all() else "float"
    return "date" if known.str.fullmatch(_DATE).all() else "text"


def _in_kind(texts: pd.Series, kind: Kind) -> pd.Series:
    if kind in ("integer", "float"):
        return pd.to_numeric(texts).astype("float64")
    return texts.str.casefold().map(_FLAGS).astype("float64") if kind == "boolean" else texts
