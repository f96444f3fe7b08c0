"""What the API answers beside predictions: a page for people, labels that come later, MLflow's webhook."""

import hashlib
import hmac
import re
import time
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol

from fastapi import APIRouter, Request
from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response

from starterkit.errors import KitError, UserError
from starterkit.serving.http.answers import (
    SECONDS_TO_COME_AGAIN,
    InvalidRequest,
    answer,
    identity,
    problem,
    require_json,
    unprocessable,
)
from starterkit.serving.http.gateway import Recorder
from starterkit.serving.http.keys import Keys
from starterkit.serving.http.records import decode_document
from starterkit.serving.predictor import ServedModel

# --- At `/`, a page for people. A program gets in JSON where everything is.

# The page is one file that loads nothing. It asks /model and /predict as any client does, with the key that is typed
# into it, so that by itself it says nothing of the model.

_FILE = Path(__file__).with_name("page.html")
_PLACES = {
    "predict": "/predict",
    "about": "/model",
    "docs": "/docs",
    "openapi": "/openapi.json",
    "health": "/health/ready",
    "metrics": "/metrics",
}
_ELSEWHERE = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
_OF_OTHER_PAGES = (
    "default-src 'self'; script-src 'self' 'unsafe-inline'; style-src 'self' 'unsafe-inline'; "
    f"img-src 'self' data:; worker-src blob:; {_ELSEWHERE}"
)
"""Of /docs and /redoc, whose scripts FastAPI writes into the page; each has the model's title, escaped."""


def page_routes(served: ServedModel, keys: Keys) -> APIRouter:
    """What stands at `/`."""
    router = APIRouter(include_in_schema=False)
    page = _FILE.read_bytes()
    for_people = {"Content-Security-Policy": policy(page), "Vary": "Accept"}

    @router.get("/")
    @router.head("/")
    async def root(request: Request) -> Response:
        if "text/html" in request.headers.get("accept", ""):
            return Response(page, headers=for_people, media_type="text/html")
        model = {"model": identity(served)} if keys.fit(dict(request.headers.raw)) else {}
        return answer({**model, **_PLACES}, headers={"Vary": "Accept"})

    return router


def policy(page: bytes) -> str:
    """A policy by which a browser runs the page's own script, and asks this server alone."""
    own = ""
    for kind, tag in (("script-src", b"script"), ("style-src", b"style")):
        digests = [hashlib.sha256(text).digest() for text in re.findall(b"(?s)<%b>(.*?)</%b>" % (tag, tag), page)]
        own += f"; {kind} " + " ".join(f"'sha256-{b64encode(one).decode()}'" for one in digests)
    return f"default-src 'none'; connect-src 'self'; img-src data:{own}; {_ELSEWHERE}"


class Pages:
    """Sees that each page of an app has a policy."""

    def __init__(self, app: Any) -> None:
        self._app = app

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        async def with_policy(message: dict[str, Any]) -> None:
            if message["type"] == "http.response.start":
                said = dict(message["headers"])
                if said.get(b"content-type", b"").startswith(b"text/html") and _POLICY not in said:
                    message["headers"] = [*message["headers"], (_POLICY, _OF_OTHER_PAGES.encode())]
            await send(message)

        await self._app(scope, receive, with_policy)


_POLICY = b"content-security-policy"


# --- At `/feedback`, what turned out to be true, sent weeks after it was predicted.

FEEDBACK = "/feedback"

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

    def close(self) -> None:
        """Write what is left, when nobody asks any more."""
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

    @router.post(FEEDBACK, summary="What turned out to be true", openapi_extra=_described())
    async def feedback(request: Request) -> Response:
        caller = keys.require(dict(request.headers.raw))
        require_json(request.headers.get("content-type", "").encode())
        items = _items(await _whole(request, limit, "the body", "Send fewer labels in a request"))
        try:
            return answer(await run_in_threadpool(log.label, model, items, caller))
        except UserError:
            raise
        except KitError:
            words = "labels cannot be kept now: none of these was. Send them again a little later."
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, words, None, {"Retry-After": SECONDS_TO_COME_AGAIN})

    return router


def _items(body: bytearray) -> Sequence[object]:
    document = decode_document(body)
    if isinstance(document, dict) and "labels" not in document:
        return [document]
    items = document.get("labels") if isinstance(document, dict) and len(document) == 1 else None
    if not isinstance(items, list) or not items:
        raise unprocessable("the body has no list of labels, or an empty one", _SHAPE)
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


async def _whole(request: Request, limit: int, what: str, hint: str) -> bytearray:
    """A body that is not too long."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise InvalidRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"{what} has more than {limit} bytes", hint)
    return body


# --- Where MLflow tells that an alias moved. What it says is no more than a reason to look.

# See https://mlflow.org/docs/latest/ml/webhooks/ for how it signs.

WEBHOOK = "/webhooks/mlflow"

_SECONDS_OLD = 300
"""A message that somebody kept, and sends again later, wakes nobody."""
_LONGEST_MESSAGE = 65_536
_SIGNATURE, _DELIVERY, _TIMESTAMP = (f"x-mlflow-{name}" for name in ("signature", "delivery-id", "timestamp"))


class Webhook:
    """Rings for each message that has MLflow's signature and is new.

    Order is not kept and a message may come twice, so that none is believed: the registry is asked again.
    """

    def __init__(self, secret: SecretStr, ring: Callable[[], None]) -> None:
        self._secret = secret
        self._ring = ring

    async def take(self, request: Request) -> Response:
        """
        Raises
        ------
        InvalidRequest
            It is too long, or not signed, or old.
        """
        body = await _whole(request, _LONGEST_MESSAGE, "the message", "See who sends it")
        if not self._is_signed(request.headers, bytes(body)):
            what = "the message does not have a new signature of MLflow's"
            raise InvalidRequest(HTTPStatus.UNAUTHORIZED, what, "See that its webhook has serving.webhook_secret")
        self._ring()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    def _is_signed(self, headers: Mapping[str, Any], body: bytes) -> bool:
        sent = headers.get(_TIMESTAMP, "")
        if not (sent.isascii() and sent.isdigit() and abs(time.time() - int(sent[:12])) < _SECONDS_OLD):
            return False
        signed = f"{headers.get(_DELIVERY, '')}.{sent}.".encode("latin-1") + body
        digest = hmac.digest(self._secret.get_secret_value().encode(), signed, "sha256")
        expected = f"v1,{b64encode(digest).decode()}"
        return hmac.compare_digest(expected.encode(), headers.get(_SIGNATURE, "").encode("latin-1"))
