"""`Gateway`: the app that the server asks. What is asked often is answered here; FastAPI has the rest.

A small body is answered on the event loop. A large one, or one of a model that takes its time, leaves it, so that it
holds up nobody. What belongs to one version of the model stands in one tuple, so that another one takes its place at
once: a request that began with the old one ends with it.
"""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from starterkit.contract import Prediction
from starterkit.serving.batching import Batcher
from starterkit.serving.graph import Table, rows_of
from starterkit.serving.http.answers import (
    IN_REQUEST,
    Answer,
    Headers,
    InvalidRequest,
    NoRoom,
    NotRecorded,
    new_id,
    request_id,
)
from starterkit.serving.http.keys import Keys
from starterkit.serving.http.prometheus import Metrics
from starterkit.serving.http.protocol import Reply, Say
from starterkit.serving.http.records import Asked
from starterkit.serving.predictor import Answered, ServedModel
from starterkit.serving.shadow import Shadow
from starterkit.settings import ServingSettings

if TYPE_CHECKING:
    from starterkit.serving.http import Deferred

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


class Marked:
    """Says with FastAPI's answers what is said with all, and sees their status."""

    def __init__(self, send: Any, marks: Sequence[tuple[bytes, bytes]]) -> None:
        self._send, self._marks, self.status = send, marks, 500

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._marks]
        await self._send(message)


class Route(Protocol):
    """How one protocol takes rows at its addresses, and says what came of them."""

    def accept(self, headers: Headers) -> None:
        """
        Raises
        ------
        InvalidRequest
            A body of this kind is not read.
        """

    def read(self, body: bytearray, headers: Headers) -> Asked:
        """The rows in a body.

        Raises
        ------
        InvalidRequest, InvalidRecords
            The body is not what the model takes.
        """
        ...

    def tell(self, asked: Asked, answered: Answered) -> Answer:
        """What the model answers for them."""
        ...

    def refuse(self, error: Exception) -> Response | None:
        """What an exception says to a client; None where it is a fault of the server's."""

    def fail(self) -> Response:
        """What such a fault says."""
        ...


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


Health = Mapping[str, Callable[[], Response]]
"""What is said at the addresses where one asks whether a model answers."""


class Open(NamedTuple):
    """One version of a model, ready: its routes by address, an app with all else, and what each answer says of it."""

    served: ServedModel
    batcher: Batcher
    routes: Mapping[str, Route]
    health: Health
    app: "Deferred"
    version: tuple[bytes, bytes]
    recorder: Recorder | None = None


class _Request(NamedTuple):
    """Where it came and when, who answers it, what each answer to it says, and the id that it is kept by."""

    now: Open
    route: Route
    path: str
    began: float
    made: bytes
    marks: Marks


class _Scored(NamedTuple):
    """What is said, for how many rows; the rows, and the block that is kept of them."""

    answer: Answer
    rows: int
    asked: Asked
    block: Any


_NOTHING = Answered(Prediction(np.empty(0)), ())
"""For no rows: some clients send a table without any."""


class Gateway:
    """Answers with a model, and with another one from one request to the next. `make` makes what answers with it."""

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
        self.shadow: Shadow | None = None
        """Is given what was answered and recorded, after it was said."""
        self.at_end: Callable[[], None] | None = None
        """Called when all are answered, and nobody asks any more."""

    def swap(self, served: ServedModel) -> None:
        """Answer with this model from the next request on."""
        self._now = self._make(served)
        self._metrics.serve(served)

    @property
    def marks(self) -> Sequence[tuple[bytes, bytes]]:
        """For an answer that the connection says without it: which version answers now."""
        return (self._now.version,)

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        now, began = self._now, time.perf_counter()
        if scope["type"] != "http":
            await self._live(receive, send)
            return
        headers = dict(scope["headers"])
        made = new_id()
        marks = [now.version, (b"x-request-id", request_id(headers) or made)]
        route = now.routes.get(scope["path"])
        if route is None:
            marked, tell = Marked(send, marks), now.health.get(scope["path"])
            app: Any = now.app if tell is None or scope["method"] not in ("GET", "HEAD") else tell()
            try:
                await app(scope, receive, marked)
            except Exception as error:
                error.add_note(f"{IN_REQUEST}{marks[-1][1].decode()}")
                raise
            finally:
                self._metrics.count(_OTHER, marked.status, time.perf_counter() - began)
            return
        request = _Request(now, route, scope["path"], began, made, marks)
        said = asyncio.get_running_loop().create_future()

        def say(reply: Reply, failure: Exception | None) -> None:
            if not said.done():
                said.set_result((reply, failure))

        try:
            if scope["method"] != "POST":
                raise HTTPException(HTTPStatus.METHOD_NOT_ALLOWED, headers={"Allow": "POST"})
            self._keep(request, *await self._answer(request, headers, receive), say)
        except Exception as error:
            say(*self._refusal(request, error))
        reply, failure = await said
        await send({"type": "http.response.start", "status": reply.status, "headers": reply.headers})
        await send({"type": "http.response.body", "body": reply.content})
        if failure is not None:
            raise failure  # the server logs it

    async def _live(self, receive: Any, send: Any) -> None:
        """From the server's start to its end."""
        keeping = asyncio.create_task(self._metrics.keep_on())
        await receive()
        await send({"type": "lifespan.startup.complete"})
        self._now.app.begin()
        await receive()
        keeping.cancel()
        self._metrics.keep()
        if self.shadow is not None:
            self.shadow.close()
        if self.at_end is not None:
            self.at_end()
        await send({"type": "lifespan.shutdown.complete"})

    def reply(self, path: str, headers: Headers, body: bytearray, say: Say) -> bool:
        """Answer a POST whose body has come whole: `say` is called with it now, or when it is in the log.

        False where FastAPI answers, or the body had better leave the event loop.
        """
        now, began = self._now, time.perf_counter()
        route = now.routes.get(path)
        if route is None or not self.is_quick(len(body)):
            return False
        made = new_id()
        marks = (now.version, (b"x-request-id", request_id(headers) or made))
        request = _Request(now, route, path, began, made, marks)
        try:
            caller = self._admit(route, headers)
            asked = route.read(body, headers)
            if now.batcher.takes(asked.table):
                read = time.perf_counter() - began
                now.batcher.add(asked.table, partial(self._end, request, asked, caller, say, read, len(body)))
            else:
                self._keep(request, self._scored(request, asked, began, len(body)), caller, say)
        except Exception as error:
            say(*self._refusal(request, error))
        return True

    def _end(
        self,
        request: _Request,
        asked: Asked,
        caller: str,
        say: Say,
        read: float,
        length: int,
        outcome: Answered | Exception,
        seconds: float,
    ) -> None:
        """Say what came of a batch for one of its requests."""
        try:
            if isinstance(outcome, Exception):
                raise outcome
            told = self._told(request, asked, outcome)
            self._learn(read + seconds, length)
            self._keep(request, told, caller, say)
        except Exception as error:
            say(*self._refusal(request, error))

    def _keep(self, request: _Request, scored: _Scored, caller: str, say: Say) -> None:
        """Say an answer, as soon as it is recorded."""
        recorder = request.now.recorder
        if recorder is None or scored.block is None:
            say(self._said(request, scored, request.marks), None)
            return

        def done(error: Exception | None) -> None:
            if error is None:
                say(self._said(request, scored, ((b"x-prediction-id", request.made), *request.marks)), None)
                if self.shadow is not None:
                    self.shadow.take(request.made, scored.asked.table, request.now.version[1])
            else:
                say(*self._refusal(request, NotRecorded()))

        recorder.add(request.made, scored.block, time.perf_counter() - request.began, caller, done, scored.asked.keys)

    def _said(self, request: _Request, scored: _Scored, marks: Marks) -> Reply:
        content, kind = scored.answer
        self._metrics.count(request.path, 200, time.perf_counter() - request.began, scored.rows)
        return Reply(200, [*kind, (b"content-length", b"%d" % len(content)), *marks], content)

    def _refusal(self, request: _Request, error: Exception) -> tuple[Reply, Exception | None]:
        reasons = self._metrics.refuse(error)
        if request.now.recorder is not None:
            request.now.recorder.refuse(reasons)
        told, failure = request.route.refuse(error), None
        if told is None:
            told, failure = request.route.fail(), error
            failure.add_note(f"{IN_REQUEST}{request.marks[-1][1].decode()}")
        self._metrics.count(request.path, told.status_code, time.perf_counter() - request.began)
        return Reply(told.status_code, [*told.raw_headers, *request.marks], bytes(told.body)), failure

    def _admit(self, route: Route, headers: Headers) -> str:
        """See from its head alone that a request may have an answer; the name of its key."""
        caller = self._keys.require(headers)
        route.accept(headers)
        if headers.get(b"content-encoding", b"identity").strip().lower() != b"identity":
            what, hint = "the body is compressed", "Send it as it is, without the header Content-Encoding"
            raise InvalidRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, what, hint, {"Accept-Encoding": "identity"})
        announced = headers.get(b"content-length", b"")
        if announced.isdigit() and int(announced) > self._limit:
            raise self._too_long()
        return caller

    def is_quick(self, length: int) -> bool:
        """Whether a body of so many bytes holds up nobody on the event loop."""
        return length <= self._small and length * self._seconds_a_byte < _SECONDS_ON_THE_LOOP

    async def _answer(self, request: _Request, headers: Headers, receive: Any) -> tuple[_Scored, str]:
        caller = self._admit(request.route, headers)
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
                return self._respond(request, body, headers), caller
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._beside, self._respond, request, body, headers), caller
        finally:
            self._room += len(body)

    def _respond(self, request: _Request, body: bytearray, headers: Headers) -> _Scored:
        began = time.perf_counter()
        return self._scored(request, request.route.read(body, headers), began, len(body))

    def _scored(self, request: _Request, asked: Asked, began: float, length: int) -> _Scored:
        answered = request.now.served.answer(asked.table) if rows_of(asked.table) else _NOTHING
        told = self._told(request, asked, answered)
        self._learn(time.perf_counter() - began, length)
        return told

    def _told(self, request: _Request, asked: Asked, answered: Answered) -> _Scored:
        recorder, rows = request.now.recorder, len(answered.prediction.values)
        block = None if recorder is None or not rows else recorder.encode(asked.table, answered.prediction)
        return _Scored(request.route.tell(asked, answered), rows, asked, block)

    def _learn(self, seconds: float, length: int) -> None:
        took = max(0.0, seconds - _SECONDS_IN_ANY_CASE) / (length or 1)
        # Quick once is quick: a slow model is slow each time, and a machine that is busy with other work is not.
        self._seconds_a_byte = min(took, self._seconds_a_byte + _REMEMBERED * (took - self._seconds_a_byte))

    def _too_long(self) -> InvalidRequest:
        what = f"the body has more than {self._limit} bytes"
        return InvalidRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, what, "Send fewer rows in a request")
