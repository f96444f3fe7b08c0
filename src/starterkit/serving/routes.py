"""The addresses and what happens at each."""

from fastapi import APIRouter
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response

from starterkit.serving.answers import answer, identity, model_content, prediction_content
from starterkit.serving.model import CurrentModel
from starterkit.serving.requests import decode_records, read_body
from starterkit.settings import ServingSettings


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
