"""`create_app`: a model behind HTTP. JSON in, JSON out, and each refusal as RFC 9457 problem details with its hint.

No refusal repeats a value. A key that a client sent is repeated, cut short.
"""

import hmac
import json
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, Security
from fastapi.params import Depends as Dependency
from fastapi.security import APIKeyHeader
from fastapi_offline import FastAPIOffline
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from starterkit.errors import SettingsError, UserError
from starterkit.serving.http.description import PROBLEM_TYPE, REFUSED, describe, identity, model_content
from starterkit.serving.predictor import Answered, ServedModel
from starterkit.serving.validation import InvalidRecords
from starterkit.settings import ServingSettings


def create_app(served: ServedModel, settings: ServingSettings) -> FastAPI:
    """An app that answers with a model.

    Raises
    ------
    SettingsError
        A key is required and none is set.
    """
    app = FastAPIOffline(  # /docs loads nothing from elsewhere
        exception_handlers=PROBLEMS, redirect_slashes=False, responses={"default": REFUSED}
    )
    app.include_router(health_routes(served))
    app.include_router(model_routes(served, settings), dependencies=_key_check(require_key(settings)))
    describe(app, served.predictor, settings)
    return app


# --- The addresses and what happens at each.


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


def model_routes(served: ServedModel, settings: ServingSettings) -> APIRouter:
    """For clients."""
    router = APIRouter(tags=["model"])

    @router.get("/model", summary="What the model takes and answers, and where it comes from")
    async def model() -> Response:
        return answer(model_content(served))

    @router.post("/predict", summary="Predictions for a few records")
    async def predict(request: Request) -> Response:
        body = await read_body(request, settings.max_body_bytes)

        def respond() -> Response:
            answered = served.answer(decode_records(body, settings.max_rows), raw=settings.raw_records)
            return answer(prediction_content(served, answered))

        return await run_in_threadpool(respond)  # so that health is answered meanwhile

    return router


# --- Who may ask: those who send the key, where the stage requires one.

HEADER = "X-API-Key"


def require_key(settings: ServingSettings) -> bytes | None:
    """The key that clients have to send; None where none is asked for.

    Raises
    ------
    SettingsError
        A key is required and none is set.
    """
    if not settings.require_api_key:
        return None
    if settings.api_key is None:
        hint = "Set KIT_SERVING__API_KEY or put it into secrets/KIT_SERVING__API_KEY"
        raise SettingsError("serving.require_api_key is true and serving.api_key is not set", hint)
    return settings.api_key.get_secret_value().encode()


def _key_check(expected: bytes | None) -> list[Dependency]:
    """What the guarded routes depend on: nothing, or the key."""
    if expected is None:
        return []
    header = APIKeyHeader(name=HEADER, auto_error=False)

    async def check(sent: Annotated[str | None, Security(header)]) -> None:
        # Headers arrive as Latin-1, whatever bytes the client sent.
        if sent is None or not hmac.compare_digest(sent.encode("latin-1"), expected):
            what = f"the header {HEADER} is {'missing' if sent is None else 'not the key of this API'}"
            challenge = {"WWW-Authenticate": "APIKey"}
            raise InvalidRequest(HTTPStatus.UNAUTHORIZED, what, "Ask the operator for the key", challenge)

    return [Depends(check)]


# --- From a request to records: bounded, decoded and of the right shape, or refused.

_SHOWN = 100
_SHAPE = 'Send {"records": [{"column": value, …}, …]}'


class InvalidRequest(UserError):
    """A request that gets no answer, and the status that says why."""

    def __init__(self, status: HTTPStatus, what: str, hint: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(what, hint)
        self.status = status
        self.headers = headers


async def read_body(request: Request, limit: int) -> bytes:
    """The body of a JSON request of at most `limit` bytes. A longer one is not read to its end.

    Raises
    ------
    InvalidRequest
        The body is too long, compressed, or not said to be JSON. A request without a content type is refused too: a
        browser sends those to any address without asking, on behalf of any page.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json":
        what = "the body is not said to be JSON"
        raise InvalidRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, what, "Send the header Content-Type: application/json")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        what, hint = "the body is compressed", "Send it as it is, without the header Content-Encoding"
        raise InvalidRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, what, hint, {"Accept-Encoding": "identity"})
    too_long = InvalidRequest(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body has more than {limit} bytes", "Send fewer rows in a request"
    )
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise too_long
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_long
    return bytes(body)


def decode_records(body: bytes, max_rows: int) -> Sequence[object]:
    """The records in a body, whatever they are. A byte order mark is ignored.

    Raises
    ------
    InvalidRequest
        The body is not JSON, not of the right shape, or has no rows or too many.
    """
    document = _decode(body)
    if not isinstance(document, dict):
        raise _unprocessable("the body is not an object", _SHAPE)
    if "records" not in document:
        raise _unprocessable("the body has no 'records'", _SHAPE)
    if len(document) > 1:
        extra = next(name for name in document if name != "records")
        raise _unprocessable(f"the body has the unknown key '{extra[:_SHOWN]}'", "Leave it out; 'records' is all")
    records = document["records"]
    if not isinstance(records, list):
        raise _unprocessable("'records' is not a list", _SHAPE)
    if not records:
        raise _unprocessable("'records' is empty", "Send at least one row")
    if len(records) > max_rows:
        raise _unprocessable(f"'records' has {len(records)} rows", f"Send at most {max_rows} in a request")
    return records


def _decode(body: bytes) -> object:
    if not body.strip():
        raise _unprocessable("the body is empty", _SHAPE)
    try:
        # NaN and Infinity, which are not JSON, are let through here, so that the check of the records can say where.
        return json.loads(body.decode("utf-8-sig"), object_pairs_hook=_without_repeats)
    except UnicodeDecodeError as error:
        raise _unprocessable(f"the body is not UTF-8 at byte {error.start}", "Encode it as UTF-8") from None
    except json.JSONDecodeError as error:
        what = f"the body is not JSON at line {error.lineno}, column {error.colno}: {error.msg}"
        raise _unprocessable(what, _SHAPE) from None
    except (RecursionError, ValueError):  # Python reads no whole number of more than 4300 digits
        what = "the body is nested too deeply, or has a number with too many digits"
        raise _unprocessable(what, _SHAPE) from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique = dict(pairs)
    if len(unique) < len(pairs):
        twice = next(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
        raise _unprocessable(f"the key '{twice[:_SHOWN]}' stands twice in one object", "Send it once")
    return unique


def _unprocessable(what: str, hint: str) -> InvalidRequest:
    return InvalidRequest(HTTPStatus.UNPROCESSABLE_ENTITY, what, hint)


# --- Answers as JSON: predictions, and refusals as problem details.

_DETAILS = {
    HTTPStatus.NOT_FOUND: "there is nothing at this address. See /docs for those that there are.",
    HTTPStatus.METHOD_NOT_ALLOWED: "this address does not take this method. The header Allow says which it takes.",
}


def answer(
    content: Mapping[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """JSON in UTF-8. Half a surrogate pair, which a client may have sent as a key, becomes a question mark."""
    body = json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    return Response(body, status, headers, media_type)


def prediction_content(served: ServedModel, answered: Answered) -> dict[str, Any]:
    """Values and, from a classifier, each class's probability, row by row; and what lies beyond the proof."""
    classes, prediction = served.contract.classes, answered.prediction
    label = {value: value for value in classes}  # a graph knows no booleans: its 1 is the contract's true
    values = [label.get(value, value) for value in prediction.values.tolist()]
    content: dict[str, Any] = {"model": identity(served), "predictions": values}
    if prediction.probabilities is not None:
        content["probabilities"] = [dict(zip(classes, row, strict=True)) for row in prediction.probabilities.tolist()]
    if answered.beyond:
        content["beyond"] = [fault.content for fault in answered.beyond]
    return content


def problem(
    status: int,
    detail: str,
    errors: Sequence[Mapping[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A refusal. `errors` has a row (from 0), column, problem and mend for each fault, where there are any to name."""
    status = HTTPStatus(status)
    content: dict[str, Any] = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    if errors is not None:
        content["errors"] = errors
    return answer(content, status, PROBLEM_TYPE, headers)


async def _invalid_records(_: Request, error: InvalidRecords) -> Response:
    return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), [fault.content for fault in error.faults])


async def _invalid_request(_: Request, error: InvalidRequest) -> Response:
    errors = [{"row": None, "column": None, "problem": error.what, "mend": error.hint}]
    return problem(error.status, str(error), errors, error.headers)


async def _http_exception(_: Request, error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    return problem(status, _DETAILS.get(status, status.phrase), headers=error.headers)


async def _disconnected(_: Request, __: ClientDisconnect) -> Response:
    return problem(HTTPStatus.BAD_REQUEST, "the body did not arrive whole.")  # nobody is there to read this


async def _bug(_: Request, __: Exception) -> Response:
    detail = "the server failed; its log says why. The request need not be changed."
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)


PROBLEMS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    InvalidRecords: _invalid_records,
    InvalidRequest: _invalid_request,
    HTTPException: _http_exception,
    ClientDisconnect: _disconnected,
    Exception: _bug,
}
"""What each exception becomes. The server logs those that only the last line knows."""
