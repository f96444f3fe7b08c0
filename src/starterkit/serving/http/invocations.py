"""`Invocations`: MLflow's scoring protocol, so that what asks `mlflow models serve` can ask this API.

It answers sound rows as MLflow's own server does. What that one answers wrongly without a word is refused here; the
list of differences is in docs/protocols.md.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
import numpy as np
from starlette.responses import Response

from starterkit.contract import Beyond, Contract
from starterkit.serving.graph import Table
from starterkit.serving.http.answers import (
    OF_BODIES,
    SHOWN,
    Answer,
    Headers,
    InvalidRequest,
    answer,
    bad,
    bug,
    refusal,
    refusals,
    retold,
)
from starterkit.serving.http.records import Asked, QuickReader, RecordReader, Sent, asked_type, decode_document
from starterkit.serving.predictor import Answered, ServedModel
from starterkit.serving.validation import InvalidRecords
from starterkit.settings import ServingSettings

ADDRESS = "/invocations"

_FORMS = ("dataframe_split", "dataframe_records", "instances", "inputs", "input_data")
"""MLflow's, and Azure ML's."""
_BESIDE = ("params", "parameters")
_FIRST_KEY = re.compile(rb'\s*\{\s*"(\w{1,20})"').match
_NUMBER = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\s*").fullmatch
_MISSING = frozenset(["", "#N/A", "N/A", "NA", "n/a", "NULL", "null", "NaN", "nan", "-NaN", "-nan", "None", "<NA>"])
"""What pandas reads as a missing value."""
_FLAGS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}
_CODES = {
    HTTPStatus.UNAUTHORIZED: "UNAUTHENTICATED",
    HTTPStatus.REQUEST_TIMEOUT: "DEADLINE_EXCEEDED",
    HTTPStatus.SERVICE_UNAVAILABLE: "TEMPORARILY_UNAVAILABLE",
    HTTPStatus.INTERNAL_SERVER_ERROR: "INTERNAL_ERROR",
}


class Invocations:
    """Answers at /invocations."""

    def __init__(self, served: ServedModel, settings: ServingSettings) -> None:
        self._served = served
        self._reader = InvocationReader(
            served.contract, served.predictor.beyond, settings.max_rows, raw=settings.raw_records
        )
        self._encode = msgspec.json.Encoder().encode

    def accept(self, headers: Headers) -> None:
        kind, *words = (part.strip() for part in headers.get(b"content-type", b"").lower().split(b";"))
        if kind not in (b"application/json", b"text/csv") or any(word != b"charset=utf-8" for word in words if word):
            what, hint = "the body is neither JSON nor CSV in UTF-8", "Send Content-Type: application/json or text/csv"
            raise InvalidRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, what, hint)

    def read(self, body: bytearray, headers: Headers) -> Asked:
        is_csv = headers[b"content-type"][:8].lower() == b"text/csv"
        return Asked(self._reader.read_csv(body)) if is_csv else self._reader.read(body)

    def tell(self, asked: Asked, answered: Answered) -> Answer:
        """A row's answers under the names of the graph's outputs, as pyfunc makes a table of them."""
        columns = answered.prediction.columns
        if columns[0].dtype == np.bool_:
            columns[0] = columns[0].astype(np.int64)  # so the graph says them
        names = self._served.predictor.outputs
        content: dict[str, Any] = {
            "predictions": [
                dict(zip(names, row, strict=True)) for row in zip(*(one.tolist() for one in columns), strict=True)
            ]
        }
        if answered.beyond:
            content["beyond"] = [fault.content for fault in answered.beyond]
        return Answer(self._encode(content))

    def refuse(self, error: Exception) -> Response | None:
        told = refusal(error)
        return None if told is None else _say(told, error)

    def fail(self) -> Response:
        return _say(bug())


def _say(told: Response, error: Exception | None = None) -> Response:
    """A refusal in MLflow's form."""
    status, words, headers = retold(told, error)
    content: dict[str, Any] = {"error_code": _CODES.get(status, "BAD_REQUEST"), "message": words}
    if isinstance(error, InvalidRecords):
        content["errors"] = [fault.content for fault in error.faults]
    return answer(content, status, headers=headers)


def describe(example: Mapping[str, Any] | None, is_guarded: bool) -> dict[str, Any]:
    """The operation in the OpenAPI document; None for those who may not read of the model."""
    row = {} if example is None else dict(example)
    told = {"type": "object", "properties": {"error_code": {"type": "string"}, "message": {"type": "string"}}}
    refused = {"application/json": {"schema": told | {"required": ["error_code", "message"]}}}
    words = {
        **OF_BODIES,
        "400": "The body is not what the model takes; `message` says where and why",
        "415": "The body is compressed, or neither JSON nor CSV",
    }
    answered = {"type": "object", "properties": {"predictions": {"type": "array", "items": {"type": "object"}}}}
    return {
        "tags": ["model"],
        "summary": "Predictions by MLflow's scoring protocol",
        "operationId": "invocations",
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": {"type": "object"}, "example": {"dataframe_records": [row]}},
                "text/csv": {"schema": {"type": "string"}},
            },
        },
        "responses": {
            "200": {
                "description": "The graph's outputs for each row",
                "content": {"application/json": {"schema": answered}},
            },
            **refusals(refused, is_guarded, words),
        },
    }


class InvocationReader(RecordReader):
    """Reads what MLflow's clients send: rows under one of four keys, or CSV."""

    def __init__(self, contract: Contract, beyond: Beyond, max_rows: int, *, raw: bool = False) -> None:
        super().__init__(contract, beyond, max_rows, raw=raw)
        self._ways: dict[bytes, QuickReader] = {}
        if self._quick is not None:
            self._ways = {name.encode(): QuickReader(contract, beyond, name) for name in _FORMS[1:]}
            self._ways[_FORMS[0].encode()] = SplitReader(contract, beyond)

    def quick(self, body: bytes | bytearray) -> Asked | None:
        found = _FIRST_KEY(body)
        way = self._ways.get(found[1]) if found else None
        return None if way is None else self.by(way, body)

    def records(self, body: bytes | bytearray) -> tuple[Sequence[object], Sequence[str]]:
        document = decode_document(body)
        if not isinstance(document, dict):
            raise bad("the body is not an object", f"Send one with exactly one of {', '.join(_FORMS)}")
        if len(document.keys() & set(_FORMS)) != 1:
            raise bad("the body has none or several of the known keys", f"Send exactly one of {', '.join(_FORMS)}")
        if extra := [name for name in document if name not in (*_FORMS, *_BESIDE)]:
            raise bad(f"the body has the unknown key '{extra[0][:SHOWN]}'", "Leave it out")
        if beside := [name for name in _BESIDE if document.get(name)]:
            raise bad("the model takes no params", f"Leave '{beside[0]}' out")
        ((form, given),) = ((name, value) for name, value in document.items() if name in _FORMS)
        if form == "dataframe_split" or (form == "input_data" and isinstance(given, dict)):
            return self._named(*_of_split(given)), ()
        if isinstance(given, dict) and form in ("inputs", "instances"):
            return self._named(*_of_columns(given)), ()
        if not isinstance(given, list) or not given:
            raise bad(f"'{form}' is not a list of rows", "Send at least one row, each an object of column and value")
        return self._few(given), ()

    def read_csv(self, body: bytes | bytearray) -> Table:
        """Rows below a line with the columns' names; or without one, in the contract's order, as SageMaker sends them.

        Raises
        ------
        InvalidRequest
            The body is not CSV in UTF-8, or has too many rows.
        InvalidRecords
            A row is not what the contract says.
        """
        try:
            text = io.StringIO(body.decode("utf-8-sig"), newline="")
            lines = [line for line in csv.reader(text, strict=True) if line]
        except (UnicodeDecodeError, csv.Error):
            raise bad("the body is not CSV in UTF-8", "Send a line with the columns' names, and a line a row") from None
        if not lines:
            raise bad("the body is empty", "Send a line with the columns' names, and a line a row")
        return self.table(self._named(*_of_lines(lines, self._contract)))

    def table(self, records: Sequence[object]) -> Table:
        if records:
            return super().table(records)
        return {name: np.empty(0) for name in self._contract.names}

    def _named(self, names: Sequence[object], rows: Sequence[object]) -> Sequence[object]:
        """Rows of values as records."""
        if not all(isinstance(name, str) for name in names) or len({*names}) < len(names):
            raise bad("the columns are not named, or a name stands twice", "Name each column once")
        if not rows and {*names} != {*self._contract.names}:
            raise bad("the columns are not those of the model", f"Send {', '.join(self._contract.names)}")
        for place, row in enumerate(self._few(rows)):
            if not isinstance(row, list) or len(row) != len(names):
                raise bad(f"row {place} does not have a value for each column", f"Give {len(names)} values in each")
        return [dict(zip(names, row, strict=True)) for row in rows if isinstance(row, list)]

    def _few(self, records: Sequence[object]) -> Sequence[object]:
        if len(records) > self._max_rows:
            raise bad(f"the body has {len(records)} rows", f"Send at most {self._max_rows} in a request")
        return records


class SplitReader(QuickReader):
    """The quick way for `dataframe_split` with the contract's columns in its order: each row is a tuple already."""

    def __init__(self, contract: Contract, beyond: Beyond) -> None:
        super().__init__(contract, beyond)
        self.is_bounded = False
        self._in_order = [*contract.names]
        row: Any = _TUPLE[tuple(asked_type(column, beyond) for column in contract.columns)]
        data, index = list[row], list[int] | msgspec.UnsetType
        members: Any = [("columns", list[str]), ("data", data), ("index", index, msgspec.UNSET)]
        split = msgspec.defstruct("Split", members, forbid_unknown_fields=True)
        body = msgspec.defstruct("Body", [("dataframe_split", split)], forbid_unknown_fields=True)
        self._decode_split: Any = msgspec.json.Decoder(body).decode
        self._in_names = sum(name.count(":") for name in contract.names)

    def decode(self, body: bytes | bytearray) -> Sent | None:
        split = self._decode_split(body).dataframe_split
        if split.columns != self._in_order:
            return None
        keys = 3 if split.index is msgspec.UNSET else 4
        return Sent(len(split.data), split.data, self._in_names + keys)


_TUPLE: Any = tuple  # of types that are known when the model is


def _of_split(given: object) -> tuple[Sequence[str], Sequence[object]]:
    shape = 'Send {"columns": [names], "data": [[values of a row], …]}'
    if not isinstance(given, dict) or not isinstance(given.get("data"), list) or "columns" not in given:
        raise bad("'dataframe_split' does not have columns and data", shape)
    if given.keys() - {"columns", "data", "index"} or not isinstance(given["columns"], list):
        raise bad("'dataframe_split' has something else than columns, data and index", shape)
    return given["columns"], given["data"]


def _of_columns(given: Mapping[str, object]) -> tuple[Sequence[str], Sequence[object]]:
    """An object of columns: each a list, or a single value."""
    columns = [value if isinstance(value, list) else [value] for value in given.values()]
    if len({len(values) for values in columns}) != 1:
        raise bad("the columns are not of one length", "Give each column a value for each row")
    return [*given], [[*row] for row in zip(*columns, strict=True)]


def _of_lines(lines: Sequence[Sequence[str]], contract: Contract) -> tuple[Sequence[str], Sequence[object]]:
    """The first line names the columns, or is the first row."""
    header, rows = [*contract.names], lines
    if set(lines[0]) & set(header):
        header, rows = [*lines[0]], lines[1:]
    types = {column.name: column.type for column in contract.columns}
    kinds = [types.get(name, "string") for name in header]
    # A line of another length stays as it is, and is told so.
    return header, [
        [_cell(kind, text) for kind, text in zip(kinds, row, strict=True)] if len(row) == len(kinds) else [*row]
        for row in rows
    ]


def _cell(kind: str, text: str) -> object:
    """What a field means in a column of this type. One that means nothing stays a text, and is refused as such."""
    if text in _MISSING:
        return None
    if kind == "boolean":
        return _FLAGS.get(text, text)
    return float(text) if kind in ("float", "integer") and _NUMBER(text) else text
