"""What a column's name, and the form of its values, say of its meaning. Each is a guess that somebody has to review."""

import re

import pandas as pd

from starterkit.starting.names import plain


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


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
