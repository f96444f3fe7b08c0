"""`create_app`: a model behind HTTP.

What answers rows and says whether it lives is here from the start. FastAPI, which takes longer to import than a model
takes to load, is made by a thread beside it: see `openapi`.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from starlette.responses import Response

from starterkit.serving.batching import Batcher
from starterkit.serving.http import invocations
from starterkit.serving.http.answers import answer, identity
from starterkit.serving.http.asgi import Deferred
from starterkit.serving.http.gateway import Gateway, Health, Open, Route
from starterkit.serving.http.invocations import Invocations
from starterkit.serving.http.keys import Keys
from starterkit.serving.http.predict import ADDRESS, Predict
from starterkit.serving.http.prometheus import Metrics
from starterkit.serving.http.webhook import Webhook
from starterkit.serving.platforms import Platform
from starterkit.serving.predictor import ServedModel
from starterkit.settings import ServingSettings

if TYPE_CHECKING:
    from starterkit.serving.http.feedback import Log
    from starterkit.serving.http.page import Pages


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
    hook = Webhook(settings.webhook_secret, ring) if ring and settings.webhook_secret else None
    return Gateway(served, lambda one: open_model(one, counts, keys, settings, hook, log), counts, keys, settings)


def open_model(
    served: ServedModel,
    metrics: Metrics,
    keys: Keys,
    settings: ServingSettings,
    hook: Webhook | None = None,
    log: "Log | None" = None,
) -> Open:
    """What answers with one version: the routes that take rows, and FastAPI's."""
    platform = Platform.of(os.environ)
    routes: dict[str, Route] = {ADDRESS: Predict(served, settings), invocations.ADDRESS: Invocations(served, settings)}
    routes |= dict.fromkeys(platform.predict, routes[invocations.ADDRESS])
    # <inference>
    from starterkit.serving.http import inference

    routes |= dict.fromkeys(inference.addresses(served), inference.Inference(served, settings))
    # </inference>
    health = {**health_of(served, metrics), **dict.fromkeys(platform.health, ping)}

    def make() -> "Pages":
        from starterkit.serving.http.openapi import make_api

        return make_api(served, health, metrics, keys, settings, hook, log)

    named = (b"x-model-version", served.version.encode("ascii", "replace"))
    recorder = None if log is None else log.of(served)
    return Open(served, Batcher(served), routes, health, Deferred(make), named, recorder)


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
