"""`Gateway`: the app that the server asks. What is asked often is answered here; FastAPI has the rest.

A small body is answered on the event loop. A large one, or one of a model that takes its time, leaves it, so that it
holds up nobody. What belongs to one version of the model stands in one tuple, so that another one takes its place at
once: a request that began with the old one ends with it.
"""

import asyncio
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from http import HTTPStatus
from itertools import count
from typing import Any, NamedTuple, Protocol

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from starterkit.serving.http.answers import IN_REQUEST, InvalidRequest, NoRoom
from starterkit.serving.http.keys import Keys
from starterkit.serving.http.prometheus import Metrics
from starterkit.serving.http.protocol import Reply
from starterkit.serving.predictor import ServedModel
from starterkit.settings import ServingSettings

Scope = dict[str, Any]
Headers = Mapping[bytes, bytes]
Marks = Sequence[tuple[bytes, bytes]]
"""Headers that each answer has: the model's version, and last the request's id."""

_SMALL = 32_768
_SECONDS_ON_THE_LOOP = 0.005
_LARGE_AT_ONCE = 2
"""How many bodies are worked on beside the event loop. The interpreter gives each of them a part of one core."""
_BODIES_HELD = 8
"""Of the largest size; what comes on top finds no room."""
_SECONDS_IN_ANY_CASE = 0.0005
"""What one row takes with a small model; what is beyond that grows with the rows."""
_REMEMBERED = 0.1
_OTHER = "other"
"""What FastAPI's addresses count as: clients may ask for any."""
_TYPE = (b"content-type", b"application/json")


class Answer(NamedTuple):
    """A body, how many rows it answers, and the headers that say of what kind it is."""

    content: bytes
    rows: int
    kind: Sequence[tuple[bytes, bytes]] = (_TYPE,)


class Route(Protocol):
    """How one protocol takes rows at its addresses, and says what came of them."""

    def accept(self, headers: Headers) -> None:
        """
        Raises
        ------
        InvalidRequest
            A body of this kind is not read.
        """

    def respond(self, body: bytearray, headers: Headers) -> Answer:
        """
        Raises
        ------
        InvalidRequest, InvalidRecords
            The body is not what the model takes.
        """
        ...

    def refuse(self, error: Exception) -> Response | None:
        """What an exception says to a client; None where it is a fault of the server's."""

    def fail(self) -> Response:
        """What such a fault says."""
        ...


class Open(NamedTuple):
    """One version of a model, ready: its routes by address, the app with all else, and what each answer says of it."""

    routes: Mapping[str, Route]
    app: Any
    version: tuple[bytes, bytes]


class Gateway:
    """Answers with a model, and with another one from one request to the next.

    Parameters
    ----------
    served
        The model.
    make
        Makes what answers with one version.
    metrics
        Counts what comes.
    keys, settings
        Who may ask, and how much.
    """

    def __init__(
        self,
        served: ServedModel,
        make: Callable[[ServedModel], Open],
        metrics: Metrics,
        keys: Keys,
        settings: ServingSettings,
    ) -> None:
        self._make = make
        self._metrics = metrics
        self.swap(served)
        self._keys = keys
        self._limit = settings.max_body_bytes
        self._small = min(_SMALL, self._limit)
        self._room = _BODIES_HELD * settings.max_body_bytes
        self._beside = ThreadPoolExecutor(_LARGE_AT_ONCE, "predict")
        self._seconds_a_byte = 0.0

    def swap(self, served: ServedModel) -> None:
        """Answer with this model from the next request on."""
        self._now = self._make(served)
        self._metrics.serve(served)

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        now, began = self._now, time.perf_counter()
        if scope["type"] != "http":
            keeping = asyncio.create_task(self._metrics.keep_on())
            await now.app(scope, receive, send)
            keeping.cancel()
            self._metrics.keep()
            return
        headers = dict(scope["headers"])
        asked = request_id(headers)
        marks = [now.version, (b"x-request-id", asked)]
        route = now.routes.get(scope["path"])
        if route is None:
            marked = _Marked(send, marks)
            try:
                await now.app(scope, receive, marked)
            except Exception as error:
                error.add_note(f"{IN_REQUEST}{asked.decode()}")
                raise
            finally:
                self._metrics.count(_OTHER, marked.status, time.perf_counter() - began)
            return
        failure, rows = None, 0
        try:
            if scope["method"] != "POST":
                raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
            answered = await self._answer(route, headers, receive)
            rows, reply = answered.rows, _said(answered, marks)
        except Exception as error:
            reply, failure = self._refusal(route, error, marks)
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await send({"type": "http.response.body", "body": reply.content})
        self._metrics.count(scope["path"], reply.status, time.perf_counter() - began, rows)
        if failure is not None:
            raise failure  # the server logs it

    def reply(self, path: str, headers: Headers, body: bytearray) -> tuple[Reply, Exception | None] | None:
        """What there is to say to a POST whose body has come whole, and the fault of the server's that is to be logged.

        None where FastAPI answers, or the body had better leave the event loop.
        """
        now, began = self._now, time.perf_counter()
        route = now.routes.get(path)
        if route is None or not self.is_quick(len(body)):
            return None
        marks = (now.version, (b"x-request-id", request_id(headers)))
        failure, rows = None, 0
        try:
            self._admit(route, headers)
            answered = self._respond(route, body, headers)
            rows, reply = answered.rows, _said(answered, marks)
        except Exception as error:
            reply, failure = self._refusal(route, error, marks)
        self._metrics.count(path, reply.status, time.perf_counter() - began, rows)
        return reply, failure

    def _refusal(self, route: Route, error: Exception, marks: Marks) -> tuple[Reply, Exception | None]:
        self._metrics.refuse(error)
        told, failure = route.refuse(error), None
        if told is None:
            told, failure = route.fail(), error
            failure.add_note(f"{IN_REQUEST}{marks[-1][1].decode()}")
        return Reply(told.status_code, [*told.raw_headers, *marks], bytes(told.body)), failure

    def _admit(self, route: Route, headers: Headers) -> None:
        """See from its head alone that a request may have an answer."""
        self._keys.require(headers)
        route.accept(headers)
        if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            what, hint = "the body is compressed", "Send it as it is, without the header Content-Encoding"
            raise InvalidRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, what, hint, {"Accept-Encoding": "identity"})
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self._limit:
            raise self._too_long()

    def is_quick(self, length: int) -> bool:
        """Whether a body of so many bytes holds up nobody on the event loop."""
        return length <= self._small and length * self._seconds_a_byte < _SECONDS_ON_THE_LOOP

    async def _answer(self, route: Route, headers: Headers, receive: Any) -> Answer:
        self._admit(route, headers)
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
            if self.is_quick(len(body)):
                return self._respond(route, body, headers)
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._beside, self._respond, route, body, headers)
        finally:
            self._room += len(body)

    def _respond(self, route: Route, body: bytearray, headers: Headers) -> Answer:
        began = time.perf_counter()
        answer = route.respond(body, headers)
        took = max(0.0, time.perf_counter() - began - _SECONDS_IN_ANY_CASE) / (len(body) or 1)
        # Quick once is quick: a slow model is slow each time, and a machine that is busy with other work is not.
        self._seconds_a_byte = min(took, self._seconds_a_byte + _REMEMBERED * (took - self._seconds_a_byte))
        return answer

    def _too_long(self) -> InvalidRequest:
        what = f"the body has more than {self._limit} bytes"
        return InvalidRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, what, "Send fewer rows in a request")


def _said(answered: Answer, marks: Marks) -> Reply:
    content = answered.content
    return Reply(200, [*answered.kind, (b"content-length", b"%d" % len(content)), *marks], content)


class _Marked:
    """Says with FastAPI's answers what is said with all, and sees their status."""

    def __init__(self, send: Any, marks: Marks) -> None:
        self._send, self._marks, self.status = send, marks, 500

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._marks]
        await self._send(message)


# --- By what a request is known in logs and in its answer.

_TRACE = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
_SANE = re.compile(rb"[\w.:-]{1,128}").fullmatch
_OURS = os.urandom(8).hex().encode()
_NEXT = count(int.from_bytes(os.urandom(6))).__next__


def request_id(headers: Headers) -> bytes:
    """The trace that the request is a part of (W3C Trace Context), the id that the client gave, or a new one."""
    if (sent := headers.get(b"traceparent")) and (trace := _TRACE(sent)):
        return trace[1]
    if (sent := headers.get(b"x-request-id")) and _SANE(sent):
        return sent
    return b"%b%016x" % (_OURS, _NEXT())
