"""Dates as people write them, and what turns them into the ISO dates that the kit's time() takes."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product

import pandas as pd

# --- The forms. Each says how `load` turns a column, for which {} stands, into ISO dates; nothing where it is one.

_ISO = re.compile(r"\s*\d{4}-\d{2}(-\d{2}([T ]\d{2}:\d{2}(:\d{2}([.,]\d+)?)?\s?(Z|[+-]\d{2}:?\d{2})?)?)?\s*")
_PERIODS = {
    re.compile(r"\s*\d{4}[ -]?Q[1-4]\s*"): 'pd.PeriodIndex({}.str.replace(r"[ -]", "", regex=True), freq="Q")',
    re.compile(r"\s*\d{4}[ -]?M\d{1,2}\s*"): 'pd.PeriodIndex({}.str.replace(r" ?M", "-", regex=True), freq="M")',
}
_DAYS = [f"%Y{sign}%m{sign}%d" for sign in "-/."] + ["%Y%m%d", "%Y/%m", "%Y%m"]
_DAYS += [form for sign in "/.-" for form in (f"%m{sign}%d{sign}%Y", f"%d{sign}%m{sign}%Y")]
_DAYS += [form for sign in "/.-" for form in (f"%m{sign}%d{sign}%y", f"%d{sign}%m{sign}%y")]
_DAYS += ["%m/%Y", "%d%b%Y", "%d-%b-%Y", "%d %b %Y", "%d-%b-%y", "%d %B %Y", "%d. %B %Y", "%b %d, %Y", "%B %d, %Y"]
_DAYS += ["%b %d %Y", "%b %Y", "%B %Y", "%b-%Y", "%b-%y", "%Y %b", "%Y-%b"]
_HOURS = ["", " %H:%M", " %H:%M:%S", "T%H:%M:%S", ":%H:%M:%S", " %I:%M %p", " %I:%M:%S %p"]
_FORMATS = [day + hour for day, hour in product(_DAYS, _HOURS)]
_WHOLE = {"%Y%m%d": re.compile(r"\d{8}"), "%Y%m": re.compile(r"\d{6}")}
_SIGNED = re.compile(r"\d.*[-/.: ,A-Za-z].*\d|[A-Za-z]{3,}.*\d|\d{6}(\d\d)?")
_YEARS = (1800, 2100)
_COUNTED_YEARS = (1000, 2200)
_SHOWN = 50


@dataclass(frozen=True)
class Moments:
    """What n distinct texts are as moments.

    `as_iso` is `load`'s expression, `doubt` says what could be read otherwise.
    """

    by_text: dict[str, pd.Timestamp]
    as_iso: str = ""
    doubt: str = ""


def read_moments(texts: Sequence[str]) -> Moments | None:
    """The one form in which all of the distinct texts are dates; None where there is none."""
    if not texts or not all(map(_SIGNED.search, texts[:_SHOWN])):
        return None
    if all(map(_ISO.fullmatch, texts)):
        return _parsed(texts, "ISO8601", "")
    for form, as_iso in _PERIODS.items():
        if all(map(form.fullmatch, texts)):
            stamps = eval(as_iso.format("given"), {"pd": pd}, {"given": pd.Series(texts)}).to_timestamp()  # noqa: S307  # our own words
            return Moments(dict(zip(texts, stamps, strict=True)), f'{as_iso}.strftime("%Y-%m-%d")')
    fitting = [form for form in _FORMATS if all(_is_in(form, text) for text in texts[:_SHOWN])]
    found = [one for form in fitting if (one := _parsed(texts, form, _as_iso(form)))]
    if not found:
        return None
    if len(found) > 1:
        day_first = found[1] if "." in texts[0] else found[0]
        return Moments(day_first.by_text, day_first.as_iso, f"'{texts[0]}' may have the day or the month first")
    return found[0]


def year_of(values: pd.Series) -> bool:
    """Whether all of the numbers are years, or years with a fraction such as 1959.25."""
    return bool(values.between(*_COUNTED_YEARS).all())


def _as_iso(form: str) -> str:
    hours = " %H:%M:%S" if "%H" in form or "%I" in form else ""
    return f'pd.to_datetime({{}}, format="{form}").dt.strftime("%Y-%m-%d{hours}")'


def _is_in(form: str, text: str) -> bool:
    if form in _WHOLE and not _WHOLE[form].fullmatch(text.strip()):
        return False
    try:
        return _YEARS[0] <= datetime.strptime(text.strip(), form).year <= _YEARS[1]  # no zone in it
    except ValueError:
        return False


def _parsed(texts: Sequence[str], form: str, as_iso: str) -> Moments | None:
    stripped = pd.Series(texts).str.strip()
    stamps = pd.to_datetime(stripped, format=form, errors="coerce", utc=True).dt.tz_convert(None)
    if stamps.isna().any() or not stamps.dt.year.between(*_YEARS).all():
        return None
    return Moments(dict(zip(texts, stamps, strict=True)), as_iso)
