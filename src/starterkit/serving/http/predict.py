"""`Predict`: what answers at /predict, an ASGI callable in the app, before its router is asked.

A small body is answered on the event loop. A large one, or one of a model that takes its time, leaves it, so that it
holds up nobody.
"""

import asyncio
import hmac
import time
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from typing import Any

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from starterkit.errors import SettingsError
from starterkit.serving.http.answers import InvalidRequest, NoRoom, prediction_content, refusal
from starterkit.serving.http.records import RecordReader
from starterkit.serving.predictor import ServedModel
from starterkit.settings import ServingSettings

ADDRESS = "/predict"
HEADER = "X-API-Key"

_SMALL = 32_768
_SECONDS_ON_THE_LOOP = 0.005
_LARGE_AT_ONCE = 2
"""How many bodies are worked on beside the event loop. The interpreter gives each of them a part of one core."""
_BODIES_HELD = 8
"""Of the largest size; what comes on top finds no room."""
_SECONDS_IN_ANY_CASE = 0.0005
"""What one row takes with a small model; what is beyond that grows with the rows."""
_REMEMBERED = 0.1
_TYPE = (b"content-type", b"application/json")

Scope = dict[str, Any]


# --- Who may ask: those who send the key, where the stage requires one.


class Key:
    """The key that clients have to send.

    Raises
    ------
    SettingsError
        One is required and none is set.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self._expected: bytes | None = None
        if not settings.require_api_key:
            return
        if settings.api_key is None:
            hint = "Set KIT_SERVING__API_KEY or put it into secrets/KIT_SERVING__API_KEY"
            raise SettingsError("serving.require_api_key is true and serving.api_key is not set", hint)
        self._expected = settings.api_key.get_secret_value().encode()

    @property
    def is_asked_for(self) -> bool:
        return self._expected is not None

    def fits(self, sent: bytes | None) -> bool:
        """Whether this is it, or none is asked for. Headers arrive as whatever bytes the client sent."""
        return self._expected is None or (sent is not None and hmac.compare_digest(sent, self._expected))

    def require(self, sent: bytes | None) -> None:
        """
        Raises
        ------
        InvalidRequest
            It is missing, or another one.
        """
        if not self.fits(sent):
            what = f"the header {HEADER} is {'missing' if sent is None else 'not the key of this API'}"
            challenge = {"WWW-Authenticate": "APIKey"}
            raise InvalidRequest(HTTPStatus.UNAUTHORIZED, what, "Ask the operator for the key", challenge)


# --- The route.


class Predict:
    """Answers at /predict and hands everything else on to `app`.

    Parameters
    ----------
    served
        The model.
    key, settings
        Who may ask, and how much.
    """

    def __init__(self, app: Any, served: ServedModel, key: Key, settings: ServingSettings) -> None:
        self._app = app
        self._served = served
        self._key = key
        self._limit = settings.max_body_bytes
        self._room = _BODIES_HELD * settings.max_body_bytes
        contract, beyond = served.contract, served.predictor.beyond
        self._reader = RecordReader(contract, beyond, settings.max_rows, raw=settings.raw_records)
        self._beside = ThreadPoolExecutor(_LARGE_AT_ONCE, "predict")
        self._seconds_a_byte = 0.0
        self._encode = msgspec.json.Encoder().encode

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] != "http" or scope["path"] != ADDRESS:
            await self._app(scope, receive, send)
            return
        try:
            content = await self._answer(scope, receive)
        except Exception as error:
            told = refusal(error)
            if told is None:
                raise
            await told(scope, receive, send)
            return
        headers = [_TYPE, (b"content-length", b"%d" % len(content))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": content})

    async def _answer(self, scope: Scope, receive: Any) -> bytes:
        if scope["method"] != "POST":
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        headers = dict(scope["headers"])
        self._key.require(headers.get(HEADER.lower().encode()))
        _require_json(headers)
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self._limit:
            raise self._too_long()
        body = bytearray()
        try:
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientDisconnect
                chunk = message.get("body", b"")
                self._room -= len(chunk)
                body += chunk
                if len(body) > self._limit:
                    raise self._too_long()
                if self._room < 0:
                    raise NoRoom
                if not message.get("more_body"):
                    break
            if len(body) <= _SMALL and len(body) * self._seconds_a_byte < _SECONDS_ON_THE_LOOP:
                return self._respond(body)
            return await asyncio.get_running_loop().run_in_executor(self._beside, self._respond, body)
        finally:
            self._room += len(body)

    def _respond(self, body: bytearray) -> bytes:
        began = time.perf_counter()
        answered = self._served.answer(self._reader.read(body))
        content = self._encode(prediction_content(self._served, answered))
        took = max(0.0, time.perf_counter() - began - _SECONDS_IN_ANY_CASE) / len(body)
        self._seconds_a_byte += _REMEMBERED * (took - self._seconds_a_byte)
        return content

    def _too_long(self) -> InvalidRequest:
        what = f"the body has more than {self._limit} bytes"
        return InvalidRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, what, "Send fewer rows in a request")


def _require_json(headers: dict[bytes, bytes]) -> None:
    """A request without a content type is refused: a browser sends those to any address, on behalf of any page.

    Raises
    ------
    InvalidRequest
        The body is compressed, or not said to be JSON.
    """
    given = headers.get(b"content-type", b"")
    if given != b"application/json" and given.partition(b";")[0].strip().lower() != b"application/json":
        what = "the body is not said to be JSON"
        raise InvalidRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, what, "Send the header Content-Type: application/json")
    if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
        what, hint = "the body is compressed", "Send it as it is, without the header Content-Encoding"
        raise InvalidRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, what, hint, {"Accept-Encoding": "identity"})
