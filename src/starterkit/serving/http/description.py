"""The served model in words: what `/model` says of it, and what the OpenAPI page says of its columns and refusals.

The JSON Schema is written here and not by pydantic: docs/decisions/0021-one-check.md says why.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from starterkit.contract import Column, Contract
from starterkit.serving.http.answers import PROBLEM_TYPE, identity
from starterkit.serving.http.predict import ADDRESS
from starterkit.serving.predictor import Predictor, ServedModel
from starterkit.settings import ServingSettings

_TYPES = {"float": "number", "integer": "integer", "boolean": "boolean", "string": "string", "datetime": "string"}
_TEXT = {"type": "string"}


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


def describe(
    routes: Mapping[str, Any], predictor: Predictor | None, settings: ServingSettings, is_guarded: bool
) -> dict[str, Any]:
    """The app's OpenAPI document: the router's own, and each address with every status and shape that can come.

    Parameters
    ----------
    routes
        What FastAPI says of the other routes.
    predictor
        Whose contract is to be read there; None for those who may not read it.
    """
    document = deepcopy(dict(routes))
    schemas: dict[str, Any] = {"Problem": _problem()}
    if predictor is None:
        document["info"].update(title="A model", description="Send the key to read what it takes and answers.")
        records: dict[str, Any] = {"type": "array", "items": {"type": "object"}}
        offered = {"schema": _object({"records": records}), "example": {"records": [{}]}}
        schemas["Prediction"] = {"type": "object"}
    else:
        contract, refuses = predictor.contract, predictor.beyond == "refuse"
        about = {"title": contract.title, "description": f"Predicts {contract.target.name}: {contract.task}."}
        document["info"].update(about)
        schemas |= {"Record": _record(contract, refuses, settings), "Prediction": _prediction(contract, refuses)}
        offered = _request(contract, settings.max_rows)
    components = document.setdefault("components", {})
    components["schemas"] = schemas
    document["paths"][ADDRESS] = {"post": _predict(offered, is_guarded)}
    for path, methods in document["paths"].items():
        guarded = is_guarded and not path.startswith("/health")
        methods["get" if "get" in methods else "post"]["responses"] |= _refusals(guarded)
    return document


def _predict(offered: Mapping[str, Any], is_guarded: bool) -> dict[str, Any]:
    answered = {"description": "A prediction for each record", "content": _json(_reference("Prediction"))}
    words = {
        HTTPStatus.BAD_REQUEST: "The body did not arrive whole",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "The body is too long",
        HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "The body is compressed, or not said to be JSON",
        HTTPStatus.UNPROCESSABLE_ENTITY: "A record is not what the model takes; `errors` says which, why, and what is",
    }
    predict: dict[str, Any] = {
        "tags": ["model"],
        "summary": "Predictions for a few records",
        "operationId": "predict",
        "requestBody": {"required": True, "content": {"application/json": offered}},
        "responses": {"200": answered, **{str(int(status)): _refused(said) for status, said in words.items()}},
    }
    if is_guarded:
        predict["security"] = [{"APIKeyHeader": []}]
    return predict


def _refusals(is_guarded: bool) -> dict[str, Any]:
    """What may come at any address."""
    words = {
        HTTPStatus.METHOD_NOT_ALLOWED: "This address does not take this method",
        HTTPStatus.REQUEST_TIMEOUT: "The request did not arrive whole in time",
        HTTPStatus.INTERNAL_SERVER_ERROR: "The server failed; its log says why",
        HTTPStatus.SERVICE_UNAVAILABLE: "There is no room for this request now; `Retry-After` says when to come again",
    }
    if is_guarded:
        words[HTTPStatus.UNAUTHORIZED] = "The key is missing, or another one"
    return {str(int(status)): _refused(said) for status, said in words.items()}


def _refused(words: str) -> dict[str, Any]:
    return {"description": words, "content": {PROBLEM_TYPE: {"schema": _reference("Problem")}}}


def _json(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _record(contract: Contract, refuses: bool, settings: ServingSettings) -> dict[str, Any]:
    if settings.raw_records:
        names = ", ".join(column.written.header or column.name for column in contract.columns)
        return {"type": "object", "description": f"As the file that trained the model has it, or typed: {names}"}
    return _object({column.name: _column(column, refuses) for column in contract.columns})


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
    if contract.classes and contract.probabilities:
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
