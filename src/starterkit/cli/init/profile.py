"""What a column is: its name, what its name and its values say of its meaning, its kind, its range."""

import keyword
import math
import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from pandas.api import types

from starterkit.contract import Scalar

# --- Headers as people write them, and the names that Python, pandera and the API can carry.


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LONGEST = 40
_LETTERS = str.maketrans({"ß": "ss", "ä": "ae", "ö": "oe", "ü": "ue", "æ": "ae", "ø": "o", "µ": "u"})
# What the written module means by them; a column of that name would hide it from the columns after it.
_TAKEN = _words("feature target identifier group time int float str bool record self cls split")
_CLASSES = _words("Problem Holdout Source Pipeline")
# pandera's own attributes of a `DataFrameModel`.
_OF_PANDERA = _words("config empty example strategy validate to_schema to_yaml get_metadata")


def plain(text: str) -> str:
    """Lower-case ASCII words with underscores between them: ``"Größe (cm)"`` becomes ``groesse_cm``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", unicodedata.normalize("NFC", text))
    letters = unicodedata.normalize("NFKD", words.casefold().translate(_LETTERS)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", letters).strip("_")


def column_names(headers: Iterable[str]) -> dict[str, str]:
    """By header, a name that the schema can carry. A header that is one already keeps it. No name comes twice."""
    headers = list(headers)
    names = {header: header for header in headers if _may_stay(header)}
    for place, header in enumerate(headers, start=1):
        if header not in names:
            names[header] = _free(_name(header, place), names.values())
    return {header: names[header] for header in headers}


def problem_name(stem: str) -> str:
    """``"Breast Cancer_v2"`` as the problem's name: ``breast-cancer-v2``."""
    return plain(stem).replace("_", "-") or "my-problem"


def class_name(name: str) -> str:
    """``breast-cancer`` as the schema's: ``BreastCancer``."""
    words = "".join(word.capitalize() for word in name.split("-"))
    return words if words.isidentifier() and words not in _CLASSES else f"Rows{words}"


def _may_stay(header: str) -> bool:
    short = re.fullmatch(r"[a-z][a-z0-9_]*", header) is not None and len(header) <= _LONGEST
    return short and not header.endswith("_") and not _is_taken(header)


def _is_taken(name: str) -> bool:
    return keyword.iskeyword(name) or keyword.issoftkeyword(name) or name in _TAKEN | _OF_PANDERA


def _name(header: str, place: int) -> str:
    name = plain(header)[:_LONGEST].rstrip("_")
    if not name:
        return f"column_{place}"
    if name[0].isdigit():
        name = f"n{name}"
    return f"{name}_value" if _is_taken(name) else name


def _free(name: str, taken: Iterable[str]) -> str:
    used, number, free = set(taken), 2, name
    while free in used:
        free, number = f"{name}_{number}", number + 1
    return free


# --- What a column's name, and the form of its values, say of its meaning. Each is a guess that somebody has to review.


# Who somebody is. Such a column is left out: its values never reach the model, the code or a log.
_DIRECT = _words("""
    firstname lastname surname forename fullname username nickname email mail phone telephone mobile fax cell
    address street iban bic ssn passport ip imei vorname nachname telefon adresse strasse anschrift
""")
_NAME_OF = _words("""
    first last full family given middle maiden user customer patient client employee person
""")
# What helps to single somebody out, or is special by law.
_SENSITIVE = _words("""
    age sex gender birth birthday birthdate dob born zip zipcode postcode postal plz latitude longitude lat lon
    income salary wage race ethnicity ethnic religion nationality citizenship marital diagnosis disease disability
    pregnant pregnancy medication hiv alter geschlecht geburt geburtsdatum geburtstag gehalt einkommen
""")
_IDS = _words("id uuid guid")
_WHOSE = _words("patient customer user subject client machine device person household")
_UNITS = {
    "mm": "mm", "cm": "cm", "km": "km", "kg": "kg", "mg": "mg", "ml": "ml", "kmh": "km/h", "mph": "mph",
    "mmhg": "mm Hg", "kw": "kW", "kwh": "kWh", "hz": "Hz", "ms": "ms", "seconds": "s", "minutes": "min", "hours": "h",
    "days": "days", "months": "months", "years": "years", "eur": "€", "usd": "$", "percent": "%", "pct": "%",
    "celsius": "°C",
}  # fmt: skip
_IN_BRACKETS = _UNITS | {"m": "m", "g": "g", "l": "l", "s": "s", "h": "h", "%": "%", "€": "€", "$": "$", "°c": "°C"}
_EMAIL = r"[^@\s]+@[^@\s]+\.[^@\s]+"
_ADDRESS_OF_MACHINE = r"(\d{1,3}\.){3}\d{1,3}"
_PHONE = r"\+\d[\d ()/-]{6,}"


def names_somebody(header: str, values: pd.Series) -> bool:
    """Whether the column says who a row is about: a name, an address, a number to call."""
    words = plain(header).split("_")
    named = "name" in words and (len(words) == 1 or not _NAME_OF.isdisjoint(words))
    if named or not _DIRECT.isdisjoint(words):
        return True
    texts = values.dropna()
    if not pd.api.types.is_string_dtype(texts) or texts.empty:
        return False
    forms = (_EMAIL, _ADDRESS_OF_MACHINE, _PHONE)
    return any(bool(texts.str.fullmatch(form).mean() > 0.5) for form in forms)


def is_sensitive(header: str) -> bool:
    """Whether the name is one of those that speak of a person's own affairs."""
    return not _SENSITIVE.isdisjoint(plain(header).split("_"))


def says_id(header: str) -> bool:
    """Whether the column is called an id: ``"CustomerID"``, ``"patient"``."""
    words = plain(header).split("_")
    return words[-1] in _IDS or words[0] in _IDS or (len(words) == 1 and words[0] in _WHOSE)


def counts_rows(header: str, values: pd.Series) -> bool:
    """Whether the column is the row's number, as pandas writes it beside a table: it says nothing of the record."""
    called = plain(header) in ("", "unnamed_0", "index", "row", "row_number", "level_0")
    numbers = pd.to_numeric(values, errors="coerce")
    return called and bool((numbers.diff().dropna() > 0).all() and numbers.notna().all())


def unit_of(header: str) -> str:
    """The unit that the name ends with: ``"sepal length (cm)"``, ``weight_kg``. Empty where it says none."""
    if bracketed := re.search(r"[(\[]([^)\]]+)[)\]]\s*$", header):
        return _IN_BRACKETS.get(bracketed[1].strip().casefold(), "")
    words = plain(header).split("_")
    return _UNITS.get(words[-1], "") if len(words) > 1 else ""


# --- What a column holds: its kind, its values in that kind, and the texts that stand for a missing value.

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
class ColumnProfile:
    """What one column holds.

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


def profile(header: str, values: pd.Series) -> ColumnProfile:
    """See what a column holds. Nothing is rounded: a column with one odd text in it is a column of texts."""
    if types.is_datetime64_any_dtype(values):
        return ColumnProfile(header, "date", values)
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
        return ColumnProfile(header, "text", texts.where(~blank), _told(texts[blank]))
    return ColumnProfile(header, kind, _in_kind(rest, kind), _told(texts[empty]))


def _told(texts: pd.Series) -> tuple[str, ...]:
    return tuple(sorted(texts.unique()))


def _kind_of_whole(header: str, known: pd.Series) -> Kind:
    """An id that a float would round, or that is not written as a number is, stays as it is written."""
    exact = bool((pd.to_numeric(known).abs() <= _EXACT).all())
    if says_id(header):
        return "integer" if exact and known.str.fullmatch(r"0|-?[1-9]\d*").all() else "text"
    return "integer" if exact else "float"


def _typed(header: str, values: pd.Series) -> ColumnProfile:
    """A Parquet file's own types."""
    if types.is_bool_dtype(values):
        return ColumnProfile(header, "boolean", values.astype("float64"))
    floats = values.astype("float64").replace([np.inf, -np.inf], np.nan)
    if floats.isna().all():
        return ColumnProfile(header, "nothing", floats)
    if not types.is_integer_dtype(values):
        return ColumnProfile(header, "float", floats)
    texts = values.astype("str").where(values.notna())
    kind = _kind_of_whole(header, texts.dropna())
    return ColumnProfile(header, kind, texts if kind == "text" else floats)


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


# --- Bounds and categories for the schema: wide enough for the next file, and nobody's own value.

_MOST_CATEGORIES = 20
_LONGEST_CATEGORY = 40
_LONGEST_SENSITIVE = 20
_FEWEST_ROWS_EACH = 5
"""A value that fewer rows share could point at somebody."""


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


def categories(column: ColumnProfile, sensitive: bool) -> tuple[Scalar, ...]:
    """The values of a text, or of a sensitive or two-valued whole number; empty where they are not to be listed.

    They are few and short, and several rows share each of them: a name or an address never is.
    """
    counts = column.known.value_counts()
    if column.kind == "integer":
        few = len(counts) == 2 or (sensitive and len(counts) <= 5)
        whole = counts.min() >= _FEWEST_ROWS_EACH and few
        return tuple(sorted(int(value) for value in counts.index)) if whole else ()
    if column.kind != "text" or len(counts) > _MOST_CATEGORIES:
        return ()
    longest = _LONGEST_SENSITIVE if sensitive else _LONGEST_CATEGORY
    short = all(len(str(value)) <= longest and str(value).isprintable() for value in counts.index)
    shared = counts.min() >= _FEWEST_ROWS_EACH if sensitive else counts.mean() >= _FEWEST_ROWS_EACH
    return tuple(sorted(map(str, counts.index))) if short and shared else ()


def same_values(one: pd.Series, other: pd.Series) -> bool:
    """Whether two columns say the same in every row; where values repeat often, also in other words or numbers."""
    if (one.isna() != other.isna()).any():
        return False
    if one.nunique() > len(one) / 10:  # values that hardly repeat can always be translated into each other
        return one.dtype == other.dtype and bool(((one == other) | one.isna()).all())
    return bool((pd.factorize(one)[0] == pd.factorize(other)[0]).all())
