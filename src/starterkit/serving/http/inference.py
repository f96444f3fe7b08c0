"""`Inference`: the Open Inference Protocol, version 2: a tensor for each column, or one of all numbers.

See docs/protocols.md for what of it is spoken.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from starlette.responses import Response

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
    require_json,
    retold,
)
from starterkit.serving.http.records import Asked, RecordReader, decode_document
from starterkit.serving.http.tensors import DATATYPES, SHAPE, Tensor, as_values, contents, without_values, write
from starterkit.serving.predictor import Answered, ServedModel
from starterkit.serving.validation import Bounds, Fault, InvalidRecords, check_columns, fault_of_value, hint_of
from starterkit.settings import ServingSettings

if TYPE_CHECKING:
    from fastapi import APIRouter

SERVER = {"name": "starterkit", "version": "1", "extensions": ["binary_tensor_data"]}

PREFIX = "/v2"

_DATATYPES = {"float": "FP64", "integer": "INT64", "boolean": "BOOL", "string": "BYTES", "datetime": "BYTES"}
_LENGTH = b"inference-header-content-length"
_LONG = 10_000


class Wanted(msgspec.Struct, forbid_unknown_fields=True):
    """An output that is asked for."""

    name: str
    parameters: dict[str, Any] = {}


class Body(msgspec.Struct, forbid_unknown_fields=True):
    """A request to infer."""

    inputs: list[Tensor]
    id: str | None = None
    model_name: str | None = None  # KServe's client says it a second time
    model_version: str | None = None
    outputs: list[Wanted] | None = None
    parameters: dict[str, Any] = {}


_BODY = msgspec.json.Decoder(Body)


def addresses(served: ServedModel) -> tuple[str, ...]:
    """Where a model is asked to infer."""
    model = f"{PREFIX}/models/{served.name}"
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
    """Answers at /v2/models/…/infer."""

    def __init__(self, served: ServedModel, settings: ServingSettings) -> None:
        self._served = served
        self._max_rows = settings.max_rows
        self._masses = RecordReader(served.contract, served.predictor.beyond, settings.max_rows)
        self._bounds = Bounds.of(served.contract) if served.predictor.beyond == "refuse" else None

    def accept(self, headers: Headers) -> None:
        """JSON, tensors behind it, or a body without a type, as tritonclient sends it; but none of those that a browser
        sends anywhere."""
        kind = headers.get(b"content-type", b"").partition(b";")[0].strip()
        if _LENGTH not in headers and (kind or b"origin" in headers):
            require_json(kind)

    def read(self, body: bytearray, headers: Headers) -> Asked:
        head, behind = _split(body, headers.get(_LENGTH))
        wire = self._read(head)
        if (wire.model_name or self._served.name) != self._served.name:
            raise bad("the body names another model than the address", f"Ask {self._served.name}")
        outputs = self._served.predictor.outputs
        if unknown := [one.name for one in wire.outputs or () if one.name not in outputs]:
            raise bad(f"'{unknown[0][:SHOWN]}' is no output of this model", f"It has {', '.join(outputs)}")
        return Asked(self._table(wire.inputs, contents(wire.inputs, behind)), wire=wire)

    def tell(self, asked: Asked, answered: Answered) -> Answer:
        wire: Body = asked.wire
        told = dict(zip(self._served.predictor.outputs, answered.prediction.columns, strict=True))
        wanted = wire.outputs or [Wanted(name) for name in told]
        are_binary = wire.parameters.get("binary_data_output") is True
        written = [
            write(one.name, told[one.name], is_binary=one.parameters.get("binary_data", are_binary) is True)
            for one in wanted
        ]
        content: dict[str, Any] = {
            "model_name": self._served.name,
            "model_version": self._served.version,
            **({} if wire.id is None else {"id": wire.id}),
            "outputs": [about for about, _ in written],
        }
        if answered.beyond:
            content["parameters"] = {"beyond": [fault.content for fault in answered.beyond]}
        said = msgspec.json.encode(content)
        if all("data" in about for about, _ in written):
            return Answer(said)
        kept = ((b"content-type", b"application/octet-stream"), (_LENGTH, b"%d" % len(said)))
        return Answer(b"".join((said, *(one for _, one in written))), kept)

    def _read(self, head: bytes | bytearray) -> Body:
        self._masses.refuse_masses(head)
        try:
            asked = _BODY.decode(head)
        except msgspec.DecodeError as error:
            self._look_for_faults(head)
            raise bad(f"the body is no request to infer: {without_values(error)}", SHAPE) from None
        for one in asked.inputs:  # no list of values has an object in it, and no key twice
            if one.data is not msgspec.UNSET and len(memoryview(one.data)) > _LONG:
                head = head.replace(bytes(one.data), b"0", 1)
        decode_document(head)  # says which key stands twice
        return asked

    def _table(self, tensors: Sequence[Tensor], behind: Sequence[memoryview | None]) -> Table:
        contract = self._served.contract
        names, is_matrix = contract.names, contract.layout == "matrix" and len(contract.names) > 1
        if len({one.name for one in tensors}) < len(tensors):
            raise bad("an input stands twice", "Send each once")
        if most := [one.shape[0] for one in tensors if one.shape and one.shape[0] > self._max_rows]:
            raise bad(f"there are {most[0]:.9g} rows", f"Send at most {self._max_rows} in a request")
        if is_matrix and len(tensors) == 1 and len(tensors[0].shape) == 2:
            columns, table = self._of_matrix(tensors[0], behind[0])
        else:
            given = {one.name: (one, content) for one, content in zip(tensors, behind, strict=True)}
            missing = [name for name in names if name not in given]
            unknown = [name for name in given if name not in names]
            if missing or unknown:
                what = f"the input '{missing[0]}' is missing" if missing else f"'{unknown[0][:SHOWN]}' is no input"
                raise bad(what, f"The model takes {', '.join(names)}")
            columns = {name: self._column(*given[name]) for name in names}
            if len({*map(len, columns.values())}) != 1:
                raise bad("the inputs are not of one length", "Give each a value for each row")
            table = None
        if self._bounds is not None and self._bounds.are_kinds_of(columns):
            table = np.column_stack([*columns.values()]) if table is None else table
            if self._bounds.hold(table := np.require(table, np.float64, "A")):
                return table
        values = {name: as_values(column) for name, column in columns.items()}
        checked = check_columns(contract, values, self._served.predictor.beyond)
        if checked.faults:
            raise InvalidRecords(checked.faults)
        return checked.columns

    def _column(self, tensor: Tensor, content: memoryview | None) -> NDArray[Any]:
        """One column, sent as [n] or [n, 1]."""
        if len(tensor.shape) not in (1, 2) or tensor.shape[1:] not in ([], [1]):
            raise bad(f"the input '{tensor.name}' is not of shape [rows]", SHAPE)
        return self._values(tensor, content)

    def _of_matrix(
        self, tensor: Tensor, content: memoryview | None
    ) -> tuple[Mapping[str, NDArray[Any]], NDArray[np.float64]]:
        """All columns in the contract's order, row after row or as a list of rows."""
        names = self._served.contract.names
        if tensor.shape[1] != len(names) or tensor.datatype in ("BOOL", "BYTES"):
            what = f"an input of two dimensions is not of {len(names)} columns of numbers"
            raise bad(what, f"Send {', '.join(names)} in this order, or an input for each")
        table = self._values(tensor, content).reshape(tensor.shape).astype(np.float64, copy=False)
        return dict(zip(names, table.T, strict=True)), table

    def _values(self, tensor: Tensor, content: memoryview | None) -> NDArray[Any]:
        try:
            return tensor.read(content)
        except InvalidRequest:
            if tensor.data is not msgspec.UNSET:
                self._look_for_values(tensor.name, decode_document(bytes(tensor.data)))
            raise

    def _look_for_faults(self, head: bytes | bytearray) -> None:
        """Say at which value it is no request: NaN is no JSON."""
        document = decode_document(head)
        inputs = document.get("inputs") if isinstance(document, dict) else None
        for one in inputs if isinstance(inputs, list) else ():
            if isinstance(one, dict) and isinstance(one.get("name"), str):
                self._look_for_values(one["name"], one.get("data"))

    def _look_for_values(self, name: str, data: object) -> None:
        contract = self._served.contract
        if not isinstance(data, list):
            return
        flat = [value for row in data for value in (row if isinstance(row, list) else [row])]
        known = [one for one in contract.columns if one.name == name] or contract.columns
        placed = ((*divmod(at, len(known)), value) for at, value in enumerate(flat))
        told = ((row, known[place], fault_of_value(known[place], value)) for row, place, value in placed)
        if found := [Fault(row, one.name, wrong[1], hint_of(one), wrong[0]) for row, one, wrong in told if wrong]:
            raise InvalidRecords(found)

    def refuse(self, error: Exception) -> Response | None:
        told = refusal(error)
        return None if told is None else say(told, error)

    def fail(self) -> Response:
        return say(bug())


def say(told: Response, error: Exception | None = None) -> Response:
    """A refusal in the protocol's form."""
    status, words, headers = retold(told, error)
    return answer({"error": words}, status, headers=headers)


def server_routes() -> "APIRouter":
    """What clients ask before they ask for predictions."""
    from fastapi import APIRouter

    router = APIRouter(prefix=PREFIX, tags=["health"], include_in_schema=False)

    @router.get("")
    async def server() -> Response:
        return answer(SERVER)

    @router.get("/health/live")
    async def live() -> Response:
        return answer({"live": True})

    @router.get("/health/ready")
    async def ready() -> Response:
        return answer({"ready": True})

    return router


def model_routes(served: ServedModel) -> "APIRouter":
    """What the protocol says of the model, with and without its version."""
    from fastapi import APIRouter

    router = APIRouter(prefix=f"{PREFIX}/models/{served.name}", tags=["model"], include_in_schema=False)

    @router.get("/ready")
    @router.get(f"/versions/{served.version}/ready")
    async def ready() -> Response:
        return answer({"name": served.name, "ready": True})

    @router.get("")
    @router.get(f"/versions/{served.version}")
    async def model() -> Response:
        return answer(metadata(served))

    return router


def _split(body: bytearray, length: bytes | None) -> tuple[bytearray, memoryview]:
    """The JSON, and the bytes behind it."""
    if length is None:
        return body, memoryview(b"")
    if not length.isdigit() or int(length[:20]) > len(body):
        raise bad("Inference-Header-Content-Length is not a length in the body", "Send how long the JSON is, in bytes")
    return body[: int(length)], memoryview(body)[int(length) :]


def describe(model: str | None, is_guarded: bool) -> dict[str, Any]:
    """The operation in the OpenAPI document; without a name for those who may not read of the model."""
    name = {"type": "string"} | ({} if model is None else {"enum": [model]})
    value = {"type": ["number", "string", "boolean", "null"]}
    data = {"type": "array", "items": {"anyOf": [value, {"type": "array", "items": value}]}}
    lists = {"shape": {"type": "array", "items": {"type": "integer", "minimum": 1}}, "data": data}
    said = {"name": {"type": "string"}, "datatype": {"enum": [*DATATYPES]}, **lists, "parameters": {"type": "object"}}
    tensor = {"type": "object", "properties": said, "required": ["name", "shape", "datatype"]}
    inputs = {"inputs": {"type": "array", "items": tensor, "minItems": 1}}
    asked = {"type": "object", "properties": inputs, "required": ["inputs"]}
    words = {
        "400": "The body is not what the model takes; `error` says where and why",
        "404": "The model has another name",
        **OF_BODIES,
    }
    told = {"type": "object", "properties": {"error": {"type": "string"}}, "required": ["error"]}
    answered = {"content": {"application/json": {"schema": {"type": "object"}}}}
    return {
        "tags": ["model"],
        "summary": "Predictions by the Open Inference Protocol",
        "operationId": "infer",
        "parameters": [{"name": "model", "in": "path", "required": True, "schema": name}],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {"schema": asked},
                "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            },
        },
        "responses": {
            "200": {"description": "An output for each of the graph's", **answered},
            **refusals({"application/json": {"schema": told}}, is_guarded, words),
        },
    }
