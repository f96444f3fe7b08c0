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

from starterkit.contract import Prediction
from starterkit.serving.graph import Table
from starterkit.serving.http.answers import InvalidRequest, NoRoom, NotRecorded, bug
from starterkit.serving.http.keys import Keys
from starterkit.serving.http.prometheus import Metrics
from starterkit.serving.predictor import ServedModel
from starterkit.settings import ServingSettings

Scope = dict[str, Any]
Headers = Mapping[bytes, bytes]

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


class Scored(NamedTuple):
    """Rows as the model was given them, what it answered, and the rows' keys where the client gave some."""

    table: Table
    prediction: Prediction
    keys: Sequence[str] = ()


class Answer(NamedTuple):
    """A body in JSON, how many rows it answers, and what is recorded of it."""

    content: bytes
    rows: int
    scored: Scored | None = None


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


class Recorder(Protocol):
    """Keeps what one version answers: `feedback.writer`, which is given and not imported."""

    def encode(self, table: Table, prediction: Prediction) -> Any: ...

    def add(
        self,
        request: bytes,
        block: Any,
        seconds: float,
        caller: str,
        done: Callable[[Exception | None], None],
        keys: Sequence[str] = (),
    ) -> None:
        """Keep it; `done` is called on the event loop when it is durable, or with why it is not."""

    def refuse(self, reasons: Mapping[tuple[str, str], int]) -> None:
        """Count a request that got no prediction, by reason and column."""


class Open(NamedTuple):
    """One version of a model, ready: its routes by address, the app with all else, and what each answer says of it."""

    routes: Mapping[str, Route]
    app: Any
    version: tuple[bytes, bytes]
    recorder: Recorder | None = None


class _Done(NamedTuple):
    """A request that is answered, and what there is to keep of it."""

    answer: Answer
    block: Any
    caller: str


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
        made = new_id()
        asked = request_id(headers) or made
        marks = [now.version, (b"x-request-id", asked)]
        route = now.routes.get(scope["path"])
        if route is None:
            marked = _Marked(send, marks)
            try:
                await now.app(scope, receive, marked)
            finally:
                self._metrics.count(_OTHER, marked.status, time.perf_counter() - began)
            return
        failure, rows = None, 0
        try:
            done = await self._answer(now, route, scope["method"], headers, receive)
            if done.block is not None:
                await _recorded(now.recorder, made, done, time.perf_counter() - began)
                marks.append((b"x-prediction-id", made))
            body, rows = done.answer.content, done.answer.rows
            status, said = 200, [_TYPE, (b"content-length", b"%d" % len(body))]
        except Exception as error:
            reasons = self._metrics.refuse(error)
            if now.recorder is not None:
                now.recorder.refuse(reasons)
            told = route.refuse(error)
            if told is None:
                told, failure = bug(), error
            status, said, body = told.status_code, told.raw_headers, told.body
        await send({"type": "http.response.start", "status": status, "headers": [*said, *marks]})
        await send({"type": "http.response.body", "body": body})
        self._metrics.count(scope["path"], status, time.perf_counter() - began, rows)
        if failure is not None:
            failure.add_note(f"in request {asked.decode()}")
            raise failure  # the server logs it

    async def _answer(self, now: Open, route: Route, method: str, headers: Headers, receive: Any) -> _Done:
        if method != "POST":
            raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
        caller = self._keys.require(headers)
        route.accept(headers)
        if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            what, hint = "the body is compressed", "Send it as it is, without the header Content-Encoding"
            raise InvalidRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, what, hint, {"Accept-Encoding": "identity"})
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
                answer, block = self._respond(now, route, body, headers)
            else:
                loop = asyncio.get_running_loop()
                answer, block = await loop.run_in_executor(self._beside, self._respond, now, route, body, headers)
            return _Done(answer, block, caller)
        finally:
            self._room += len(body)

    def _respond(self, now: Open, route: Route, body: bytearray, headers: Headers) -> tuple[Answer, Any]:
        began = time.perf_counter()
        answer, block = route.respond(body, headers), None
        if now.recorder is not None and answer.scored is not None:
            block = now.recorder.encode(answer.scored.table, answer.scored.prediction)
        took = max(0.0, time.perf_counter() - began - _SECONDS_IN_ANY_CASE) / (len(body) or 1)
        # Quick once is quick: a slow model is slow each time, and a machine that is busy with other work is not.
        self._seconds_a_byte = min(took, self._seconds_a_byte + _REMEMBERED * (took - self._seconds_a_byte))
        return answer, block

    def _too_long(self) -> InvalidRequest:
        what = f"the body has more than {self._limit} bytes"
        return InvalidRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, what, "Send fewer rows in a request")


async def _recorded(recorder: Recorder | None, made: bytes, done: _Done, seconds: float) -> None:
    """Wait until an answer is in the log.

    Raises
    ------
    NoRoom
        It could not be written, and the stage does not answer then.
    """
    assert recorder is not None
    assert done.answer.scored is not None
    waiting = asyncio.get_running_loop().create_future()

    def wake(error: Exception | None) -> None:
        if not waiting.done():  # the client may be gone
            waiting.set_result(error)

    recorder.add(made, done.block, seconds, done.caller, wake, done.answer.scored.keys)
    if await waiting is not None:
        raise NotRecorded


class _Marked:
    """Says with FastAPI's answers what is said with all, and sees their status."""

    def __init__(self, send: Any, marks: Sequence[tuple[bytes, bytes]]) -> None:
        self._send, self._marks, self.status = send, marks, 500

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._marks]
        await self._send(message)


# --- By what a request is known in logs and in its answer.

_TRACE = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
_SANE = re.compile(rb"[\w.:-]{1,128}").fullmatch
_OURS = int.from_bytes(os.urandom(6)) >> 6
_NEXT = count().__next__
_FIXED = 1 << 63 | _OURS


def new_id() -> bytes:
    """A UUID of version 7 without dashes: ms since 1970, a number that no other of this process has, and the process's.

    So they sort by time, and those of one ms by their order. A clock that jumps back makes no id twice.
    """
    number = _NEXT()
    low = _FIXED | (number & 0xFFFFF) << 42
    return b"%012x7%03x%016x" % (time.time_ns() // 1_000_000, number >> 20 & 0xFFF, low)


def request_id(headers: Headers) -> bytes | None:
    """The trace that the request is a part of (W3C Trace Context), or the id that the client gave."""
    if (sent := headers.get(b"traceparent")) and (trace := _TRACE(sent)):
        return trace[1]
    if (sent := headers.get(b"x-request-id")) and _SANE(sent):
        return sent
    return None
