"""`Inference`: the Open Inference Protocol, version 2, in JSON: a tensor for each column, or one of all numbers.

See docs/protocols.md for what of it is spoken.
"""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

from starterkit.errors import UserError
from starterkit.serving.graph import Table
from starterkit.serving.http.answers import KEPT, InvalidRequest, answer, refusal
from starterkit.serving.http.gateway import Answer, Headers, Scored
from starterkit.serving.http.records import RecordReader, decode_document
from starterkit.serving.predictor import ServedModel
from starterkit.serving.validation import InvalidRecords, Values, check_columns
from starterkit.settings import ServingSettings

SERVER = {"name": "starterkit", "version": "1", "extensions": []}

_SHOWN = 100
_INTEGERS = [f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)]
_NUMBERS = msgspec.json.Decoder(list[float | None])
_ROWS = msgspec.json.Decoder(list[list[float | None]])
_READERS: Mapping[str, Any] = {
    **dict.fromkeys(("FP16", "FP32", "FP64", *_INTEGERS), _NUMBERS),
    "BOOL": msgspec.json.Decoder(list[bool | None]),
    "BYTES": msgspec.json.Decoder(list[str | None]),
}
_DATATYPES = {"float": "FP64", "integer": "INT64", "boolean": "BOOL", "string": "BYTES", "datetime": "BYTES"}
_SHAPE = 'Send {"inputs": [{"name": column, "shape": [rows], "datatype": "FP64", "data": [values]}, …]}'


class Tensor(msgspec.Struct, forbid_unknown_fields=True):
    """An input as it was sent, with its data unread."""

    name: str
    shape: list[int]
    datatype: str
    data: msgspec.Raw
    parameters: dict[str, Any] = {}


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A request to infer."""

    inputs: list[Tensor]
    id: str | None = None
    outputs: list[Wanted] | None = None
    parameters: dict[str, Any] = {}


_BODY = msgspec.json.Decoder(Body)


def _bad(what: str, hint: str) -> InvalidRequest:
    return InvalidRequest(HTTPStatus.BAD_REQUEST, what, hint)


def addresses(served: ServedModel) -> tuple[str, ...]:
    """Where a model is asked to infer."""
    model = f"/v2/models/{served.name}"
    return f"{model}/infer", f"{model}/versions/{served.version}/infer"


def metadata(served: ServedModel) -> dict[str, Any]:
    """What the protocol says of a model. It knows neither units nor ranges: /model does."""
    contract = served.contract
    inputs = [{"name": one.name, "datatype": _DATATYPES[one.type], "shape": [-1]} for one in contract.columns]
    kinds = [_DATATYPES[contract.target.type], *["FP64"] * (len(served.predictor.outputs) - 1)]
    outputs = [
        {"name": name, "datatype": kind, "shape": [-1]}
        for name, kind in zip(served.predictor.outputs, kinds, strict=True)
    ]
    about = {"name": served.name, "versions": [served.version], "platform": "onnx_onnxv1"}
    return {**about, "inputs": inputs, "outputs": outputs}


class Inference:
    """Answers at /v2/models/…/infer.

    Parameters
    ----------
    served
        The model.
    settings
        How many rows there may be.
    """

    def __init__(self, served: ServedModel, settings: ServingSettings) -> None:
        self._served = served
        self._max_rows = settings.max_rows
        self._masses = RecordReader(served.contract, served.predictor.beyond, settings.max_rows)

    def accept(self, headers: Headers) -> None:
        """JSON, or a body without a type, as tritonclient sends it; but none of those that a browser sends anywhere."""
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if kind != b"application/json" and (kind or b"origin" in headers):
            what, hint = "the body is not said to be JSON", "Send the header Content-Type: application/json"
            raise InvalidRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, what, hint)
        if b"inference-header-content-length" in headers:
            what, hint = "the tensors are binary", "Send them in JSON: with tritonclient, binary_data=False"
            raise InvalidRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, what, hint)

    def respond(self, body: bytearray, headers: Headers) -> Answer:
        asked = self._read(body)
        table = self._table(asked.inputs)
        answered = self._served.answer(table)
        columns = answered.prediction.columns
        told = dict(zip(self._served.predictor.outputs, columns, strict=True))
        if asked.outputs:
            if unknown := [one.name for one in asked.outputs if one.name not in told]:
                raise _bad(f"'{unknown[0][:_SHOWN]}' is no output of this model", f"It has {', '.join(told)}")
            told = {one.name: told[one.name] for one in asked.outputs}
        content: dict[str, Any] = {
            "model_name": self._served.name,
            "model_version": self._served.version,
            **({} if asked.id is None else {"id": asked.id}),
            "outputs": [_tensor(name, column) for name, column in told.items()],
        }
        if answered.beyond:
            content["parameters"] = {"beyond": [fault.content for fault in answered.beyond]}
        return Answer(msgspec.json.encode(content), len(columns[0]), Scored(table, answered.prediction))

    def _read(self, body: bytearray) -> Body:
        self._masses.refuse_masses(body)
        decode_document(body)  # says where it is no JSON, and which key stands twice
        try:
            return _BODY.decode(body)
        except msgspec.DecodeError as error:
            raise _bad(f"the body is no request to infer: {_without_values(error)}", _SHAPE) from None

    def _table(self, tensors: Sequence[Tensor]) -> Table:
        contract = self._served.contract
        given = {one.name: one for one in tensors}
        if len(given) < len(tensors):
            raise _bad("an input stands twice", "Send each once")
        if len(tensors) == 1 and len(tensors[0].shape) == 2 and contract.layout == "matrix" and len(contract.names) > 1:
            columns = self._of_matrix(tensors[0])
        else:
            missing = [name for name in contract.names if name not in given]
            unknown = [name for name in given if name not in contract.names]
            if missing or unknown:
                what = f"the input '{missing[0]}' is missing" if missing else f"'{unknown[0][:_SHOWN]}' is no input"
                raise _bad(what, f"The model takes {', '.join(contract.names)}")
            columns = {name: self._values(one) for name, one in given.items()}
            if len({len(one.values) for one in columns.values()}) != 1:
                raise _bad("the inputs are not of one length", "Give each a value for each row")
        checked = check_columns(contract, columns, self._served.predictor.beyond)
        if checked.faults:
            raise InvalidRecords(checked.faults)
        return checked.columns

    def _values(self, tensor: Tensor) -> Values:
        """One column, sent as [n] or [n, 1]."""
        count = tensor.shape[0] if tensor.shape else 0
        if tensor.shape not in ([count], [count, 1]):
            raise _bad(f"the input '{tensor.name}' is not of shape [rows]", _SHAPE)
        return _column(self._data(tensor, count, _READERS.get(tensor.datatype)))

    def _of_matrix(self, tensor: Tensor) -> Mapping[str, Values]:
        """All columns in the contract's order, row after row or as a list of rows."""
        names, (count, width) = self._served.contract.names, tensor.shape
        if width != len(names) or _READERS.get(tensor.datatype) is not _NUMBERS:
            what = f"an input of two dimensions is not of {len(names)} columns of numbers"
            raise _bad(what, f"Send {', '.join(names)} in this order, or an input for each")
        data = self._data(tensor, count * width, _NUMBERS, count)
        table = np.array([np.nan if one is None else one for one in data], np.float64).reshape(count, width)
        nothing = np.zeros(count, np.bool_)
        return {name: Values(table[:, at], np.isnan(table[:, at]), nothing) for at, name in enumerate(names)}

    def _data(self, tensor: Tensor, expected: int, reader: Any, rows: int | None = None) -> list[Any]:
        if reader is None:
            raise _bad(f"the datatype of '{tensor.name[:_SHOWN]}' is unknown", f"Send one of {', '.join(_READERS)}")
        try:
            if rows is not None and bytes(tensor.data)[1:].lstrip()[:1] == b"[":
                data = [value for row in _ROWS.decode(tensor.data) for value in row]
            else:
                data = reader.decode(tensor.data)
        except msgspec.DecodeError as error:
            what = f"the data of '{tensor.name[:_SHOWN]}' is not of its datatype: {_without_values(error)}"
            raise _bad(what, "Send a flat list, with null where a value is missing") from None
        count = expected if rows is None else rows
        if count > self._max_rows:
            raise _bad(f"there are {count} rows", f"Send at most {self._max_rows} in a request")
        if len(data) != expected or not data:
            raise _bad(f"the data of '{tensor.name[:_SHOWN]}' is not what its shape says", "Send at least one row")
        return data

    def refuse(self, error: Exception) -> Response | None:
        told = refusal(error)
        if told is None:
            return None
        status = HTTPStatus.BAD_REQUEST if told.status_code == HTTPStatus.UNPROCESSABLE_ENTITY else told.status_code
        words = str(error) if isinstance(error, UserError) else HTTPStatus(status).phrase
        kept = {name: told.headers[name] for name in KEPT if name in told.headers}
        return answer({"error": words}, HTTPStatus(status), headers=kept)


def _without_values(error: msgspec.DecodeError) -> str:
    """msgspec names places and types; a value that it does not know it would repeat."""
    words = str(error)
    return "" if "Invalid value" in words or "Invalid enum" in words else words[:_SHOWN]


def _column(data: Sequence[Any]) -> Values:
    missing = np.fromiter((one is None for one in data), np.bool_, len(data))
    kind = next((type(one) for one in data if one is not None), float)
    filler: Any = {bool: False, str: "", float: 0.0}[kind]
    values: NDArray[Any] = np.array(
        [filler if one is None else one for one in data], object if kind is str else np.dtype(kind)
    )
    return Values(values, missing, np.zeros(len(data), np.bool_))


def _tensor(name: str, values: NDArray[Any]) -> dict[str, Any]:
    kind = {"f": "FP64", "i": "INT64", "b": "BOOL"}.get(values.dtype.kind, "BYTES")
    return {"name": name, "datatype": kind, "shape": [len(values)], "data": values.tolist()}


def describe(is_guarded: bool) -> dict[str, Any]:
    """The operation in the OpenAPI document."""
    words = {
        "400": "The body is not what the model takes; `error` says where and why",
        "405": "This address does not take this method",
        "408": "The request did not arrive whole in time",
        "413": "The body is too long",
        "415": "The body is compressed, binary, or not said to be JSON",
        "500": "The server failed; its log says why",
        "503": "There is no room for this request now; `Retry-After` says when to come again",
    } | ({"401": "The key is missing, or another one"} if is_guarded else {})
    told = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    refused = {"content": {"application/json": {"schema": told}}}
    answered = {"content": {"application/json": {"schema": {"type": "object"}}}}
    operation: dict[str, Any] = {
        "tags": ["model"],
        "summary": "Predictions by the Open Inference Protocol",
        "operationId": "infer",
        "parameters": [{"name": "model", "in": "path", "required": True, "schema": {"type": "string"}}],
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"type": "object"}}}},
        "responses": {
            "200": {"description": "An output for each of the graph's", **answered},
            **{status: {"description": said, **refused} for status, said in words.items()},
        },
    }
    return operation | ({"security": [{"APIKeyHeader": []}]} if is_guarded else {})
