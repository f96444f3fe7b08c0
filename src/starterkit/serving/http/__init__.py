"""`create_app`: a model behind HTTP, where a platform wants it.

What answers rows and says whether it lives is here from the start. FastAPI, which takes longer to import than a model
takes to load, is made by a thread beside it: see `openapi`.
"""

import asyncio
import json
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from starlette.responses import Response

from starterkit.errors import UserError
from starterkit.serving.batching import Batcher
from starterkit.serving.http import invocations
from starterkit.serving.http.answers import IN_REQUEST, answer, identity
from starterkit.serving.http.gateway import Gateway, Health, Open, Route
from starterkit.serving.http.invocations import Invocations
from starterkit.serving.http.keys import Keys
from starterkit.serving.http.prometheus import Metrics
from starterkit.serving.http.records import ADDRESS, Predict
from starterkit.serving.predictor import CONTRACT_FILE, ServedModel
from starterkit.settings import ServingSettings

if TYPE_CHECKING:
    from starterkit.serving.http.routes import Log, Pages


def create_app(
    served: ServedModel,
    settings: ServingSettings,
    metrics: Metrics | None = None,
    ring: Callable[[], None] | None = None,
    log: "Log | None" = None,
) -> Gateway:
    """An app that answers with a model.

    `ring` wakes what follows the champion, where something does; `log` keeps what is answered.

    Raises
    ------
    SettingsError
        A key is required and none is set.
    """
    keys, counts = Keys(settings), metrics or Metrics()

    def opened(served: ServedModel) -> Open:
        """What answers with one version: the routes that take rows, and FastAPI's."""
        platform = Platform.of(os.environ)
        routes: dict[str, Route] = {
            ADDRESS: Predict(served, settings),
            invocations.ADDRESS: Invocations(served, settings),
        }
        routes |= dict.fromkeys(platform.predict, routes[invocations.ADDRESS])
        # <inference>
        from starterkit.serving.http import inference

        routes |= dict.fromkeys(inference.addresses(served), inference.Inference(served, settings))
        # </inference>
        health = {**health_of(served, counts), **dict.fromkeys(platform.health, ping)}

        def make() -> "Pages":
            from starterkit.serving.http.openapi import make_api

            return make_api(served, health, counts, keys, settings, ring, log)

        named = (b"x-model-version", served.version.encode("ascii", "replace"))
        recorder = None if log is None else log.of(served)
        return Open(served, Batcher(served), routes, health, Deferred(make), named, recorder)

    gateway = Gateway(served, opened, counts, keys, settings)
    gateway.at_end = None if log is None else log.close
    return gateway


class Deferred:
    """An app that a thread makes when it is first wanted."""

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


def health_of(served: ServedModel, metrics: Metrics) -> Health:
    """For the orchestrator, and what MLflow's clients and SageMaker ask first, to the letter. Open to all."""

    def live() -> Response:
        return answer({"status": "live"})

    def ready() -> Response:
        told = {"refused": metrics.refused_version} if metrics.refused_version else {}
        told |= {"registry": "does not give its champion"} if metrics.misses_registry else {}
        version, refused = metrics.in_shadow
        told |= {"shadow": {"version": version} if version else {"refused": refused}} if version or refused else {}
        return answer({"status": "ready", "model": identity(served), **told})

    def speaks() -> Response:
        return Response(_mlflow_version(), media_type="application/json")

    return {"/health/live": live, "/health/ready": ready, "/ping": ping, "/health": ping, "/version": speaks}


def ping() -> Response:
    return Response("\n", media_type="application/json")


def _mlflow_version() -> str:
    for package in ("mlflow", "mlflow-skinny"):
        with suppress(PackageNotFoundError):
            return version(package)
    return "none"


# --- What Amazon SageMaker, Azure ML and Vertex AI tell a container: its port, its model, its addresses.

_SAGEMAKER = Path("/opt/ml")
_PORTS = ("SAGEMAKER_BIND_TO_PORT", "AIP_HTTP_PORT")
BAKED = "STARTERKIT_MODEL"
"""Where an image has a model of its own."""
_LEVELS = ("", "*/", "*/*/")
"""How deep in a model's folder the exported one may be: Azure ML keeps the name that it was registered with."""


class Platform(NamedTuple):
    """What is told here; nothing where nobody does."""

    port: int | None = None
    folder: Path | None = None
    predict: tuple[str, ...] = ()
    health: tuple[str, ...] = ()

    @classmethod
    def of(cls, environ: Mapping[str, str], sagemaker: Path = _SAGEMAKER) -> "Platform":
        """
        Raises
        ------
        UserError
            A port is none, or an address, or what a platform brought has no model in it.
        """
        port = next((_port(name, environ[name]) for name in _PORTS if environ.get(name)), None)
        if port is None and sagemaker.is_dir():
            port = 8080
        predict = ("/score",) if environ.get("AZUREML_MODEL_DIR") else ()
        predict += tuple(_addresses("AIP_PREDICT_ROUTE", environ))
        return cls(port, _folder(environ, sagemaker), predict, tuple(_addresses("AIP_HEALTH_ROUTE", environ)))


def _port(name: str, said: str) -> int:
    if said.isdecimal() and 0 < int(said[:6]) < 65536:
        return int(said)
    raise UserError(f"{name} is no port", "Give a number from 1 to 65535")


def _addresses(name: str, environ: Mapping[str, str]) -> Iterator[str]:
    if told := environ.get(name):
        if not told.startswith("/"):
            raise UserError(f"{name} is no address", "Give a path that begins with '/'")
        yield told


def _folder(environ: Mapping[str, str], sagemaker: Path) -> Path | None:
    """The exported folder that the platform brought, or the image's own. A bucket is not read."""
    told = [environ.get("AZUREML_MODEL_DIR"), environ.get("AIP_STORAGE_URI")]
    brought = [Path(one) for one in told if one and "://" not in one] + [sagemaker / "model"]
    for place in brought:
        found = chain.from_iterable(sorted(place.glob(f"{level}{CONTRACT_FILE}")) for level in _LEVELS)
        if (contract := next(found, None)) is not None:
            return contract.parent
        if place.is_dir() and any(place.iterdir()):
            raise UserError(
                f"{place} has no exported folder", "Bring what `starterkit fetch` wrote, with contract.json"
            )
    return Path(baked) if (baked := environ.get(BAKED)) else None


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

    @property
    def marks(self) -> Sequence[tuple[bytes, bytes]]:
        return self._app.marks

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
