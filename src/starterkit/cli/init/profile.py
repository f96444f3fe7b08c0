"""What a column holds: its kind, its values in that kind, how the file writes them, its range and its categories."""

import math
import re
import unicodedata
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas.api import types

from starterkit.cli.init.headers import says_id, word_set
from starterkit.cli.init.notation import (
    Moments,
    are_plain_decimals,
    looks_like_number,
    read_moments,
    read_numbers,
    stands_for_none,
)
from starterkit.contract import AS_DECLARED, LEAST_PEOPLE, Scalar, Written

Kind = Literal["integer", "float", "boolean", "text", "date", "nothing"]

_EXACT = 2**53
"""Up to here every whole number is a float64 of its own."""
_FLAGS = {"true": True, "false": False}
_TICKS = word_set("y yes x 1 1.0 t true j ja si oui on checked ✓ ✔ * +")
_SMALL_DATE = re.compile(r"\s*\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}([T ].*)?")
_MOST_STRANGERS = 3
_VALUES_A_STRANGER = 10
_SHOWN = 20


@dataclass(frozen=True)
class ColumnProfile:
    """What one column holds.

    Attributes
    ----------
    values
        In the column's kind; NaN where one is missing.
    written
        How the file writes it: texts that stand for a missing value, signs between a number's digits.
    review
        What is doubtful in it, a sentence for each thing.
    moments
        Of a date: what its texts are.
    sensitive
        Whether it speaks of a person's own affairs.
    whole
        The same in all rows, where these are some of them: who asks about the others gets an answer too.
    """

    header: str
    kind: Kind
    values: pd.Series
    written: Written = AS_DECLARED
    review: tuple[str, ...] = ()
    moments: Moments | None = None
    sensitive: bool = False
    whole: "ColumnProfile | None" = None

    @cached_property
    def known(self) -> pd.Series:
        return self.values.dropna() if self.missing else self.values

    @cached_property
    def missing(self) -> int:
        return int(np.count_nonzero(self.values.isna().to_numpy()))

    @cached_property
    def distinct(self) -> int:
        return int(self.values.nunique())

    @property
    def is_number(self) -> bool:
        return self.kind in ("integer", "float")

    @cached_property
    def is_whole(self) -> bool:
        """Whether it is one of whole numbers, also where they are written as 1.0."""
        return self.is_number and bool((self.known.to_numpy() % 1 == 0).all())

    @cached_property
    def is_unique(self) -> bool:
        return not self.missing and self.distinct == len(self.values)

    def at(self, rows: pd.Series) -> "ColumnProfile":
        return self if rows.all() else replace(self, values=self.values[rows].reset_index(drop=True), whole=self)


def profile(header: str, values: pd.Series, none: Collection[str] = ()) -> ColumnProfile:
    """See what a column holds. Nothing is rounded; what stands among numbers and is none is named for review.

    Parameters
    ----------
    none
        Words that stand for a missing value in texts too.
    """
    if types.is_datetime64_any_dtype(values):
        return ColumnProfile(header, "date", values, moments=Moments({}))
    if types.is_bool_dtype(values) or types.is_numeric_dtype(values):
        return _typed(header, values)
    texts = values if values.dtype == "str" else values.astype("str").where(values.notna())
    distinct = [str(text) for text in texts.dropna().unique()]
    if are_plain_decimals(distinct):  # most columns of a wide table
        return ColumnProfile(header, "float", texts.astype("float64"))
    filled = [text for text in distinct if text.strip()]
    if tick := _tick(filled, texts):
        flags = {tick: True, "": False}
        return ColumnProfile(header, "boolean", (texts == filled[0]).astype("float64"), Written(flags=flags))
    known = [text for text in filled if not stands_for_none(text)]
    if not known:
        nothing = pd.Series(np.nan, index=texts.index)
        return ColumnProfile(header, "nothing", nothing, Written(missing=_missing(distinct, ())))
    return (
        _numbers(header, texts, distinct, known)
        or _dates(header, texts, distinct, known)
        or _booleans(header, texts, distinct, known)
        or _texts(header, texts, distinct, none)
    )


def _tick(filled: Sequence[str], texts: pd.Series) -> str:
    """The one text of a column that says yes or nothing: ``Y`` or empty, 1 or empty."""
    alone = len(filled) == 1 and filled[0].strip().casefold() in _TICKS
    return filled[0].strip() if alone and (texts.isna() | (texts.str.strip() == "")).any() else ""


def _missing(distinct: Sequence[str], values: Collection[str]) -> tuple[str, ...]:
    """What stands for a missing value; an empty field does so anyway, and blanks have to be said."""
    return tuple(sorted({text.strip() or text for text in distinct if text not in values and text}))


def _strangers(texts: pd.Series, known: Sequence[str], odd: Sequence[str]) -> tuple[str, ...] | None:
    """A sentence for each of the few texts that are no value of the column; None where they are too many."""
    if len(odd) > _MOST_STRANGERS or len(odd) * _VALUES_A_STRANGER > len(known) - len(odd):
        return None
    if texts.isin(odd).sum() > texts.isin(known).sum() / 2:
        return None
    return tuple(f"{_place(texts, text, text)} is read as missing: write what it means in load()" for text in odd)


def _place(values: pd.Series, value: Scalar, text: str) -> str:
    rows = np.flatnonzero(values == value)
    count = "1 row" if len(rows) == 1 else f"{len(rows)} rows"
    shown = text.strip() if len(text.strip()) <= _SHOWN else f"{text.strip()[:_SHOWN]}…"
    return f"'{shown}' in {count} (first in row {rows[0] + 1})"


def _numbers(header: str, texts: pd.Series, distinct: Sequence[str], known: Sequence[str]) -> ColumnProfile | None:
    if _looks_like_date(header, known):
        return None
    review: tuple[str, ...] | None = ()
    if (numerals := read_numbers(known)) is None:
        odd = [text for text in known if not looks_like_number(text)]
        review = _strangers(texts, known, odd)
        numerals = read_numbers([text for text in known if text not in odd]) if odd and review else None
    if numerals is None or review is None:
        return None
    rare = [text for text in distinct if text not in known and text.strip() and _is_rare(texts, text)]
    review += tuple(f"{_place(texts, text, text)} is read as missing" for text in rare)
    review += (numerals.doubt,) if numerals.doubt else ()
    written = replace(numerals.written, missing=_missing(distinct, numerals.values))
    values = texts.map(numerals.values).astype("float64")
    kind = _kind_of_whole(header, [*numerals.values]) if numerals.is_whole else "float"
    if kind == "text":
        written = Written(missing=written.missing)
        return ColumnProfile(header, "text", texts.where(values.notna()), written, review)
    return ColumnProfile(header, kind, values, written, review)


def _is_rare(texts: pd.Series, marker: str) -> bool:
    """Whether a marker for missing is in a row or two, or says that there is a value: infinity."""
    return "inf" in marker.casefold() or int((texts == marker).sum()) <= _FEWEST_MARKED


_FEWEST_MARKED = 2


def _looks_like_date(header: str, known: Sequence[str]) -> bool:
    """Eight digits that are days in every row, or six that are months in many."""
    lengths = {len(text.strip()) for text in known}
    if says_id(header) or lengths not in ({8}, {6}) or (lengths == {6} and len(known) < _FEWEST_MONTHS):
        return False
    return all(text.strip().isdigit() for text in known) and read_moments(known) is not None


_FEWEST_MONTHS = 10


def _dates(header: str, texts: pd.Series, distinct: Sequence[str], known: Sequence[str]) -> ColumnProfile | None:
    odd = [text for text in known if not any(map(str.isdigit, text))]
    review = _strangers(texts, known, odd) if odd else ()
    days = [text for text in known if text not in odd]
    if review is None:
        return None
    moments = read_moments(days)
    if moments is None and not all(map(_SMALL_DATE.fullmatch, days)):
        return None
    review += (moments.doubt,) if moments and moments.doubt else ()
    written = Written(missing=_missing(distinct, days))
    return ColumnProfile(header, "date", texts.where(texts.isin(days)), written, review, moments)


def _booleans(header: str, texts: pd.Series, distinct: Sequence[str], known: Sequence[str]) -> ColumnProfile | None:
    if not all(text.casefold() in _FLAGS for text in known):
        return None
    flags = texts.str.casefold().map(_FLAGS).astype("float64")
    return ColumnProfile(header, "boolean", flags, Written(missing=_missing(distinct, known)))


def _texts(header: str, texts: pd.Series, distinct: Sequence[str], none: Collection[str]) -> ColumnProfile:
    known = [text for text in distinct if text.strip() and text.strip() not in none]
    values, written = texts.where(texts.isin(known)), Written(missing=_missing(distinct, known))
    column = ColumnProfile(header, "text", values, written)
    spellings = _spellings(column.known)
    if spellings is None:
        return column
    told = f"{len(known)} spellings of {len(set(spellings.values()))} values: blanks, case and form make no other"
    return replace(column, values=values.map(spellings), written=replace(written, trim=True), review=(told,))


def _spellings(known: pd.Series) -> Mapping[str, str] | None:
    """By text, the usual spelling of the same; None where all differ in more than blanks, case and form.

    Texts that hardly repeat are no categories, and need none.
    """
    counts = known.value_counts()
    if len(counts) > len(known) / 2:
        return None
    usual: dict[str, str] = {}
    for text in counts.index:  # the most frequent first
        usual.setdefault(_folded(text), unicodedata.normalize("NFC", text).strip())
    if len(usual) == len(counts):
        return None
    listed = len(usual) <= _MOST_CATEGORIES
    return {text: usual[_folded(text)] if listed else _folded(text) for text in counts.index}


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip().casefold()


def _kind_of_whole(header: str, known: Sequence[str]) -> Kind:
    """An id that a float would round, or that is not written as a number is, stays as it is written."""
    exact = all(abs(float(text)) <= _EXACT for text in known if re.fullmatch(r"\s*[-+]?\d+\s*", text))
    if says_id(header):
        return "integer" if exact and all(re.fullmatch(r"0|-?[1-9]\d*", text) for text in known) else "text"
    return "integer" if exact else "float"


def _typed(header: str, values: pd.Series) -> ColumnProfile:
    """A Parquet file's own types."""
    if types.is_bool_dtype(values):
        return ColumnProfile(header, "boolean", values.astype("float64"))
    given = values.astype("float64")
    infinite = {str(sign): float(sign) for sign in (np.inf, -np.inf) if (given == sign).any()}
    floats = given.replace([np.inf, -np.inf], np.nan)
    if floats.isna().any() and (floats.dropna() == 1).all() and floats.notna().any():
        return ColumnProfile(header, "boolean", floats.fillna(0.0), Written(flags={"1": True, "": False}))
    if floats.isna().all():
        return ColumnProfile(header, "nothing", floats)
    if not types.is_integer_dtype(values):
        review = tuple(f"{_place(given, number, text)} is read as missing" for text, number in infinite.items())
        return ColumnProfile(header, "float", floats, Written(missing=tuple(infinite)), review)
    texts = values.astype("str").where(values.notna())
    kind = _kind_of_whole(header, [str(text) for text in texts.dropna().unique()])
    return ColumnProfile(header, kind, texts if kind == "text" else floats)


# Numbers that people write where there is none.
_FOR_NONE = frozenset([-9, -99, -999, -9999, -99999, 99, 999, 9999, 99999, 999999])
_FEWEST_FOR_NONE = 3


def doubt_of_numbers(column: ColumnProfile) -> tuple[str, ...]:
    """A -999 or 9999 that comes again and again, far from all others: only who knows the data can say what it is."""
    found = []
    values = column.known.to_numpy() if column.is_number and len(column.known) else np.zeros(1)
    for value in (values.min(), values.max()):
        others = values[values != value]
        if value not in _FOR_NONE or not len(others) or len(values) - len(others) < _FEWEST_FOR_NONE:
            continue
        low, high = others.min(), others.max()
        if low >= 0 if value < 0 else value - high > high - low:
            what = _place(column.values, value, f"{value:.0f}")
            found.append(f"{what} is far from the others: if it says missing, nullable=True and Written(missing=…)")
    return tuple(found)


# --- Bounds and categories for the schema: wide enough for the next file, and nobody's own value.

_MOST_CATEGORIES = 20
_LONGEST_CATEGORY = 80
_FEWEST_ROWS_COMMON = 3


def bounds(column: ColumnProfile) -> tuple[float, float]:
    """The smallest and the largest value, a tenth of their distance further out, rounded outwards to a digit or two.

    So no bound is a row's own value. What is never negative gets no negative bound.
    """
    low, high = float(column.known.min()), float(column.known.max())
    span = (high - low) or abs(high) or 1.0
    exponent = math.floor(math.log10(span))
    if column.kind == "integer":
        exponent = max(exponent, 0)
    wider = low - span / 10, high + span / 10
    lowest, highest = _down(wider[0], exponent), -_down(-wider[1], exponent)
    if low >= 0:
        lowest = max(lowest, 0.0)
    if high <= 0:
        highest = min(highest, 0.0)
    return lowest, highest


def _down(value: float, exponent: int) -> float:
    steps = math.floor(value / 10.0**exponent)
    return float(steps * 10**exponent) if exponent >= 0 else float(f"{steps}e{exponent}")


def categories(column: ColumnProfile) -> tuple[Scalar, ...]:
    """The values of a text, or of a sensitive or two-valued whole number; empty where they are not to be listed.

    They are few and several rows share them: a name or an address never is. A text without a list takes any value.
    """
    if column.kind not in ("integer", "text"):
        return ()
    counts = column.known.value_counts()
    if column.kind == "integer":
        few = len(counts) == 2 or (column.sensitive and len(counts) <= 5)
        whole = counts.min() >= LEAST_PEOPLE and few
        return tuple(sorted(int(value) for value in counts.index)) if whole else ()
    if len(counts) > _MOST_CATEGORIES:
        return ()
    short = all(len(str(value)) <= _LONGEST_CATEGORY and str(value).isprintable() for value in counts.index)
    shared = counts.min() >= LEAST_PEOPLE if column.sensitive else counts.mean() >= LEAST_PEOPLE
    return tuple(sorted(map(str, counts.index))) if short and shared else ()


def repeats(column: ColumnProfile) -> bool:
    """Whether at least half of the rows have a value that others have too: there is something to learn of it."""
    counts = column.known.value_counts()
    fewest = LEAST_PEOPLE if column.sensitive else _FEWEST_ROWS_COMMON
    return bool(counts[counts >= fewest].sum() * 2 >= len(column.known))


def signature(values: pd.Series) -> tuple[Any, ...]:
    """The same for two columns that say the same in every row; where values repeat often, also in other words."""
    codes, distinct = pd.factorize(values)
    if len(distinct) > len(values) / 10:  # values that hardly repeat can always be translated into each other
        return str(values.dtype), pd.util.hash_pandas_object(values, index=False).to_numpy().tobytes()
    return (codes.tobytes(),)


def duplicates(columns: Sequence[ColumnProfile]) -> float:
    """The share of rows that say the same as an earlier one."""
    said = pd.DataFrame({place: one.values for place, one in enumerate(columns)})
    return float(said.duplicated().mean()) if len(columns) else 0.0
