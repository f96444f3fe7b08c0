"""`/feedback`: what turned out to be true, sent weeks after it was predicted."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Protocol

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from starterkit.errors import KitError, UserError
from starterkit.serving.http.answers import SECONDS_TO_COME_AGAIN, InvalidRequest, answer, problem, unprocessable
from starterkit.serving.http.gateway import Recorder
from starterkit.serving.http.keys import Keys
from starterkit.serving.http.records import decode_document
from starterkit.serving.predictor import ServedModel

ADDRESS = "/feedback"

_MOST = 10_000
_SHAPE = 'Send {"labels": [{"id": prediction, "label": value}, …]}, or one such object alone'
_TEXT = {"type": "string"}


class Log(Protocol):
    """Where predictions and labels are kept: `feedback.writer`, which is given and not imported."""

    def of(self, served: ServedModel) -> Recorder: ...

    def label(self, model: str, items: Sequence[object], caller: str) -> Mapping[str, int]:
        """Keep all of these labels, or none; how many are new, correct another one, or were here.

        Raises
        ------
        InvalidRecords
            One is wrong, or of no prediction that is here.
        KitError
            The log cannot be written.
        """
        ...

    def window(self, model: str) -> Mapping[str, Any] | None:
        """What the monitor saw last: ``version``, ``figures``, how many rules are ``broken``, and the window's ``end``.

        Raises
        ------
        KitError
            The log cannot be read.
        """
        ...


def feedback_routes(log: Log, model: str, keys: Keys, limit: int) -> APIRouter:
    """For who learns what became of a prediction."""
    router = APIRouter(tags=["feedback"])

    @router.post(ADDRESS, summary="What turned out to be true", openapi_extra=_described())
    async def feedback(request: Request) -> Response:
        caller = keys.require(dict(request.headers.raw))
        items = _items(await _body(request, limit))
        try:
            return answer(await run_in_threadpool(log.label, model, items, caller))
        except UserError:
            raise
        except KitError:
            words = "labels cannot be kept now: none of these was. Send them again a little later."
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, words, None, {"Retry-After": SECONDS_TO_COME_AGAIN})

    return router


async def _body(request: Request, limit: int) -> bytearray:
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        hint = "Send the header Content-Type: application/json"
        raise InvalidRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "the body is not said to be JSON", hint)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            what = f"the body has more than {limit} bytes"
            raise InvalidRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, what, "Send fewer labels in a request")
    return body


def _items(body: bytearray) -> Sequence[object]:
    document = decode_document(body)
    if isinstance(document, dict) and "labels" not in document:
        return [document]
    items = document.get("labels") if isinstance(document, dict) and len(document) == 1 else None
    if not isinstance(items, list) or not items:
        raise unprocessable("the body has no list of labels", _SHAPE)
    if len(items) > _MOST:
        raise unprocessable(f"there are {len(items)} labels", f"Send at most {_MOST} in a request")
    return items


def _described() -> dict[str, Any]:
    value = {"type": ["number", "string", "boolean"], "description": "A value of the model's target"}
    named = {
        "id": _TEXT | {"description": "X-Prediction-ID, a dash and the row, from 0"},
        "key": _TEXT | {"description": "A record's key, as it was sent to /predict: each of its predictions"},
    }
    item = {"type": "object", "properties": {**named, "label": value}, "required": ["label"]}
    body = {"type": "object", "properties": {"labels": {"type": "array", "items": item, "maxItems": _MOST}}}
    count = {"type": "integer"}
    told = {"type": "object", "properties": {"added": count, "corrected": count, "unchanged": count}}
    return {
        "requestBody": {"required": True, "content": {"application/json": {"schema": {"anyOf": [body, item]}}}},
        "responses": {"200": {"description": "All were kept", "content": {"application/json": {"schema": told}}}},
    }
