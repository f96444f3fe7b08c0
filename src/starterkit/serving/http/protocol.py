"""`Server`: uvicorn, with connections that nobody can hold, and an end that costs no request.

See docs/decisions/0026-held.md.
"""

import asyncio
import logging
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache, partial
from http import HTTPStatus
from typing import Any, NamedTuple, Protocol, runtime_checkable

import uvicorn
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from starterkit.serving.http.answers import no_room, problem

_SECONDS_TO_SEND = 8
"""For clients to send the rest of their requests when the end comes: one that never does would hold it up for good.
`docker stop`, and the parent of several processes, wait for 10 seconds."""
_SECONDS_TO_ASK_AGAIN = 1.0
"""When the end comes, for a client that keeps its connection to ask once more, and be told to come by another one."""
_SECONDS_BETWEEN_LOOKS = 0.05
_DIGITS = 10
"""Of a length that is worth reading."""
_END = b"\r\n\r\n"
_HEADS = 8
"""Of one client, that are known again: of a request whose body has another length, its length is another."""
_LONG_HEAD = 1_024
_TO_BE_REFUSED = 64
"""Connections beyond the most that are told so. Those that come on top are ended without a word."""


class Reply(NamedTuple):
    """What goes back to a client."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    content: bytes


Say = Callable[[Reply, Exception | None], None]
"""Is given what there is to say, and the fault of the server's that is to be logged."""


@runtime_checkable
class Hot(Protocol):
    """An app that answers some requests at once, without a task of their own."""

    def is_quick(self, length: int) -> bool:
        """Whether a body of so many bytes holds up nobody on the event loop."""
        ...

    def reply(self, path: str, headers: Mapping[bytes, bytes], body: bytearray, say: Say) -> bool:
        """Say an answer, now or later on the event loop; False where a task has to see."""
        ...


class _Held:
    """What uvicorn takes for the task of a request whose answer waits until it may be said."""

    __slots__ = ("disconnected", "keep_alive", "message_event", "more_body", "response_complete", "response_started")

    def __init__(self) -> None:
        self.response_started = self.response_complete = self.more_body = self.disconnected = False
        self.keep_alive, self.message_event = True, _NOBODY


_NOBODY = asyncio.Event()
"""Waits for more of what has come whole."""


class _Head(NamedTuple):
    """Of a request that was answered at once: its address, its headers, and how many bytes come behind it."""

    path: str
    given: Mapping[bytes, bytes]
    length: int


class Patience(NamedTuple):
    """For how many seconds a client is waited for, and how many connections there may be at once."""

    seconds: float
    connections: int


class Connection(HttpToolsProtocol):
    """One that has to come to a whole request in time, and to take its answer in time.

    Where there are too many, the one that was waited for the longest makes room. Where all of them are being answered,
    the new one gets a 503.
    """

    def __init__(self, patience: Patience, **given: Any) -> None:
        super().__init__(**given)
        self.cycle: Any
        self.access_log &= self.config.access_log  # some who look at logs give each logger a handler
        self._patience = patience
        self._since = time.monotonic()
        self._unread: float | None = None
        self._asks = False
        self._is_last = False
        self._hot: Hot | None = self.app if isinstance(self.app, Hot) else None
        self._body: bytearray | None = None
        self._given: Mapping[bytes, bytes] = {}
        self._may_hold_up = True
        self._heads: dict[bytes, _Head] = {}
        self._chunk = b""

    # What the parser and the transport tell.

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        most = self._patience.connections
        if len(self.connections) <= most:
            return
        others = [one for one in self.connections if one is not self and isinstance(one, Connection)]
        waiting = [one for one in others if one.waits and not one.transport.is_closing()]
        if waiting:
            min(waiting, key=lambda one: one._since).give_up()
        elif len(self.connections) > most + _TO_BE_REFUSED:
            self.transport.abort()
        else:
            self.app, self._is_last = partial(_refuse, self._marks), True

    def data_received(self, data: bytes) -> None:
        """A client that keeps its connection says the same head again: what it says is known from the first time."""
        self._may_hold_up = True
        if self._heads and not self._asks and self._is_free():
            end = data.find(_END) + len(_END)
            head = self._heads.get(data[:end])
            if head and len(data) == end + head.length and self._hot and self._hot.is_quick(head.length):
                self._unset_keepalive_if_required()
                self._since = time.monotonic()
                if self._answered(self._hot, head.path, head.given, bytearray(data[end:])):
                    return
        self._chunk = b"" if self._asks else data
        super().data_received(data)

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._since, self._asks = time.monotonic(), True

    def on_headers_complete(self) -> None:
        """A request that may be answered at once waits here for its body; any other one becomes a task."""
        self._body = None
        if self._is_hot():
            self._body = bytearray()
        else:
            self._start()

    def _is_hot(self) -> bool:
        if self._hot is None or self.access_log or self.expect_100_continue or not self._is_free():
            return False
        if not self._may_hold_up or self.parser.get_method() != b"POST":
            return False
        if self.parser.get_http_version() != "1.1" or not self.parser.should_keep_alive():
            return False
        self._given = dict(self.headers)
        length = self._given.get(b"content-length", b"")
        return length.isdigit() and len(length) < _DIGITS and self._hot.is_quick(int(length))

    def _is_free(self) -> bool:
        """Whether no other request of this client is answered, and it takes answers."""
        idle = (self.cycle is None or self.cycle.response_complete) and not self.pipeline
        return idle and not self._is_last and not self.flow.write_paused

    def _start(self) -> None:
        """As uvicorn does it."""
        url, headers, waits_for_word = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, waits_for_word
        self.headers += headers
        super().on_headers_complete()
        if self._is_last:
            self.cycle.keep_alive = False

    def on_body(self, body: bytes) -> None:
        if self._body is None:
            super().on_body(body)
        else:
            self._body += body

    def on_message_complete(self) -> None:
        body, self._body = self._body, None
        if body is not None:
            path = self.url.decode("latin-1")
            if self._hot is not None and not self._is_last and self._answered(self._hot, path, self._given, body):
                self._remember(path, len(body))
                return
            self._start()
            super().on_body(bytes(body))
        super().on_message_complete()
        self._asks = False

    def _answered(self, app: "Hot", path: str, given: Mapping[bytes, bytes], body: bytearray) -> bool:
        """Answer here and now, without a task, where the app can: that is half of what a small request costs."""
        held = _Held()
        if not app.reply(path, given, body, partial(self._say, held)):
            return False
        self._may_hold_up = self._asks = False  # those that came with it take their turn
        if not held.response_complete:
            self.cycle = held
        return True

    def _remember(self, path: str, length: int) -> None:
        """The head of a request that came in one piece, and alone."""
        head = self._chunk[: len(self._chunk) - length]
        if head.find(_END) + len(_END) == len(head) < _LONG_HEAD:
            if len(self._heads) >= _HEADS:
                self._heads.clear()
            self._heads[head] = _Head(path, self._given, length)

    def _say(self, held: _Held, reply: Reply, failure: Exception | None) -> None:
        if failure is not None:
            self.logger.error("Exception in the app", exc_info=failure)
        if self.transport.is_closing():
            held.response_complete = True
            return
        head = [b"%b: %b\r\n" % header for header in reply.headers]
        head += () if held.keep_alive else (b"connection: close\r\n",)
        line, fixed = STATUS_LINE[reply.status], _written(tuple(self.server_state.default_headers))
        self.transport.write(b"".join((line, fixed, *head, b"\r\n", reply.content)))
        held.response_complete, self._since = True, time.monotonic()
        if not held.keep_alive:
            self.transport.close()
        elif self.pipeline or self.flow.read_paused:
            self.on_response_complete()
        else:
            self.server_state.total_requests += 1

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._since = time.monotonic()
        if self.cycle.more_body:  # refused before it was whole: what still comes is read, and asks for nothing
            self._asks = False

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = time.monotonic()

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread = None

    def shutdown(self) -> None:
        """Answer once more, and say that it is the last time."""
        self._is_last = True
        if self.cycle is not None and not self.cycle.response_started:
            self.cycle.keep_alive = False

    # What the server asks.

    @property
    def waits(self) -> bool:
        """Whether it is the client's turn: to ask, to send the rest, or to take its answer."""
        return self.cycle is None or self.cycle.response_complete or self.cycle.more_body

    @property
    def waited(self) -> float:
        """For how many seconds it has been."""
        if self._unread is not None:
            return time.monotonic() - self._unread
        return time.monotonic() - self._since if self.waits else 0.0

    @property
    def is_idle(self) -> bool:
        """Whether nothing of a request has come, and no answer is on its way."""
        return self.waits and not self._asks and self._unread is None

    @property
    def is_late(self) -> bool:
        return self.waited > self._patience.seconds

    @property
    def _marks(self) -> Sequence[tuple[bytes, bytes]]:
        """What the app says with all its answers."""
        return getattr(self.config.loaded_app, "marks", ())

    def give_up(self) -> None:
        """End it, with a word where a request had begun to come."""
        started = self.cycle is not None and self.cycle.response_started and not self.cycle.response_complete
        if self.transport.is_closing() or self._unread is not None or started:
            self.transport.abort()  # what it was sent, it does not read
            return
        if self._asks:
            told = problem(HTTPStatus.REQUEST_TIMEOUT, headers={"Connection": "close"})
            headers = [*self.server_state.default_headers, *told.raw_headers, *self._marks]
            lines = [b"HTTP/1.1 408 Request Timeout", *(b": ".join(header) for header in headers), b"", b""]
            self.transport.write(b"\r\n".join(lines) + bytes(told.body))
        self.transport.close()


@lru_cache(maxsize=4)
def _written(headers: tuple[tuple[bytes, bytes], ...]) -> bytes:
    """What all answers of a second begin with."""
    return b"".join(b"%b: %b\r\n" % header for header in headers)


async def _refuse(marks: Sequence[tuple[bytes, bytes]], scope: Any, receive: Any, send: Any) -> None:
    told = no_room()
    told.raw_headers += marks
    await told(scope, receive, send)


_SAFE = [
    ("X-Content-Type-Options", "nosniff"),
    ("Content-Security-Policy", "frame-ancestors 'none'"),
    ("Referrer-Policy", "no-referrer"),
    ("Cache-Control", "no-store"),
]
"""What each answer says to browsers and what lies between, encoded once. Pages add a policy of their own to it."""


class Server(uvicorn.Server):
    """Answers with an app until it is told to end, and then until those who ask have their answers.

    Parameters
    ----------
    app, given
        As `uvicorn.Config` takes them.
    patience
        With clients.
    says
        Called when the first of them can come.
    """

    def __init__(self, app: Any, patience: Patience, says: Callable[[], None] = lambda: None, **given: Any) -> None:
        http: Any = partial(Connection, patience)
        fixed: dict[str, Any] = {"ws": "none", "server_header": False, "proxy_headers": False, "headers": _SAFE}
        super().__init__(uvicorn.Config(app, http=http, **fixed, **given))
        self._says = says

    def _connections(self) -> Iterator[Connection]:
        yield from (one for one in [*self.server_state.connections] if isinstance(one, Connection))

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        asyncio.get_running_loop().set_exception_handler(_LogOnce())
        await super().startup(sockets)
        if self.started:
            self._says()

    async def on_tick(self, counter: int) -> bool:
        self._end_the_late()
        return await super().on_tick(counter)

    def _end_the_late(self) -> None:
        for connection in self._connections():
            if connection.is_late:
                connection.give_up()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more connections, answer once more on each that there is, and wait for what is computed.

        uvicorn would close those that are idle at once, and with them what is on its way there. Its own timeout ends
        what computes, too, and logs a traceback for each.
        """
        await asyncio.sleep(0)  # who stands in the queue comes in
        for one in (*self.servers, *(sockets or ())):
            one.close()
        began = time.monotonic()
        while self.server_state.connections and not self.force_exit:
            passed = time.monotonic() - began
            for connection in self._connections():
                connection.shutdown()
                if passed > _SECONDS_TO_SEND and (connection.waits or connection.waited):
                    connection.transport.abort()
                elif connection.is_idle and min(passed, connection.waited) > _SECONDS_TO_ASK_AGAIN:
                    connection.transport.close()
            self._end_the_late()
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        await super().shutdown(sockets)


class _LogOnce:
    """Says of each fault of the event loop once what it is: where descriptors run out, that is each connection."""

    def __init__(self) -> None:
        self._told: set[str] = set()

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        words = f"{context.get('message')}: {context.get('exception')}"
        if words not in self._told and len(self._told) < _KINDS:
            self._told.add(words)
            logging.getLogger("uvicorn.error").error("%s (told once)", words, exc_info=context.get("exception"))


_KINDS = 100
