"""The served model in words: what `/model` says of it, and what the OpenAPI page says of its columns and refusals.

The JSON Schema is written here and not by pydantic: docs/decisions/0021-one-check.md says why.
"""

from collections.abc import Mapping
from dataclasses import asdict
from html import escape
from typing import Any

from fastapi import FastAPI

from starterkit.contract import Column, Contract
from starterkit.serving.predictor import Predictor, ServedModel
from starterkit.settings import ServingSettings

PROBLEM_TYPE = "application/problem+json"

_TYPES = {"float": "number", "integer": "integer", "boolean": "boolean", "string": "string", "datetime": "string"}
_TEXT = {"type": "string"}

REFUSED = {
    "description": "Refused; `detail` and `errors` say why and what would do",
    "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
}


def identity(served: ServedModel) -> dict[str, str]:
    return {"name": served.name, "version": served.version}


def model_content(served: ServedModel) -> dict[str, Any]:
    """What a client needs to know of the model, and an operator of where it comes from."""
    contract = served.contract
    shown = ("name", "type", "unit", "nullable", "minimum", "maximum", "proven", "categories", "description")
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


def describe(app: FastAPI, predictor: Predictor, settings: ServingSettings) -> None:
    """Write the model's contract into the app's OpenAPI document."""
    contract, refuses = predictor.contract, predictor.beyond == "refuse"
    app.title = escape(contract.title)  # of the page's tab, whose HTML FastAPI puts together as it is
    document = app.openapi()
    document["info"].update(title=contract.title, description=f"Predicts {contract.target.name}: {contract.task}.")
    record = _object({column.name: _column(column, refuses) for column in contract.columns})
    if settings.raw_records:
        names = ", ".join(column.written.header or column.name for column in contract.columns)
        record = {"type": "object", "description": f"As the file that trained the model has it, or typed: {names}"}
    schemas = {"Record": record, "Prediction": _prediction(contract, refuses), "Problem": _problem()}
    document.setdefault("components", {}).setdefault("schemas", {}).update(schemas)
    predict = document["paths"]["/predict"]["post"]
    predict["requestBody"] = {"required": True, "content": {"application/json": _request(contract, settings.max_rows)}}
    predict["responses"]["200"]["content"] = {"application/json": {"schema": _reference("Prediction")}}


def _request(contract: Contract, max_rows: int) -> dict[str, Any]:
    rows = {"type": "array", "items": _reference("Record"), "minItems": 1, "maxItems": max_rows}
    return {"schema": _object({"records": rows}), "example": {"records": [dict(contract.example)]}}


def _column(column: Column, refuses: bool) -> dict[str, Any]:
    """A column as JSON Schema, with its unit in the description. What is beyond the proof may be refused."""
    low, high = (column.open_range if refuses else None) or (column.minimum, column.maximum)
    known = [*column.categories, None] if column.nullable else [*column.categories]
    said = {
        "type": [_TYPES[column.type], "null"] if column.nullable else _TYPES[column.type],
        "description": ", ".join(filter(None, (column.description, column.unit and f"in {column.unit}"))) or None,
        "minimum": low,
        "maximum": high,
        "enum": known if column.categories else None,
    }
    return {word: value for word, value in said.items() if value is not None}


def _prediction(contract: Contract, refuses: bool) -> dict[str, Any]:
    value: dict[str, Any] = {"enum": list(contract.classes)} if contract.classes else {"type": "number"}
    properties = {
        "model": _object({"name": _TEXT, "version": _TEXT}),
        "predictions": {"type": "array", "items": value},
    }
    if contract.classes:
        shares = {"type": "object", "additionalProperties": {"type": "number"}}
        properties["probabilities"] = {"type": "array", "items": shares}
    answered = _object(properties)
    if not refuses:
        answered["properties"] = {**properties, "beyond": _faults()}
    return answered


def _faults() -> dict[str, Any]:
    place = {"row": {"type": ["integer", "null"]}, "column": {"type": ["string", "null"]}}
    return {"type": "array", "items": _object({**place, "problem": _TEXT, "mend": _TEXT})}


def _problem() -> dict[str, Any]:
    told = {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT, "errors": _faults()}
    return {**_object(told), "required": ["type", "title", "status", "detail"]}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    required = list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}
