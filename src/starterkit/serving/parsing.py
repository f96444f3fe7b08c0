"""Texts as files write them, put into the schema's own words: the same for training, for `predict` and for the API.

What a column's `Written` declares is done here and nowhere else: names, markers for missing, flags, numbers as people
write them. See docs/decisions/0024-written.md.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from starterkit.contract import AS_DECLARED, Beyond, Column, Contract, Written
from starterkit.serving.graph import Columns
from starterkit.serving.validation import Fault, InvalidRecords, Mask, Values, check_columns, hint_of, is_unicode

pc: Any = pyarrow.compute
"""Its functions are made when it is imported, so that no type checker knows them."""

# --- Which column of a file is which of the schema's.


def find_columns(columns: Sequence[Column], present: Sequence[str]) -> dict[str, str]:
    """By the schema's name, the file's: a column is found by its declared header, else by its name."""
    there = set(present)
    found = {one.name: header for one in columns if (header := one.written.header or one.name) in there}
    taken = set(found.values())
    return found | {one.name: one.name for one in columns if one.name not in found and one.name in there - taken}


def as_found(column: Column, header: str) -> Written:
    """How a column is written that was found under a header. Under the schema's name its numbers are the schema's."""
    written = column.written
    if written.header in ("", header):
        return written
    return Written(missing=written.missing, flags=written.flags, trim=written.trim)


# --- Texts in a file's words to texts in the schema's.

NOT_AS_DECLARED = "not as declared"
"""What becomes of a text that is no number in the form that is declared. It is none in any other form either."""

_BLANK = r"[ \x{a0}\x{2007}\x{2009}\x{202f}]"
_SIGN = "[-+−–]"
_SIGNS = {" ": _BLANK, "'": "['’]", ",": ",", ".": r"\.", "": ""}


def plain_texts(column: Column, texts: pa.Array, written: Written | None = None) -> pa.Array:
    """n texts, or nulls, with the declared markers, flags, numbers and categories in the schema's own words."""
    written = column.written if written is None else written
    if written == AS_DECLARED:
        return texts
    trimmed = pc.utf8_trim_whitespace(texts)
    empty = pc.equal(trimmed, "")
    if written.missing:
        empty = pc.or_(empty, pc.is_in(trimmed, pa.array({text.strip() for text in written.missing}, pa.string())))
    kept = pc.if_else(pc.fill_null(empty, True), pa.scalar(None, pa.string()), texts)
    if column.type == "boolean":
        return _flags_in_words(kept, trimmed, written.flags) if written.flags else kept
    if column.type in ("float", "integer"):
        return _numbers_in_words(kept, written) if _has_form(written) else kept
    return _each(kept, _same_category(column)) if written.trim else kept


def as_array(texts: Iterable[str | None]) -> pa.Array:
    """Texts as one array; a pandas column may lie in several pieces."""
    given = pa.array(texts, pa.string(), from_pandas=True)
    return given.combine_chunks() if isinstance(given, pa.ChunkedArray) else given


def _has_form(written: Written) -> bool:
    return written.decimal != "." or bool(written.thousands or written.affixes or written.brackets)


def _flags_in_words(kept: pa.Array, trimmed: pa.Array, flags: Mapping[str, bool]) -> pa.Array:
    words = {text.strip(): "true" if flag else "false" for text, flag in flags.items()}
    known = _each(trimmed, lambda text: words.get(text, text))
    known = pc.if_else(pc.is_null(kept), pa.scalar(words.get(""), pa.string()), known)
    marked = pc.and_(pc.is_null(kept), pc.not_equal(pc.fill_null(trimmed, ""), ""))
    return pc.if_else(marked, pa.scalar(None, pa.string()), known)  # a marker for missing is no empty field


def _numbers_in_words(texts: pa.Array, written: Written) -> pa.Array:
    """``(1.234,50 €)`` as ``-1234.50``."""
    bare = pc.utf8_trim_whitespace(texts)
    if written.affixes:
        affix = "|".join(re.escape(text) for text in sorted(written.affixes, key=len, reverse=True))
        bare = pc.replace_substring_regex(bare, rf"^([(]?{_SIGN}?){_BLANK}*(?:{affix}){_BLANK}*", r"\1")
        bare = pc.replace_substring_regex(bare, rf"{_BLANK}*(?:{affix}){_BLANK}*([)]?)$", r"\1")
    negative = None
    if written.brackets:
        negative = pc.match_substring_regex(bare, r"^\(.*\)$")
        bare = pc.replace_substring_regex(bare, r"^\((.*)\)$", r"\1")
    form = pc.extract_regex(bare, _number_form(written))
    sign, digits = pc.struct_field(form, "sign"), pc.struct_field(form, "digits")
    if written.thousands:
        digits = pc.replace_substring_regex(digits, _SIGNS[written.thousands], "")
    if written.decimal != ".":
        digits = pc.replace_substring(digits, written.decimal, ".")
    minus = pc.replace_substring_regex(sign, "[−–]", "-")
    if negative is not None:
        minus = pc.if_else(negative, pc.binary_join_element_wise("-", minus, ""), minus)
    numbers = pc.binary_join_element_wise(minus, digits, "")
    return pc.if_else(pc.is_null(texts), texts, pc.fill_null(numbers, NOT_AS_DECLARED))


def _number_form(written: Written) -> str:
    between, point = _SIGNS[written.thousands], _SIGNS[written.decimal]
    whole = rf"\d{{1,3}}(?:{between}\d{{3}})+|\d+" if between else r"\d+"
    digits = rf"(?:{whole})(?:{point}\d*)?|{point}\d+"
    return rf"^(?P<sign>{_SIGN}?){_BLANK}*(?P<digits>(?:{digits})(?:[eE][-+]?\d+)?)$"


def _same_category(column: Column) -> Callable[[str], str]:
    """Blanks at the ends, case and Unicode's form make no other category."""
    known = {_folded(str(one)): str(one) for one in column.categories}
    return lambda text: known.get(_folded(text), "" if column.categories else _folded(text)) or text


def _folded(text: str) -> str:
    return unicodedata.normalize("NFC", text).strip().casefold()


def _each(texts: pa.Array, change: Callable[[str], str]) -> pa.Array:
    """Each text changed, where few differ: one by one."""
    encoded = texts.dictionary_encode()
    return pa.array(map(change, encoded.dictionary.to_pylist()), pa.string()).take(encoded.indices)


# --- Records of a client that has them as its files do.


def read_raw_records(contract: Contract, records: Sequence[object], beyond: Beyond = "refuse") -> Columns:
    """One array for each of the contract's columns, from records that may have the file's names and texts.

    What is no column of the model is passed over.

    Raises
    ------
    InvalidRecords
        A column is missing, or a value is not what the contract says.
    """
    faults, rows = [], []
    for row, record in enumerate(records):
        if not isinstance(record, dict):
            faults.append(Fault(row, None, "is not an object", f"Give an object with {', '.join(contract.names)}"))
            continue
        found = find_columns(contract.columns, list(record))
        rows.append((record, found))
        for column in contract.columns:
            if column.name not in found:
                name = column.written.header or column.name
                near = get_close_matches(name, record.keys() - set(found.values()), n=1, cutoff=0.6)
                hint = f"Did you mean '{near[0]}'?" if near else hint_of(column)
                faults.append(Fault(row, name, "is missing", hint, "missing"))
    if faults:
        raise InvalidRecords(faults)
    given = {
        column.name: _of_json(column, [(found[column.name], record[found[column.name]]) for record, found in rows])
        for column in contract.columns
    }
    checked = check_columns(contract, given, beyond)
    if checked.faults:
        raise InvalidRecords(checked.faults)
    return checked.columns


def _of_json(column: Column, cells: Sequence[tuple[str, Any]]) -> Values:
    """JSON's values of one column, each with its name there: texts are parsed, numbers and flags are what they are."""
    given = pa.array([one if isinstance(one, str) and is_unicode(one) else None for _, one in cells], pa.string())
    forms = {header: as_found(column, header) for header, _ in cells}
    parsed = {header: plain_texts(column, given, written) for header, written in forms.items()}
    texts = [
        _text(one) if isinstance(one, bool | int | float) else parsed[header][row].as_py()
        for row, (header, one) in enumerate(cells)
    ]
    values, missing, wrong = values_of(column, pa.array(texts, pa.string()))
    odd = np.array([not (one is None or isinstance(one, bool | int | float | str)) for _, one in cells])
    odd |= np.array([isinstance(one, str) and not is_unicode(one) for _, one in cells])
    return Values(values, missing & ~odd, wrong | odd)


# --- The schema's words to values.

_FLAGS = {"true": True, "false": False, "1": True, "0": False, "1.0": True, "0.0": False}


def values_of(column: Column, texts: pa.Array) -> Values:
    """n texts in the schema's words as values, ready to be checked."""
    missing = missing_in(texts)
    if column.type == "string":
        return Values(texts.to_numpy(zero_copy_only=False), missing, np.zeros_like(missing))
    numbers = _flags(texts) if column.type == "boolean" else floats(texts)
    empty = False if column.type == "boolean" else 0.0
    return Values(filled(numbers, empty), missing, missing_in(numbers) & ~missing)


def texts_of(array: pa.Array) -> pa.Array:
    """Values of any type as the texts that training has for them: 5 where a gap made it 5.0, a date without an hour."""
    encoded = without_nan(array).dictionary_encode()
    return pa.array(map(_text, encoded.dictionary.to_pylist()), pa.string()).take(encoded.indices)


def without_nan(array: pa.Array) -> pa.Array:
    """Null for NaN, which other programs write where pandas writes null."""
    if not pa.types.is_floating(array.type):
        return array
    return pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)


def numbers_for_missing(written: Written) -> list[float]:
    """The declared markers that are numbers: ``-999``, ``inf``. They are so where a file has typed numbers too."""
    return [number for text in written.missing if (number := _number(text)) is not None]


def without_marked(array: pa.Array, written: Written) -> pa.Array:
    """Null for the numbers that stand for a missing value."""
    marked = numbers_for_missing(written)
    if not marked or pa.types.is_boolean(array.type):
        return array
    there = pc.is_in(pc.cast(array, pa.float64(), safe=False), pa.array(marked, pa.float64()))
    return pc.if_else(there, pa.scalar(None, array.type), array)


def _text(value: object) -> str:
    if isinstance(value, float | Decimal) and value % 1 == 0 and abs(value) <= _EXACT:
        return str(int(value))
    return str(value).removesuffix(" 00:00:00")


_EXACT = 2**53
"""Up to here every whole number is a float64 of its own."""


def missing_in(array: pa.Array) -> Mask:
    """Which values are null."""
    if not array.null_count:
        return np.zeros(len(array), dtype=np.bool_)
    return array.is_null().to_numpy(zero_copy_only=False)


def filled(array: pa.Array, value: float) -> NDArray[Any]:
    """Numbers or flags, with a value where there is none."""
    return (pc.fill_null(array, value) if array.null_count else array).to_numpy(zero_copy_only=False)


def _flags(texts: pa.Array) -> pa.Array:
    encoded = texts.dictionary_encode()
    flags = [_FLAGS.get(text.lower()) for text in encoded.dictionary.to_pylist()]
    return pa.array(flags, pa.bool_()).take(encoded.indices)


def floats(texts: pa.Array) -> pa.Array:
    """Numbers, and null for what is none."""
    with suppress(pa.ArrowInvalid):
        return pc.cast(texts, pa.float64())
    with suppress(pa.ArrowInvalid):
        return pc.cast(pc.call_function("ascii_trim_whitespace", [texts]), pa.float64())
    return pa.array([_number(text) for text in texts.to_pylist()], pa.float64())  # one text, or a plus, among them


def _number(text: str | None) -> float | None:
    """A number as JSON or people write it, with spaces around it or a plus before it."""
    try:
        return None if text is None or "_" in text else float(text.replace("−", "-"))
    except ValueError:
        return None
