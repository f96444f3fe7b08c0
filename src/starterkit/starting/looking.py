"""What a column holds: its kind, its values in that kind, and the texts that stand for a missing value."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from pandas.api import types

Kind = Literal["integer", "float", "boolean", "text", "date", "nothing"]

_NO_VALUE = frozenset(
    ["na", "n/a", "#n/a", "nan", "null", "none", "nil", "?", "-", "--", ".", "missing", "unknown", "k.a.", "keine"]
)
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
        The texts of a column of numbers that stand for a missing value, such as ``"?"``.
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
    texts = texts.where(texts.str.strip() != "")
    empty = texts.str.strip().str.casefold().isin(_NO_VALUE)
    rest = texts.where(~empty)
    kind = _kind_of(rest.dropna())
    if kind == "text":
        return Sight(header, "text", texts)
    no_value = tuple(sorted(texts[empty].unique()))
    return Sight(header, kind, _in_kind(rest, kind), no_value)


def _typed(header: str, values: pd.Series) -> Sight:
    """A Parquet file's own types."""
    if types.is_bool_dtype(values):
        return Sight(header, "boolean", values.astype("float64"))
    floats = values.astype("float64").replace([np.inf, -np.inf], np.nan)
    if floats.isna().all():
        return Sight(header, "nothing", floats)
    return Sight(header, "integer" if types.is_integer_dtype(values) else "float", floats)


def _kind_of(known: pd.Series) -> Kind:
    if known.empty:
        return "nothing"
    if known.str.strip().str.casefold().isin(_FLAGS).all():
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
    return texts.str.strip().str.casefold().map(_FLAGS).astype("float64") if kind == "boolean" else texts
