"""`Predict`: the kit's own protocol, and how its records become arrays, or what is wrong with them and where.

Two ways lead there, and one definition (`validation.requirements`) says what is asked. The quick one decodes straight
into floats, and the decoder asks what is asked. It knows only that something is wrong; then the exact one looks.
See docs/decisions/0021-one-check.md.
"""

import json
import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, islice
from typing import Annotated, Any, Literal, NamedTuple

import msgspec
import numpy as np
from msgspec.structs import astuple

from starterkit.contract import Beyond, Column, Contract
from starterkit.serving.graph import Table
from starterkit.serving.http.answers import (
    SHOWN,
    Answer,
    Headers,
    InvalidRequest,
    bug,
    prediction_content,
    refusal,
    require_json,
    unprocessable,
)
from starterkit.serving.predictor import Answered, ServedModel
from starterkit.serving.validation import Fault, InvalidRecords, asked_of, read_records
from starterkit.settings import ServingSettings

ADDRESS = "/predict"

_LONG = 1_000_000
_BLOCK = 32_768
_SHAPE = 'Send {"records": [{"column": value, …}, …]}'
LONGEST_KEY = 200
_TOO_DEEP = "the body is nested too deeply, or has a number with too many digits"
_A_KEY = f"Give a text of 1 to {LONGEST_KEY} printable characters"
_MARK = b"\xef\xbb\xbf"
_TYPES: Mapping[str, Any] = {"float": float, "integer": float, "boolean": bool, "string": str}
_LITERAL: Any = Literal  # of texts that are known when the model is
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"')


class Asked(NamedTuple):
    """Rows for the model, a key of each where the client gave some, and what else a protocol has to know to answer.

    A key is never scored; the row is known by it.
    """

    table: Table
    keys: Sequence[str] = ()
    wire: Any = None


class Predict:
    """Answers records at /predict with predictions and the version that made them."""

    def __init__(self, served: ServedModel, settings: ServingSettings) -> None:
        self._served = served
        contract, beyond = served.contract, served.predictor.beyond
        self._reader = RecordReader(contract, beyond, settings.max_rows, raw=settings.raw_records)
        self._encode = msgspec.json.Encoder().encode

    def accept(self, headers: Headers) -> None:
        require_json(headers.get(b"content-type", b""))

    def read(self, body: bytearray, headers: Headers) -> Asked:
        return self._reader.read(body)

    def tell(self, asked: Asked, answered: Answered) -> Answer:
        return Answer(self._encode(prediction_content(self._served, answered)))

    refuse, fail = staticmethod(refusal), staticmethod(bug)


class RecordReader:
    """Reads the records of requests for one model.

    Parameters
    ----------
    contract, beyond
        What is asked of them.
    max_rows
        How many there may be.
    raw
        Whether they may have the names and texts of the file that trained the model.
    """

    def __init__(self, contract: Contract, beyond: Beyond, max_rows: int, *, raw: bool = False) -> None:
        self._contract = contract
        self._beyond: Beyond = beyond
        self._max_rows = max_rows
        self._raw = raw
        self._quick = None if raw else QuickReader.of(contract, beyond)
        self._most_values = max_rows * (2 * len(contract.columns) + 20)

    def read(self, body: bytes | bytearray) -> Asked:
        """The n records as one matrix, or as an array for each of the contract's columns. A byte order mark is ignored.

        Raises
        ------
        InvalidRequest
            The body is not JSON, not of the right shape, or has no rows or too many.
        InvalidRecords
            A record is not what the contract says.
        """
        if body.startswith(_MARK):
            body = body[len(_MARK) :]
        if (asked := self.quick(body)) is not None:
            return asked
        self.refuse_masses(body)
        records, keys = self.records(body)
        return Asked(self.table(records), keys)

    def quick(self, body: bytes | bytearray) -> Asked | None:
        """What the quick way makes of a body; None where anything may be wrong."""
        return None if self._quick is None else self.by(self._quick, body)

    def by(self, way: "QuickReader", body: bytes | bytearray) -> Asked | None:
        if not way.is_bounded:
            self.refuse_masses(body)
        return way.read(body, self._max_rows)

    def records(self, body: bytes | bytearray) -> tuple[Sequence[object], Sequence[str]]:
        """What a body holds, one a row, whatever they are; and the keys of the rows, where it has some.

        Raises
        ------
        InvalidRequest
            The body is not JSON, not of the right shape, or has no rows or too many.
        InvalidRecords
            A key is not what one has to be.
        """
        _refuse_other_shapes(body)
        document = decode_document(body)
        if not isinstance(document, dict):
            raise unprocessable("the body is not an object", _SHAPE)
        if "records" not in document:
            raise unprocessable("the body has no 'records'", _SHAPE)
        if extra := [name for name in document if name not in ("records", "keys")]:
            what = f"the body has the unknown key '{extra[0][:SHOWN]}'"
            raise unprocessable(what, "Leave it out; 'records' is all, with 'keys' beside them if you like")
        records = document["records"]
        if not isinstance(records, list):
            raise unprocessable("'records' is not a list", _SHAPE)
        if not records:
            raise unprocessable("'records' is empty", "Send at least one row")
        if len(records) > self._max_rows:
            raise unprocessable(f"'records' has {len(records)} rows", f"Send at most {self._max_rows} in a request")
        return records, _read_keys(document["keys"], len(records)) if "keys" in document else ()

    def table(self, records: Sequence[object]) -> Table:
        """
        Raises
        ------
        InvalidRecords
            A record is not what the contract says.
        """
        if self._raw:
            from starterkit.serving.parsing import read_raw_records  # loads pyarrow

            return read_raw_records(self._contract, records, self._beyond)
        return read_records(self._contract, records, self._beyond)

    def refuse_masses(self, body: bytes | bytearray) -> None:
        """Refuse what would be a mass of small things in memory. Nothing of it is made into any.

        Raises
        ------
        InvalidRequest
            There is more between its texts than the most rows can have.
        """
        if len(body) <= self._most_values or _count(body, *b",[{") <= self._most_values:
            return
        in_texts = 0
        if any(column.type == "string" for column in self._contract.columns) or self._raw or b'"keys"' in body:
            in_texts = sum(sum(map(found.group().count, (b",", b"[", b"{"))) for found in _STRING.finditer(body))
        if _count(body, *b",[{") - in_texts <= self._most_values:
            return
        try:
            msgspec.json.decode(body, type=msgspec.Raw)  # looked through, and not kept
        except RecursionError:
            raise unprocessable(_TOO_DEEP, _SHAPE) from None
        except msgspec.DecodeError as error:
            words, _, place = str(error).partition(" (byte ")
            before = body[: int(place.rstrip(")"))] if place else body
            at = len(before) - before.rfind(b"\n")
            raise _no_json(before.count(b"\n") + 1, at, words.partition(": ")[2] or words) from None
        what = f"the body has more values than {self._max_rows} rows can have"
        raise unprocessable(what, f"Send at most {self._max_rows} rows in a request")


def _count(body: bytes | bytearray, *marks: int) -> int:
    """How often these bytes stand in a body. It takes a block at a time, so that a large body is not there twice."""
    if len(body) <= _BLOCK:
        return sum(map(body.count, marks))
    whole = np.frombuffer(body, np.uint8)
    blocks = [whole[start : start + _BLOCK] for start in range(0, len(whole), _BLOCK)]
    return sum(int(np.count_nonzero(block == mark)) for block in blocks for mark in marks)


class QuickReader:
    """The quick way: a decoder that knows types, ranges and categories. Where it finds a fault it gives up."""

    def __init__(self, contract: Contract, beyond: Beyond, key: str = "records") -> None:
        columns = contract.columns
        self._decode = _decoder(columns, beyond, key)
        self._names, self._is_matrix = contract.names, contract.layout == "matrix" and beyond == "refuse"
        self._numbers = [place for place, column in enumerate(columns) if column.type != "string"]
        self._texts = [place for place, column in enumerate(columns) if column.type == "string"]
        self._known = [
            (place, one.known | {None})
            for place in self._numbers
            for one in asked_of(columns[place], beyond)
            if one.known is not None
        ]
        self._colons = sum(name.count(":") for name in contract.names) + len(columns)
        self.is_bounded = not self._texts  # a row has its colons: from their number it is known how many there can be

    @classmethod
    def of(cls, contract: Contract, beyond: Beyond, key: str = "records") -> "QuickReader | None":
        """None where a column is of a type that JSON has no word for."""
        return cls(contract, beyond, key) if all(column.type in _TYPES for column in contract.columns) else None

    def read(self, body: bytes | bytearray, max_rows: int) -> Asked | None:
        """One matrix, or an array a column; None where anything may be wrong."""
        colons = _count(body, *b":")
        if self.is_bounded and colons > max_rows * self._colons + _BESIDE:
            return None  # there are more rows than that, and nothing is made of them
        try:
            sent = self.decode(body)
        except (msgspec.DecodeError, RecursionError, OverflowError, UnicodeDecodeError):
            return None
        if sent is None or not 0 < sent.count <= max_rows or not (sent.keys == () or _are_keys(sent.keys, sent.count)):
            return None
        # The decoder lets a later one of two equal keys win. Each key has one colon, and so has one that is lost.
        more = colons - sent.colons
        if self._is_matrix:
            table = np.fromiter(chain.from_iterable(sent.rows), np.float64, sent.count * len(self._names))
            table = table.reshape(sent.count, -1)
            asked = ((table[:, place], known) for place, known in self._known)
            is_known = all(
                known.issuperset(one[one == one].tolist()) for one, known in asked
            )  # nothing that is missing
            return Asked(table, sent.keys) if not more and is_known else None
        by_column = [*zip(*sent.rows, strict=True)]
        if more and b"\\" not in body:
            more -= sum(value.count(":") for place in self._texts for value in by_column[place] if value)
        if more or not all(known.issuperset(by_column[place]) for place, known in self._known):
            return None
        # Missing is NaN in text columns too, as in training: onnxruntime reads None as the text "None".
        filled = [[math.nan if value is None else value for value in column] for column in by_column]
        kinds = [object if place in self._texts else np.float64 for place, _ in enumerate(filled)]
        return Asked(dict(zip(self._names, map(np.array, filled, kinds), strict=True)), sent.keys)

    def decode(self, body: bytes | bytearray) -> "Sent | None":
        """What a body holds; None where this way does not lead on."""
        sent = self._decode(body)
        count, keys = len(sent.records), getattr(sent, "keys", msgspec.UNSET)
        rows, colons = map(astuple, sent.records), count * self._colons + 1
        if keys is msgspec.UNSET:
            return Sent(count, rows, colons)
        if _count(bytes(keys), *b",\\") > count:  # before anything is made of them
            return None
        given = _KEYS(keys)
        return Sent(count, rows, colons + 1 + sum(key.count(":") for key in given), given)


class Sent(NamedTuple):
    """Rows of values in the contract's order, and how many colons a body has that holds no more than these."""

    count: int
    rows: Iterable[tuple[Any, ...]]
    colons: int
    keys: Sequence[str] = ()


_KEYS = msgspec.json.Decoder(list[str]).decode
_BESIDE = 4
"""Colons of what stands around the rows."""


def _decoder(columns: Sequence[Column], beyond: Beyond, key: str) -> Callable[[bytes | bytearray], Any]:
    members = [
        (f"c{place}", asked_type(column, beyond), msgspec.field(name=column.name))
        for place, column in enumerate(columns)
    ]
    record = msgspec.defstruct("Record", members, forbid_unknown_fields=True, gc=False)
    members: Any = [("records", list[record], msgspec.field(name=key))]
    if key == "records":
        members.append(("keys", msgspec.Raw | msgspec.UnsetType, msgspec.UNSET))
    body = msgspec.defstruct("Body", members, forbid_unknown_fields=True)
    return msgspec.json.Decoder(body).decode


def asked_type(column: Column, beyond: Beyond) -> Any:
    """A type that takes what is asked of a column's values. Numbers of few values are looked up afterwards."""
    kind, asked = _TYPES[column.type], asked_of(column, beyond)
    if column.type == "string":
        known = [one.known for one in asked if one.known is not None]
        empty = frozenset({""}) if column.nullable else frozenset()  # an empty text is a missing one
        least = Annotated[str, msgspec.Meta(min_length=0 if column.nullable else 1)]
        kind = _LITERAL[tuple(sorted(frozenset.intersection(*known) | empty))] if known else least
    elif column.type != "boolean":
        low = max((float(one.low) for one in asked if one.low is not None), default=None)
        high = min((float(one.high) for one in asked if one.high is not None), default=None)
        step = next((float(one.step) for one in asked if one.step is not None), None)
        kind = Annotated[float, msgspec.Meta(ge=low, le=high, multiple_of=step)]
    return kind | None if column.nullable else kind


# --- The exact way.


def _read_keys(keys: object, rows: int) -> Sequence[str]:
    if not isinstance(keys, list) or len(keys) != rows:
        raise unprocessable(f"'keys' is not a list of {rows}", "Send a key for each record, or no 'keys'")
    if not _are_keys(keys, rows):
        wrong = (row for row, key in enumerate(keys) if not _are_keys([key], 1))
        raise InvalidRecords([Fault(row, None, "has a key that is none", _A_KEY) for row in islice(wrong, 101)])
    return keys


def _are_keys(keys: Sequence[Any], rows: int) -> bool:
    """Whether a log, and a database behind it, can keep them as they are."""
    return (
        len(keys) == rows
        and all(type(key) is str and 0 < len(key) <= LONGEST_KEY for key in keys)
        and "".join(keys).isprintable()
    )


_Outline = msgspec.defstruct(
    "Outline", [("records", msgspec.Raw), ("keys", msgspec.Raw, msgspec.Raw(b"[]"))], forbid_unknown_fields=True
)


def _refuse_other_shapes(body: bytes | bytearray) -> None:
    """Before anything is made of a long one: a text as long as the body would stand in memory twice more."""
    if len(body) < _LONG:
        return
    try:
        whole = msgspec.json.decode(body, type=msgspec.Raw)
        outline: Any = msgspec.json.decode(whole, type=_Outline) if memoryview(whole)[:1] == b"{" else None
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return  # what is wrong is looked for
    if outline is None:
        raise unprocessable("the body is not an object", _SHAPE)
    if memoryview(outline.records)[:1] != b"[":
        raise unprocessable("'records' is not a list", _SHAPE)
    if memoryview(outline.keys)[:1] != b"[":
        raise unprocessable("'keys' is not a list", "Send a key for each record, or no 'keys'")


def decode_document(body: bytes | bytearray) -> object:
    """A body's JSON, with no key twice in an object.

    Raises
    ------
    InvalidRequest
        It is not that.
    """
    if not body.strip():
        raise unprocessable("the body is empty", _SHAPE)
    try:
        # NaN and Infinity, which are not JSON, are let through here, so that the check of the records can say where.
        return json.loads(body.decode(), object_pairs_hook=_without_repeats)
    except UnicodeDecodeError as error:
        raise unprocessable(f"the body is not UTF-8 at byte {error.start}", "Encode it as UTF-8") from None
    except json.JSONDecodeError as error:
        raise _no_json(error.lineno, error.colno, error.msg) from None
    except (RecursionError, ValueError):  # Python reads no whole number of more than 4300 digits
        raise unprocessable(_TOO_DEEP, _SHAPE) from None


def _no_json(line: int, column: int, why: str) -> InvalidRequest:
    return unprocessable(f"the body is not JSON at line {line}, column {column}: {why}", _SHAPE)


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise unprocessable(f"the key '{twice[:SHOWN]}' stands twice in one object", "Send it once")
    return unique
