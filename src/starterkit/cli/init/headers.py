"""Headers as people write them: the names that code can carry, and what a name says of a column's meaning."""

import keyword
import re
import unicodedata
from collections.abc import Collection, Iterable

import pandas as pd

# --- Names that Python, pandera and the API can carry.


def word_set(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LONGEST = 40
_LETTERS = str.maketrans({"ß": "ss", "ä": "ae", "ö": "oe", "ü": "ue", "æ": "ae", "ø": "o", "µ": "u"})
# What the written module means by them; a column of that name would hide it from the columns after it.
_TAKEN = word_set("feature target identifier group time int float str bool record self cls split")
_CLASSES = word_set("Problem Holdout Source Pipeline Written")
# pandera's own attributes of a `DataFrameModel`.
_OF_PANDERA = word_set("config empty example strategy validate to_schema to_yaml get_metadata")


def plain(text: str) -> str:
    """Lower-case ASCII words with underscores between them: ``"Größe (cm)"`` becomes ``groesse_cm``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", unicodedata.normalize("NFC", text))
    letters = unicodedata.normalize("NFKD", words.casefold().translate(_LETTERS)).encode("ascii", "ignore").decode()
    return re.sub(r"[^a-z0-9]+", "_", letters).strip("_")


def column_names(headers: Iterable[str]) -> dict[str, str]:
    """By header, a name that the schema can carry. A header that is one already keeps it. No name comes twice."""
    headers = list(headers)
    names = {header: header for header in headers if _may_stay(header)}
    taken = set(names.values())
    for place, header in enumerate(headers, start=1):
        if header not in names:
            names[header] = _free(_name(header, place), taken)
            taken.add(names[header])
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


def _free(name: str, taken: Collection[str]) -> str:
    number, free = 2, name
    while free in taken:
        free, number = f"{name}_{number}", number + 1
    return free


# --- What a column's name, and the form of its values, say of its meaning. Each is a guess that somebody has to review.


def words_of(header: str) -> list[str]:
    return plain(header).split("_")


# --- Who somebody is. Such a column is left out: its values never reach the model, the code or a log.

_DIRECT = word_set("""
    firstname lastname surname forename fullname username nickname email mail iban bic ssn passport ip imei vorname
    nachname anschrift
""")
_CALLED = word_set("phone telephone mobile fax cell telefon")
_LIVES = word_set("address street adresse strasse")
_NAME_OF = word_set("""
    first last full family given middle maiden user customer patient client employee person
""")
_EMAIL = r"[^@\s]+@[^@\s]+\.[^@\s]+"
_ADDRESS_OF_MACHINE = r"(\d{1,3}\.){3}\d{1,3}"
_PHONE = r"\+\d[\d ()/-]{6,}"
_CALLABLE = r"\+?[\d ()/.-]{6,}"
_FEWEST_ADDRESSES = 20
_MODELS = 0.2
"""Of the names with a digit: they are of cars or products, for no person has one."""


def names_somebody(header: str, values: pd.Series) -> bool:
    """Whether the column says who a row is about: a name, an address, a number to call.

    A word in the header alone names nobody: ``phone_service`` is yes or no, and ``Street`` paved or not.
    """
    words, is_text = words_of(header), pd.api.types.is_string_dtype(values)
    if not is_text and _CALLED.isdisjoint(words):
        return False
    distinct = values.dropna().unique()
    if len(distinct) <= 2:
        return False
    texts = _whole(distinct) if pd.api.types.is_float_dtype(values) else pd.Series(distinct).astype("str")
    if not _CALLED.isdisjoint(words) and _share(texts, _CALLABLE) > 0.5:
        return True
    if not is_text:
        return False
    alone = len(words) == 1 and _share(texts, r".*\d.*") < _MODELS
    named = "name" in words and (alone or not _NAME_OF.isdisjoint(words))
    if named or not _DIRECT.isdisjoint(words):
        return True
    if not _LIVES.isdisjoint(words):
        return len(distinct) > _FEWEST_ADDRESSES or _share(texts, r".*\d.*") > 0.5
    return any(_share(texts, form) > 0.5 for form in (_EMAIL, _ADDRESS_OF_MACHINE, _PHONE))


def _whole(numbers: Iterable[float]) -> pd.Series:
    return pd.Series([f"{number:.0f}" for number in numbers], dtype="str")


def _share(texts: pd.Series, form: str) -> float:
    return float(texts.str.fullmatch(form).mean())


# --- What helps to single somebody out, or is special by law.

_SENSITIVE = word_set("""
    age ages aged mage fage agegroup alter sex gender geschlecht female male fem woman women man men girl boy birth
    birthday birthdate dob born geburt geburtsdatum geburtstag zip zipcode postcode postal plz latitude longitude
    lat lon lng income incomes inc faminc hhinc salary salaries wage wages earnings earn pay hinc einkommen gehalt
    lohn lwage race races racial black blck white hispanic hispan hisp latino latina asian nonwhite african
    caucasian amerindian indigenous ethnicity ethnic ethn ethnics eth caste tribe nationality citizenship citizen
    immigrant foreign foreigner migrant religion relig religious faith christian catholic protestant muslim islam
    jewish jew hindu buddhist atheist church marital married marr evermarr yrsmarr marriage mar divorced spouse
    widowed widow familienstand diagnosis disease diseases illness sick health healthy hlth disability disabilities
    disabled disab handicap medication medical hiv pregnant pregnancy depression obese smoke smoker smokers smoking
    smokes cigs cigarettes cigarette tobacco alcohol drinker senior seniors retired union political politics
    orientation
""")

_ENDINGS = ("wage", "income", "salary", "earnings", "faminc", "female", "married", "hlth", "hispanic")
"""Of words that are written together: ``lwage``, ``huswage``, ``poorhlth``."""


def sensitive_among(headers: Iterable[str]) -> frozenset[str]:
    """The headers that speak of a person's own affairs. ``long`` does so beside ``lat``, ``mar`` not beside ``apr``."""
    words = {header: {word.rstrip("0123456789") for word in words_of(header)} for header in headers}
    used = frozenset[str]().union(*words.values())
    listed = (_SENSITIVE | ({"long"} if used & {"lat", "latitude"} else set())) - ({"mar"} if "apr" in used else set())
    return frozenset(
        header for header, said in words.items() if said & listed or any(word.endswith(_ENDINGS) for word in said)
    )


# --- Ids, row numbers and moments by their names.

_IDS = word_set("id ids uuid guid")
_NUMBERED = word_set("nr no number num code key")
_WHOSE = word_set(
    "patient customer user subject client machine device person household individual respondent participant hhid"
)
_ROWS = word_set(
    "unnamed index idx row rows rownum rownames rowname rownumber rowid obs observation serial sno slno lfd"
)
_MAYBE_ROWS = word_set("x n no nr num number case seq s")
_MOMENTS = word_set("""
    date datetime timestamp time day week month quarter year period when dt ds recorded observed measured order sale
    sold transaction trans invoice event datum zeit tag woche monat quartal jahr yr yrmo saledate orderdate trend t
""")
_LIVED = word_set(
    "birth born birthday birthdate dob hire hired join joined signup founded built build due expiry death"
)
_VEHICLES = word_set(
    "model make mileage odometer horsepower hp cylinders cyl displacement displ mpg engine vin transmission drivetrain"
)
_YEARS = word_set("year yr years jahr annee ano anno season")
_PERIODS = _YEARS | word_set("month quarter week day hour period time wave round date t trend semester term")


def says_id(header: str) -> bool:
    """Whether the column is called an id: ``"CustomerID"``, ``"patient"``."""
    words = words_of(header)
    return words[-1] in _IDS or words[0] in _IDS or (len(words) == 1 and words[0] in _WHOSE)


def says_number_of(header: str) -> bool:
    """Whether it is called somebody's number: ``"Kunden-Nr."``, ``"invoice_no"``."""
    words = words_of(header)
    return len(words) > 1 and words[-1] in _NUMBERED


def says_row(header: str) -> bool:
    """Whether the column is called as row numbers are: ``""``, ``Unnamed: 0``, ``...1``, ``rownames``."""
    words = [word for word in words_of(header) if not word.isdigit()]
    return not "".join(words) or words[0] in _ROWS or words in (["level"], ["s", "no"], ["sl", "no"], ["sr", "no"])


def may_say_row(header: str) -> bool:
    """Whether row numbers are often called so, and other things too: ``X``, ``No``."""
    words = words_of(header)
    return len(words) == 1 and words[0] in _MAYBE_ROWS


def says_when(header: str) -> bool:
    """Whether it is called the moment of the record, and not one in somebody's life."""
    return not _MOMENTS.isdisjoint(words_of(header)) and not says_of_a_life(header)


def says_of_a_life(header: str) -> bool:
    """Whether it is called a day in somebody's or something's life: a birthday, the year it was built."""
    return not _LIVED.isdisjoint(words_of(header))


def tells_of_vehicles(headers: Iterable[str]) -> bool:
    """Whether two columns or more do: then a year is a model's, and no time of the record."""
    return sum(not _VEHICLES.isdisjoint(words_of(header)) for header in headers) > 1


def says_period(header: str) -> bool:
    """Whether the column is called a period and nothing else: ``year``, ``month``."""
    words = words_of(header)
    return len(words) == 1 and words[0] in _PERIODS


# --- The unit that a name ends with.

_UNITS = {
    "mm": "mm", "cm": "cm", "km": "km", "kg": "kg", "mg": "mg", "ml": "ml", "kmh": "km/h", "mph": "mph",
    "mmhg": "mm Hg", "kw": "kW", "kwh": "kWh", "hz": "Hz", "ms": "ms", "seconds": "s", "minutes": "min", "hours": "h",
    "days": "days", "months": "months", "years": "years", "eur": "€", "usd": "$", "percent": "%", "pct": "%",
    "celsius": "°C",
}  # fmt: skip
_IN_BRACKETS = _UNITS | {"m": "m", "g": "g", "l": "l", "s": "s", "h": "h", "%": "%", "€": "€", "$": "$", "°c": "°C"}


def unit_of(header: str) -> str:
    """The unit that the name ends with: ``"sepal length (cm)"``, ``weight_kg``. Empty where it says none."""
    if bracketed := re.search(r"[(\[]([^)\]]+)[)\]]\s*$", header):
        return _IN_BRACKETS.get(bracketed[1].strip().casefold(), "")
    words = words_of(header)
    return _UNITS.get(words[-1], "") if len(words) > 1 else ""
