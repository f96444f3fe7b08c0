"""Answers as JSON: predictions, refusals as RFC 9457 problem details, and the OpenAPI page's words about both."""

import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import asdict
from html import escape
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from starterkit.contract import Column, Contract, Prediction
from starterkit.serving.http.requests import InvalidRequest, ServedModel
from starterkit.serving.validation import InvalidRecords

# --- Answers as JSON: a model's predictions, and refusals as RFC 9457 problem details.

PROBLEM_TYPE = "application/problem+json"

_DETAILS = {
    HTTPStatus.NOT_FOUND: "there is nothing at this address. See /docs for those that there are.",
    HTTPStatus.METHOD_NOT_ALLOWED: "this address does not take this method. The header Allow says which it takes.",
}


def answer(
    content: Mapping[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """JSON in UTF-8. Half a surrogate pair, which a client may have sent as a key, becomes a question mark."""
    body = json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    return Response(body, status, headers, media_type)


def identity(served: ServedModel) -> dict[str, str]:
    return {"name": served.name, "version": served.version}


def prediction_content(served: ServedModel, prediction: Prediction) -> dict[str, Any]:
    """Values and, from a classifier, each class's probability, row by row."""
    classes = served.contract.classes
    label = {value: value for value in classes}  # a graph knows no booleans: its 1 is the contract's true
    values = [label.get(value, value) for value in prediction.values.tolist()]
    content: dict[str, Any] = {"model": identity(served), "predictions": values}
    if prediction.probabilities is not None:
        content["probabilities"] = [dict(zip(classes, row, strict=True)) for row in prediction.probabilities.tolist()]
    return content


def model_content(served: ServedModel) -> dict[str, Any]:
    """What a client needs to know of the model, and an operator of where it comes from."""
    contract = served.contract
    shown = ("name", "type", "unit", "nullable", "minimum", "maximum", "categories", "description")
    columns = [{name: getattr(column, name) for name in shown} for column in (*contract.columns, contract.target)]
    lineage = contract.lineage
    return {
        **identity(served),
        "title": contract.title,
        "task": contract.task,
        "columns": columns[:-1],
        "target": columns[-1],
        "classes": contract.classes,
        "example": contract.example,
        "parity": asdict(contract.parity),
        "lineage": {"run": lineage.run, "commit": lineage.commit, "data_digest": lineage.data_digest},
    }


def problem(
    status: int,
    detail: str,
    errors: Sequence[Mapping[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A refusal. `errors` has a row (from 0), column, problem and mend for each fault, where there are any to name."""
    status = HTTPStatus(status)
    content: dict[str, Any] = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    if errors is not None:
        content["errors"] = errors
    return answer(content, status, PROBLEM_TYPE, headers)


async def _invalid_records(_: Request, error: InvalidRecords) -> Response:
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), [asdict(fault) for fault in error.faults])


async def _invalid_request(_: Request, error: InvalidRequest) -> Response:
    errors = [{"row": None, "column": None, "problem": error.what, "mend": error.mend}]
    return problem(error.status, str(error), errors, error.headers)


async def _http_exception(_: Request, error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    return problem(status, _DETAILS.get(status, status.phrase), headers=error.headers)


async def _invalid_parameters(_: Request, __: RequestValidationError) -> Response:
    return problem(
        HTTPStatus.UNPROCESSABLE_ENTITY, "the address has an invalid parameter. See /docs for what it takes."
    )


async def _disconnected(_: Request, __: ClientDisconnect) -> Response:
    return problem(HTTPStatus.BAD_REQUEST, "the body did not arrive whole.")  # nobody is there to read this


async def _bug(_: Request, __: Exception) -> Response:
    detail = "the server failed; its log says why. The request need not be changed."
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)


PROBLEMS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    InvalidRecords: _invalid_records,
    InvalidRequest: _invalid_request,
    HTTPException: _http_exception,
    RequestValidationError: _invalid_parameters,  # FastAPI's own answer repeats the input
    ClientDisconnect: _disconnected,
    Exception: _bug,
}
"""What each exception becomes. The server logs those that only the last line knows."""


# --- The OpenAPI page's words about the served model: its columns, an example that works, and what refusals look like.

_TYPES = {"float": "number", "integer": "integer", "boolean": "boolean", "string": "string", "datetime": "string"}
_TEXT = {"type": "string"}

REFUSED = {
    "description": "Refused; `detail` and `errors` say why and what would do",
    "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def describe(app: FastAPI, contract: Contract, max_rows: int) -> None:
    """Write the model's contract into the app's OpenAPI document."""
    app.title = escape(contract.title)  # of the page's tab, whose HTML FastAPI puts together as it is
    app.openapi_schema = None
    document = app.openapi()
    document["info"].update(title=contract.title, description=f"Predicts {contract.target.name}: {contract.task}.")
    schemas = {"Record": _record(contract), "Prediction": _prediction(contract), "Problem": _problem()}
    document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
    predict = document["paths"]["/predict"]["post"]
    predict["requestBody"] = {"required": True, "content": {"application/json": _request(contract, max_rows)}}
    predict["responses"]["200"]["content"] = {"application/json": {"schema": _reference("Prediction")}}


def _request(contract: Contract, max_rows: int) -> dict[str, Any]:
    rows = {"type": "array", "items": _reference("Record"), "minItems": 1, "maxItems": max_rows}
    return {"schema": _object({"records": rows}), "example": {"records": [dict(contract.example)]}}


def _record(contract: Contract) -> dict[str, Any]:
    return _object({column.name: column_schema(column) for column in contract.columns})


def column_schema(column: Column) -> dict[str, Any]:
    """A column as JSON Schema, with its unit in the description."""
    schema: dict[str, Any] = {"type": [_TYPES[column.type], "null"] if column.nullable else _TYPES[column.type]}
    if description := ", ".join(filter(None, (column.description, column.unit and f"in {column.unit}"))):
        schema["description"] = description
    if column.minimum is not None:
        schema["minimum"] = column.minimum
    if column.maximum is not None:
        schema["maximum"] = column.maximum
    if column.categories:
        schema["enum"] = [*column.categories, None] if column.nullable else [*column.categories]
    return schema


def _prediction(contract: Contract) -> dict[str, Any]:
    name = {"name": _TEXT, "version": _TEXT}
    value: dict[str, Any] = {"type": "number"}
    if contract.classes:
        value = {"enum": list(contract.classes)}
    properties: dict[str, Any] = {"model": _object(name), "predictions": {"type": "array", "items": value}}
    if contract.classes:
        shares = {"type": "object", "additionalProperties": {"type": "number"}}
        properties["probabilities"] = {"type": "array", "items": shares}
    return _object(properties)


def _problem() -> dict[str, Any]:
    place = {"row": {"type": ["integer", "null"]}, "column": {"type": ["string", "null"]}}
    errors = {"type": "array", "items": _object({**place, "problem": _TEXT, "mend": _TEXT})}
    told = {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT, "errors": errors}
    return {**_object(told), "required": ["type", "title", "status", "detail"]}


def _object(properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
