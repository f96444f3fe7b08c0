"""The OpenAPI page's words about the served model: its columns, an example that works, and what refusals look like."""

from html import escape
from typing import Any

from fastapi import FastAPI

from starterkit.contract import Column, Contract
from starterkit.serving.answers import PROBLEM_TYPE

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
