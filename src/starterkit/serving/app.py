"""`create_app`: puts the routes, the key, the refusals and a model together."""

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

from starterkit.serving.access import key_check
from starterkit.serving.answers import PROBLEMS
from starterkit.serving.description import REFUSED, describe
from starterkit.serving.model import CurrentModel, ServedModel
from starterkit.serving.routes import health_routes, model_routes
from starterkit.serving.start import PlainStart
from starterkit.settings import ServingSettings


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
