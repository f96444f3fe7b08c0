"""Numbers and dates as people write them, and what turns them into the schema's."""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import product

import pandas as pd

from starterkit.cli.init.headers import word_set
from starterkit.contract import AS_DECLARED, Written

# --- Dates. Each form says how `load` turns a column, for which {} stands, into ISO dates; nothing where it is one.

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


# --- A text that stands for a missing value among numbers, by its form or by its word.

_NO_VALUE = word_set(
    "na nan nat nv null none nil div value ref num missing unknown unbekannt ka keine nd nr "
    "notavailable notapplicable nodata novalue noanswer keineangabe fehlt undefined inf infinity infinite"
)
_BACKSLASH = re.compile(r"\\[A-Za-z]")


def stands_for_none(text: str) -> bool:
    """Whether a text among numbers says that there is none: ``?``, ``..``, ``n.a.``, ``<NA>``, ``(null)``, ``—``."""
    stripped = text.strip()
    if _BACKSLASH.fullmatch(stripped):
        return True
    if any(sign.isdigit() for sign in stripped) and not stripped.startswith("#"):
        return False
    letters = "".join(sign for sign in stripped if sign.isalpha()).casefold()
    return not letters or letters in _NO_VALUE


# --- How a column writes its numbers.

_SEPARATED = r"\d(?:[\d.,'’\s]*\d)?\.?|[.,]\d+"
_FORM = re.compile(
    rf"\s*(?P<open>\()?\s*(?P<sign>[-+−–]?)\s*(?P<before>[^\d\s().,'+−–-][^\d().,'+−–-]*?)?\s*(?P<inner>[-+−–]?)\s*"
    rf"(?P<digits>(?:{_SEPARATED})(?:[eE][-+−]?\d+)?)\s*(?P<after>[^\d\s().,'’+−–-][^()]*?)?\s*(?P<close>\))?\s*"
)
_MINUS = "-−–"
_BLANKS = re.compile(r"\s")
# The sign before the decimals and the one between thousands, the usual ones first.
_SIGNS = [(".", ""), (",", ""), (".", ","), (",", "."), (".", " "), (",", " "), (".", "'"), (",", "'")]
_UNITS = word_set(
    "% ‰ % pct percent mm cm m km in ft yd mi mg g kg t lb lbs oz ml cl l gal s sec min h hr hrs d day days month "
    "months yr yrs year years ms kmh km/h mph kmpl rpm hp ps bhp kw kwh mw w v a hz khz mhz ghz b kb mb gb tb px cc m2 "
    "m² sqft sqm ha °c °f c k pa bar mmhg eur euro euros usd gbp chf jpy cny inr dkk sek nok pln czk aud cad nzd "
    "dollars rs rs. fr. kr zł stk pcs"
)
_BEFORE = word_set("eur usd gbp chf jpy cny inr dkk sek nok pln aud cad nzd rs rs. fr. us$ r$ a$ c$ ca$")
_FEWEST_TO_DOUBT = 5


@dataclass(frozen=True)
class Numerals:
    """What n distinct texts are as numbers, by text, and how they are written.

    `doubt` says what could be read otherwise.
    """

    values: dict[str, float]
    written: Written
    is_whole: bool
    doubt: str = ""


def read_numbers(texts: Sequence[str]) -> Numerals | None:
    """The one way in which all of the distinct texts are numbers; None where there is none."""
    return _usual(texts) or _as_people_write(texts)


_PLAIN = re.compile(r"(?:[-+]?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?\n)+")


def are_plain_decimals(texts: Sequence[str]) -> bool:
    """Whether all of the distinct texts are numbers as programs write them, some with decimals, and nothing is to be
    asked of them: no code, no date, no sign that may part thousands.
    """
    if len(texts) < 2 or not _PLAIN.fullmatch("\n".join([*texts, ""])):
        return False
    return any("." in text and text[-4:-3] != "." for text in texts)


_NOT_USUAL = re.compile(r"[_a-df-zA-DF-Z]|(^|\s)[-+]?0\d")


def _usual(texts: Sequence[str]) -> Numerals | None:
    """Numbers as programs write them, which most are; None where something is to be asked of them."""
    if any(map(_NOT_USUAL.search, texts)) or all(one.strip()[-4:-3] == "." for one in texts):
        return None
    try:
        values = dict(zip(texts, map(float, texts), strict=True))
    except ValueError:
        return None
    return Numerals(values, AS_DECLARED, not any("." in text or "e" in text.casefold() for text in texts))


def _as_people_write(texts: Sequence[str]) -> Numerals | None:
    found = []
    for text in texts:
        if (match := _FORM.fullmatch(text)) is None or (match["sign"] and match["inner"]):
            return None
        if bool(match["open"]) != bool(match["close"]):
            return None
        found.append(match)
    affixes = _affixes(found)
    digits = [_BLANKS.sub(" ", match["digits"]).replace("’", "'") for match in found]
    signs = _signs([re.split("[eE]", one)[0] for one in digits])
    if affixes is None or signs is None or any(re.fullmatch(r"0\d+", one) for one in digits):  # a code such as 007
        return None
    decimal, thousands, doubt = signs
    brackets = any(match["open"] for match in found)
    values = {}
    for match, one in zip(found, digits, strict=True):
        number = float(one.replace(thousands, "").replace(decimal, ".") if thousands else one.replace(decimal, "."))
        minus = (match["sign"] or match["inner"] or " ") in _MINUS or bool(match["open"])
        values[match.string] = -number if minus else number
    whole = not any(decimal in one or "e" in one.casefold() for one in digits)
    written = Written(decimal=decimal, thousands=thousands, affixes=affixes, brackets=brackets)
    return Numerals(values, written, whole, doubt)


def looks_like_number(text: str) -> bool:
    """Whether a text has a number's form, in whatever way it is written."""
    match = _FORM.fullmatch(text)
    return match is not None and all(_is_affix(match[place] or "", place) for place in ("before", "after"))


def _affixes(found: Iterable[re.Match[str]]) -> tuple[str, ...] | None:
    """The one text that stands before the numbers and the one behind them; a zero may lack it."""
    pairs = {(match["before"] or "", match["after"] or "") for match in found if not _is_zero(match)}
    said = tuple({affix for pair in pairs for affix in pair if affix})
    if not all(
        _is_affix(affix, place) for pair in pairs for affix, place in zip(pair, ("before", "after"), strict=True)
    ):
        return None
    return said if len(pairs) <= 1 or (len(said) == 1 and _is_currency(said[0])) else None


def _is_zero(match: re.Match[str]) -> bool:
    return not match["before"] and not match["after"] and not match["digits"].strip("0.,")


def _is_affix(affix: str, place: str) -> bool:
    if not affix or _is_currency(affix):
        return True
    return affix.casefold() in (_BEFORE if place == "before" else _UNITS)


def _is_currency(affix: str) -> bool:
    return any(unicodedata.category(sign) == "Sc" for sign in affix) and len(affix) <= 4


def _signs(digits: Sequence[str]) -> tuple[str, str, str] | None:
    """The sign before the decimals, the one between thousands, and what makes that doubtful."""
    fitting = [signs for signs in _SIGNS if all(map(_with(*signs).fullmatch, digits))]
    if not fitting:
        return None
    if (",", "") in fitting and (".", ",") in fitting and (".", "") not in fitting:  # 12,345 and nothing else
        every = all("," in one for one in digits) and len(digits) >= _FEWEST_TO_DOUBT
        other = "Written(decimal=',') if it is twelve and a bit" if every else ""
        return ".", ",", other and f"'{digits[0]}' is read as thousands: {other}"
    every = all("." in one for one in digits) and len(digits) >= _FEWEST_TO_DOUBT
    if fitting[0] == (".", "") and (",", ".") in fitting and every:
        hint = "Written(decimal=',', thousands='.') if its dot parts thousands"
        return ".", "", f"'{digits[0]}' is read with decimals: {hint}"
    return *fitting[0], ""


def _with(decimal: str, thousands: str) -> re.Pattern[str]:
    mark = re.escape(decimal)
    if not thousands:
        return re.compile(rf"\d+(?:{mark}\d*)?|{mark}\d+")
    return re.compile(rf"(?:[1-9]\d{{0,2}}(?:{re.escape(thousands)}\d{{3}})+|\d{{1,3}})(?:{mark}\d*)?|{mark}\d+")
