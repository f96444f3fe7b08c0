"""Apps around apps: one that is made later, one whose answers are marked, and the log of requests on stderr."""

import asyncio
import json
import logging
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any, Literal

from starterkit.serving.http.answers import IN_REQUEST


class Deferred:
    """An app that a thread makes when it is first wanted.

    Parameters
    ----------
    make
        Makes it.
    """

    def __init__(self, make: Callable[[], Any]) -> None:
        self._make = make
        self._made: asyncio.Future[Any] | None = None

    def begin(self) -> asyncio.Future[Any]:
        """Have it made; on the event loop."""
        if self._made is None:
            self._made = asyncio.get_running_loop().run_in_executor(None, self._make)
        return self._made

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        app = await asyncio.shield(self.begin())  # who leaves takes it from nobody
        await app(scope, receive, send)


class Marked:
    """Says with FastAPI's answers what is said with all, and sees their status."""

    def __init__(self, send: Any, marks: Sequence[tuple[bytes, bytes]]) -> None:
        self._send, self._marks, self.status = send, marks, 500

    async def __call__(self, message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message.get("headers", ()), *self._marks]
        await self._send(message)


# --- The log: faults, and requests where they are asked for. See docs/protocols.md.

_REQUESTS = "starterkit.requests"
_PATH_SHOWN = 200


def log_config(form: Literal["text", "json"]) -> dict[str, Any]:
    """What `logging.config` is told: one line of text, or of JSON, for each thing that there is to say."""
    text = {"()": "uvicorn.logging.DefaultFormatter", "fmt": "%(levelprefix)s %(message)s"}
    handlers = {"stderr": {"class": "logging.StreamHandler", "formatter": form}}
    logger = {"handlers": ["stderr"], "level": "INFO", "propagate": False}
    formatters = {"text": text, "json": {"()": JsonLines}}
    loggers = {"uvicorn": logger, _REQUESTS: logger}
    words = {"disable_existing_loggers": False, "formatters": formatters, "handlers": handlers, "loggers": loggers}
    return {"version": 1, **words}


class JsonLines(logging.Formatter):
    """A line a record: when, how grave, what, and of a fault the traceback and the request in which it came."""

    def format(self, record: logging.LogRecord) -> str:
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told = {"time": at, "level": record.levelname.lower(), "message": record.getMessage().strip()}
        told |= getattr(record, "told", {})
        if record.exc_info and (error := record.exc_info[1]):
            notes = (note for note in getattr(error, "__notes__", ()) if note.startswith(IN_REQUEST))
            told |= {"request": next(notes, "").removeprefix(IN_REQUEST)}
            told |= {"error": type(error).__name__, "traceback": self.formatException(record.exc_info)}
        return json.dumps(told)


class RequestLog:
    """An app whose requests are a line each, with nothing of what they brought. It takes the way by a task.

    The address comes without its query.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._log = logging.getLogger(_REQUESTS)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status, headers = time.perf_counter(), 500, {}

        async def seen(message: dict[str, Any]) -> None:
            nonlocal status, headers
            if message["type"] == "http.response.start":
                status, headers = message["status"], dict(message["headers"])
            await send(message)

        try:
            await self._app(scope, receive, seen)
        finally:
            took = round(1000 * (time.perf_counter() - began), 3)
            told = {"method": scope["method"], "path": scope["path"][:_PATH_SHOWN], "status": status, "ms": took}
            for name in ("request-id", "model-version"):
                told[name.partition("-")[0]] = headers.get(f"x-{name}".encode(), b"").decode("ascii", "replace")
            self._log.info(
                "%(method)s %(path)r %(status)d in %(ms)s ms, request %(request)s", told, extra={"told": told}
            )
