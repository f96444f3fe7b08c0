"""`make_api`: FastAPI's part of the API, with its OpenAPI document. What clients and operators read is here."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict
from datetime import UTC, datetime
from html import escape
from typing import Any

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.params import Depends as Dependency
from fastapi.security import APIKeyHeader
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from starterkit.contract import Column, Contract
from starterkit.errors import KitError
from starterkit.serving.http import invocations
from starterkit.serving.http.answers import OF_BODIES, PROBLEM_TYPE, PROBLEMS, answer, identity, refusals
from starterkit.serving.http.gateway import Health
from starterkit.serving.http.keys import HEADER, Keys
from starterkit.serving.http.prometheus import ADDRESS as METRICS
from starterkit.serving.http.prometheus import MEDIA_TYPE, Metrics, window_text
from starterkit.serving.http.records import ADDRESS, LONGEST_KEY
from starterkit.serving.http.routes import WEBHOOK, Log, Pages, Webhook, feedback_routes, page_routes
from starterkit.serving.predictor import ServedModel
from starterkit.settings import ServingSettings

# --- The served model in words: what `/model` says of it, and what the OpenAPI page says of its columns and refusals.

# The JSON Schema is written here and not by pydantic: docs/decisions/0021-one-check.md says why.

_TYPES = {"float": "number", "integer": "integer", "boolean": "boolean", "string": "string", "datetime": "string"}
_TEXT = {"type": "string"}


def model_content(served: ServedModel, since: datetime) -> dict[str, Any]:
    """What a client needs to know of the model, and an operator of where it comes from and since when it answers."""
    contract = served.contract
    shown = ("name", "type", "unit", "nullable", "minimum", "maximum", "proven", "categories", "description")
    columns = [{name: getattr(column, name) for name in shown} for column in (*contract.columns, contract.target)]
    lineage = contract.lineage
    scores = {name: {"holdout": of[0], "naive": of[1]} for name, of in contract.scores.items()}
    return {
        **identity(served),
        "since": since.isoformat(timespec="seconds"),
        "title": contract.title,
        "task": contract.task,
        "columns": columns[:-1],
        "target": columns[-1],
        "classes": contract.classes,
        "example": contract.example,
        "scores": scores,
        "parity": asdict(contract.parity),
        "lineage": {"run": lineage.run, "commit": lineage.commit, "data_digest": lineage.data_digest},
    }


def describe(
    routes: Mapping[str, Any], served: ServedModel | None, settings: ServingSettings, is_guarded: bool
) -> dict[str, Any]:
    """The app's OpenAPI document: the router's own, and each address with every status and shape that can come.

    Parameters
    ----------
    routes
        What FastAPI says of the other routes.
    served
        Whose name and contract are to be read there; None for those who may not read them.
    """
    predictor = None if served is None else served.predictor
    document = deepcopy(dict(routes))
    schemas: dict[str, Any] = {"Problem": _problem()}
    if predictor is None:
        document["info"].update(title="A model", description="Send the key to read what it takes and answers.")
        records: dict[str, Any] = {"type": "array", "items": {"type": "object"}}
        offered = {"schema": _asked(records, settings.max_rows), "example": {"records": [{}]}}
        schemas["Prediction"] = {"type": "object"}
    else:
        contract, refuses = predictor.contract, predictor.beyond == "refuse"
        about = {"title": contract.title, "description": f"Predicts {contract.target.name}: {contract.task}."}
        document["info"].update(about)
        schemas |= {"Record": _record(contract, refuses, settings), "Prediction": _prediction(contract, refuses)}
        offered = _request(contract, settings.max_rows)
    components = document.setdefault("components", {})
    components["schemas"] = schemas
    paths = document["paths"]
    paths[ADDRESS] = {"post": _predict(offered)}
    for path, methods in paths.items():
        guarded = is_guarded and not path.startswith(("/health", "/ping", "/version"))
        for method, operation in methods.items():
            more = _OF_ROWS if method == "post" else {}
            operation["responses"] |= refusals({PROBLEM_TYPE: {"schema": _reference("Problem")}}, guarded, more)
    example = None if predictor is None else predictor.contract.example
    paths[invocations.ADDRESS] = {"post": invocations.describe(example, is_guarded)}
    # <inference>
    from starterkit.serving.http import inference

    name = None if served is None else served.name
    paths["/v2/models/{model}/infer"] = {"post": inference.describe(name, is_guarded)}
    # </inference>
    for methods in paths.values() if is_guarded else ():
        if "post" in methods:
            methods["post"]["security"] = [{"APIKeyHeader": []}]
    return document


_OF_ROWS = OF_BODIES | {
    "400": "The body did not arrive whole",
    "422": "A row is not what is taken here; `errors` says which, why, and what is",
}


def _predict(offered: Mapping[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": _reference("Prediction")}}
    return {
        "tags": ["model"],
        "summary": "Predictions for a few records",
        "operationId": "predict",
        "requestBody": {"required": True, "content": {"application/json": offered}},
        "responses": {"200": {"description": "A prediction for each record", "content": content}},
    }


def _record(contract: Contract, refuses: bool, settings: ServingSettings) -> dict[str, Any]:
    if settings.raw_records:
        names = ", ".join(column.written.header or column.name for column in contract.columns)
        return {"type": "object", "description": f"As the file that trained the model has it, or typed: {names}"}
    return _object({column.name: _column(column, refuses) for column in contract.columns})


def _request(contract: Contract, max_rows: int) -> dict[str, Any]:
    rows = {"type": "array", "items": _reference("Record"), "minItems": 1, "maxItems": max_rows}
    return {"schema": _asked(rows, max_rows), "example": {"records": [dict(contract.example)]}}


def _asked(records: Mapping[str, Any], max_rows: int) -> dict[str, Any]:
    asked = _object({"records": records})
    text = {"type": "string", "minLength": 1, "maxLength": LONGEST_KEY}
    words = "By which each record is known later, when its outcome is; the model is not shown them"
    keys = {"type": "array", "items": text, "minItems": 1, "maxItems": max_rows, "description": words}
    return asked | {"properties": {"records": records, "keys": keys}}


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
    properties = {"model": _object({"name": _TEXT, "version": _TEXT}), "predictions": {"type": "array", "items": value}}
    numbers = {"type": "object", "additionalProperties": {"type": "number"}}
    if contract.classes and contract.probabilities:
        properties["probabilities"] = {"type": "array", "items": numbers}
    if contract.decision_values:
        properties["decision_values"] = {"type": "array", "items": numbers}
    answered = _object(properties)
    if not refuses:
        answered["properties"] = {**properties, "beyond": _faults()}
    return answered


def _faults() -> dict[str, Any]:
    place = {"row": {"type": ["integer", "null"]}, "column": {"type": ["string", "null"]}}
    return {"type": "array", "items": _object({**place, "kind": _TEXT, "problem": _TEXT, "mend": _TEXT})}


def _problem() -> dict[str, Any]:
    told = {"type": _TEXT, "title": _TEXT, "status": {"type": "integer"}, "detail": _TEXT, "errors": _faults()}
    return {**_object(told), "required": ["type", "title", "status", "detail"]}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    required = list(properties)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


DOCUMENT = "/openapi.json"


def make_api(
    served: ServedModel,
    health: Health,
    metrics: Metrics,
    keys: Keys,
    settings: ServingSettings,
    ring: Callable[[], None] | None = None,
    log: Log | None = None,
) -> Pages:
    """An app for all addresses but those that take rows."""
    app = FastAPIOffline(exception_handlers=PROBLEMS, redirect_slashes=False)  # /docs loads nothing from elsewhere
    app.include_router(health_routes(health))
    app.include_router(model_routes(served), dependencies=_checks(keys))
    app.include_router(page_routes(served, keys))
    app.include_router(metrics_routes(metrics, served.name, log), dependencies=_checks(keys))
    if log is not None:
        app.include_router(feedback_routes(log, served.name, keys, settings.max_body_bytes), dependencies=_checks(keys))
    if ring and settings.webhook_secret:
        hook = Webhook(settings.webhook_secret, ring)
        app.router.add_route(WEBHOOK, hook.take, methods=["POST"], include_in_schema=False)
    # <inference>
    from starterkit.serving.http import inference

    app.include_router(inference.server_routes())
    app.include_router(inference.model_routes(served), dependencies=_checks(keys))
    app.state.forms = {inference.PREFIX: inference.say}
    # </inference>
    describe_app(app, served, keys, settings)
    return Pages(app)


def health_routes(health: Health) -> APIRouter:
    """What the gateway answers itself, for the document and for other methods."""
    router = APIRouter(tags=["health"])

    def add(path: str, tell: Callable[[], Response]) -> None:
        async def told() -> Response:
            return tell()

        router.get(path, summary=_SUMMARIES.get(path), include_in_schema=path in _SUMMARIES)(told)

    for path, tell in health.items():
        add(path, tell)
    return router


_SUMMARIES = {
    "/health/live": "Whether the process runs",
    "/health/ready": "Whether a model is loaded",
    "/ping": "Whether a model is loaded, as MLflow and SageMaker ask",
    "/health": "Whether a model is loaded, as MLflow asks",
    "/version": "The version of MLflow whose protocol is spoken",
}


def model_routes(served: ServedModel) -> APIRouter:
    """For clients."""
    router, since = APIRouter(tags=["model"]), datetime.now(UTC)

    @router.get("/model", summary="What the model takes and answers, and where it comes from")
    async def model() -> Response:
        return answer(model_content(served, since))

    return router


def metrics_routes(metrics: Metrics, model: str, log: Log | None) -> APIRouter:
    """For Prometheus, which sends the key as `Authorization: Bearer …`."""
    router = APIRouter()

    @router.get(METRICS, include_in_schema=False)
    async def told() -> Response:
        window = None
        if log is not None:
            with suppress(KitError):  # a log that is down is told as predictions that are lost or refused
                window = await run_in_threadpool(log.window, model)
        return Response(metrics.text() + window_text(model, window), media_type=MEDIA_TYPE)

    return router


def _checks(keys: Keys) -> Sequence[Dependency]:
    """What the guarded routes depend on: nothing, or a key."""
    if not keys.are_asked_for:
        return []

    async def check(request: Request) -> None:
        keys.require(dict(request.headers.raw))

    return [Depends(check), Depends(APIKeyHeader(name=HEADER, auto_error=False))]


def describe_app(app: FastAPI, served: ServedModel, keys: Keys, settings: ServingSettings) -> None:
    """Write the OpenAPI document. Who does not bring the key reads no more of the model than /model tells them."""
    routes = app.openapi()
    whole = describe(routes, served, settings, keys.are_asked_for)
    bare = describe(routes, None, settings, keys.are_asked_for) if keys.are_asked_for else whole
    app.title = escape(bare["info"]["title"])  # of the page's tab, whose HTML FastAPI puts together as it is
    app.openapi_schema = bare

    async def document(request: Request) -> Response:
        return answer(whole if keys.fit(dict(request.headers.raw)) else bare)

    for route in app.router.routes:
        if getattr(route, "path", "") == DOCUMENT:
            app.router.routes.remove(route)
            break
    app.router.add_route(DOCUMENT, document, include_in_schema=False)
