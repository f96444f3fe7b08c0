"""`create_app`: a model behind HTTP. What clients and operators read is here; `Predict` is what answers."""

from collections.abc import Sequence
from html import escape

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.params import Depends as Dependency
from fastapi.security import APIKeyHeader
from fastapi_offline import FastAPIOffline
from starlette.responses import Response

from starterkit.serving.http.answers import PROBLEMS, answer, identity
from starterkit.serving.http.description import describe, model_content
from starterkit.serving.http.predict import HEADER, Key, Predict
from starterkit.serving.predictor import ServedModel
from starterkit.settings import ServingSettings

DOCUMENT = "/openapi.json"


def create_app(served: ServedModel, settings: ServingSettings) -> FastAPI:
    """An app that answers with a model.

    Raises
    ------
    SettingsError
        A key is required and none is set.
    """
    key = Key(settings)
    app = FastAPIOffline(exception_handlers=PROBLEMS, redirect_slashes=False)  # /docs loads nothing from elsewhere
    app.add_middleware(Predict, served=served, key=key, settings=settings)
    app.include_router(health_routes(served))
    app.include_router(model_routes(served), dependencies=_checks(key))
    describe_app(app, served, key, settings)
    return app


def health_routes(served: ServedModel) -> APIRouter:
    """For the orchestrator: open to all, and answered while the model is busy."""
    router = APIRouter(prefix="/health", tags=["health"])

    @router.get("/live", summary="Whether the process runs")
    async def live() -> Response:
        return answer({"status": "live"})

    @router.get("/ready", summary="Whether a model is loaded")
    async def ready() -> Response:
        return answer({"status": "ready", "model": identity(served)})

    for path, route in (("/live", live), ("/ready", ready)):  # some balancers ask without wanting the words
        router.head(path, include_in_schema=False)(route)
    return router


def model_routes(served: ServedModel) -> APIRouter:
    """For clients."""
    router = APIRouter(tags=["model"])

    @router.get("/model", summary="What the model takes and answers, and where it comes from")
    async def model() -> Response:
        return answer(model_content(served))

    return router


def _checks(key: Key) -> Sequence[Dependency]:
    """What the guarded routes depend on: nothing, or the key."""
    if not key.is_asked_for:
        return []

    async def check(request: Request) -> None:
        key.require(_sent(request))

    return [Depends(check), Depends(APIKeyHeader(name=HEADER, auto_error=False))]


def _sent(request: Request) -> bytes | None:
    sent = request.headers.get(HEADER)
    return None if sent is None else sent.encode("latin-1")


def describe_app(app: FastAPI, served: ServedModel, key: Key, settings: ServingSettings) -> None:
    """Write the OpenAPI document. Who does not bring the key reads no more of the model than /model tells them."""
    routes = app.openapi()
    whole = describe(routes, served.predictor, settings, key.is_asked_for)
    bare = describe(routes, None, settings, key.is_asked_for) if key.is_asked_for else whole
    app.title = escape(bare["info"]["title"])  # of the page's tab, whose HTML FastAPI puts together as it is
    app.openapi_schema = bare

    async def document(request: Request) -> Response:
        return answer(whole if key.fits(_sent(request)) else bare)

    for route in app.router.routes:
        if getattr(route, "path", "") == DOCUMENT:
            app.router.routes.remove(route)
            break
    app.router.add_route(DOCUMENT, document, include_in_schema=False)
