"""Headers as people write them, and the names that Python, pandera and the API can carry."""

import keyword
import re
import unicodedata
from collections.abc import Collection, Iterable


def word_set(text: str) -> frozenset[str]:
    """The words of a text, for a list of them."""
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
