"""`create_app`: puts the routes, the key, the refusals and a model together."""

import hmac
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Security
from fastapi.params import Depends as Dependency
from fastapi.security import APIKeyHeader
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from starterkit.errors import KitError, SettingsError
from starterkit.serving.http.answers import (
    PROBLEMS,
    REFUSED,
    answer,
    describe,
    identity,
    model_content,
    prediction_content,
)
from starterkit.serving.http.requests import CurrentModel, InvalidRequest, ServedModel, decode_records, read_body
from starterkit.settings import ServingSettings

# --- How a start that the kit foresaw to fail is told: in one line.


class PlainStart:
    """An ASGI middleware. Starlette hands the server a traceback of whatever stops the start."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_plainly(message: Message) -> None:
            error = sys.exc_info()[1]
            if message["type"] == "lifespan.startup.failed" and isinstance(error, KitError):
                message = {**message, "message": str(error)}
            await send(message)

        await self._app(scope, receive, send_plainly if scope["type"] == "lifespan" else send)


# --- Who may ask: those who send the key, where the stage requires one.

HEADER = "X-API-Key"


def key_check(settings: ServingSettings) -> list[Dependency]:
    """What the guarded routes depend on: nothing, or the key.

    Raises
    ------
    SettingsError
        A key is required and none is set.
    """
    if not settings.require_api_key:
        return []
    if settings.api_key is None:
        mend = "Set KIT_SERVING__API_KEY or put it into secrets/KIT_SERVING__API_KEY"
        raise SettingsError("serving.require_api_key is true and serving.api_key is not set", mend)
    expected = settings.api_key.get_secret_value().encode()
    header = APIKeyHeader(name=HEADER, auto_error=False)

    async def check(sent: Annotated[str | None, Security(header)]) -> None:
        # Headers arrive as Latin-1, whatever bytes the client sent.
        if sent is None or not hmac.compare_digest(sent.encode("latin-1"), expected):
            what = f"the header {HEADER} is {'missing' if sent is None else 'not the key of this API'}"
            challenge = {"WWW-Authenticate": "APIKey"}
            raise InvalidRequest(HTTPStatus.UNAUTHORIZED, what, "Ask the operator for the key", challenge)

    return [Depends(check)]


# --- The addresses and what happens at each.


def health_routes(current: CurrentModel) -> APIRouter:
    """For the orchestrator: open to all, and answered while the model is busy."""
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live", summary="Whether the process runs")
    async def live() -> Response:
        return answer({"status": "live"})

    @router.get("/ready", summary="Whether a model is loaded")
    async def ready() -> Response:
        return answer({"status": "ready", "model": identity(current.get())})

    return router


def model_routes(current: CurrentModel, settings: ServingSettings) -> APIRouter:
    """For clients."""
    router = APIRouter(tags=["model"])

    @router.get("/model", summary="What the model takes and answers, and where it comes from")
    async def model() -> Response:
        return answer(model_content(current.get()))

    @router.post("/predict", summary="Predictions for a few records")
    async def predict(request: Request) -> Response:
        served = current.get()
        body = await read_body(request, settings.max_body_bytes)

        def respond() -> Response:
            prediction = served.answer(decode_records(body, settings.max_rows))
            return answer(prediction_content(served, prediction))

        return await run_in_threadpool(respond)  # so that health is answered meanwhile

    return router


def create_app(load: Callable[[], ServedModel], settings: ServingSettings) -> FastAPI:
    """An app that loads its model when it starts.

    Parameters
    ----------
    load
        Opens the model. A `KitError` of its stops the start with one line.

    Raises
    ------
    SettingsError
        A key is required and none is set.
    """
    guard = key_check(settings)
    current = CurrentModel()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        current.served = load()
        describe(app, current.served.contract, settings.max_rows)
        yield

    app = FastAPIOffline(  # /docs loads nothing from elsewhere
        lifespan=lifespan, exception_handlers=PROBLEMS, redirect_slashes=False, responses={"default": REFUSED}
    )
    app.add_middleware(PlainStart)
    app.include_router(health_routes(current))
    app.include_router(model_routes(current, settings), dependencies=guard)
    return app
