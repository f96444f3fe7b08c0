"""Answers as JSON: predictions, and each refusal as RFC 9457 problem details with its hint.

No refusal repeats a value. A key that a client sent is repeated, cut short.
"""

import json
import os
import re
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from http import HTTPStatus
from itertools import count
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from starterkit.errors import UserError
from starterkit.serving.predictor import Answered, ServedModel
from starterkit.serving.validation import InvalidRecords

Headers = Mapping[bytes, bytes]

PROBLEM_TYPE = "application/problem+json"

_KEPT = ("allow", "retry-after", "www-authenticate", "accept-encoding")
"""A refusal's headers that are said in the words of other protocols, too."""

SHOWN = 100
"""So many characters of a name that a client sent are repeated."""

IN_REQUEST = "in request "
"""How the note of a fault begins that says in which request it came."""

SECONDS_TO_COME_AGAIN = "1"
"""What `Retry-After` says where there is no room."""

_DETAILS = {
    HTTPStatus.NOT_FOUND: "there is nothing at this address. See /docs for those that there are.",
    HTTPStatus.METHOD_NOT_ALLOWED: "this address does not take this method. The header Allow says which it takes.",
    HTTPStatus.REQUEST_TIMEOUT: "the request did not arrive whole in the time that there is for it. Send it again.",
    HTTPStatus.SERVICE_UNAVAILABLE: "there is no room for this request now. Send it again a little later.",
}


_KINDS: Mapping[int, str] = {
    HTTPStatus.UNAUTHORIZED: "key",
    HTTPStatus.NOT_FOUND: "address",
    HTTPStatus.METHOD_NOT_ALLOWED: "method",
    HTTPStatus.REQUEST_TIMEOUT: "late",
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: "too_long",
    HTTPStatus.UNSUPPORTED_MEDIA_TYPE: "content_type",
    HTTPStatus.INTERNAL_SERVER_ERROR: "failure",
    HTTPStatus.SERVICE_UNAVAILABLE: "no_room",
}


def kind_of(status: int) -> str:
    """What is wrong with a request that is no matter of its rows, in one word: told to clients and counted."""
    return _KINDS.get(status, "body")


class InvalidRequest(UserError):
    """A request that gets no answer, and the status that says why."""

    def __init__(self, status: HTTPStatus, what: str, hint: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(what, hint)
        self.status = status
        self.headers = headers


class NoRoom(Exception):
    """What a request needs is not there now: memory, or a place among those that are answered."""


class NotRecorded(NoRoom):
    """A prediction could not be written to the log, without which this stage does not answer."""


def unprocessable(what: str, hint: str) -> InvalidRequest:
    return InvalidRequest(HTTPStatus.UNPROCESSABLE_ENTITY, what, hint)


def bad(what: str, hint: str) -> InvalidRequest:
    """As the other protocols have it, which know no 422."""
    return InvalidRequest(HTTPStatus.BAD_REQUEST, what, hint)


def answer(
    content: Mapping[str, Any],
    status: HTTPStatus = HTTPStatus.OK,
    media_type: str = "application/json",
    headers: Mapping[str, str] | None = None,
) -> Response:
    """JSON in UTF-8. Half a surrogate pair, which a client may have sent as a key, becomes a question mark."""
    body = json.dumps(content, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace")
    return Response(body, status, headers, media_type)


def identity(served: ServedModel) -> dict[str, str]:
    return {"name": served.name, "version": served.version}


def prediction_content(served: ServedModel, answered: Answered) -> dict[str, Any]:
    """Values and, from a classifier, each class's probability or decision value; and what lies beyond the proof."""
    classes, prediction = served.contract.classes, answered.prediction
    values = prediction.values.tolist()
    if classes:
        label = {value: value for value in classes}  # a graph knows no booleans: its 1 is the contract's true
        values = [label.get(value, value) for value in values]
    content: dict[str, Any] = {"model": identity(served), "predictions": values}
    names = [_as_key(value) for value in classes]
    if prediction.probabilities is not None:
        content["probabilities"] = [dict(zip(names, row, strict=True)) for row in prediction.probabilities.tolist()]
    if prediction.decision_values is not None:
        rows = prediction.decision_values.tolist()
        content["decision_values"] = [dict(zip(names[-len(row) :], row, strict=True)) for row in rows]
    if answered.beyond:
        content["beyond"] = [fault.content for fault in answered.beyond]
    return content


def _as_key(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


# --- Refusals.


def problem(
    status: int,
    detail: str = "",
    errors: Sequence[Mapping[str, Any]] | None = None,
    headers: Mapping[str, str] | None = None,
) -> Response:
    """A refusal. `errors` has a row (from 0), column, problem and mend for each fault, where there are any to name."""
    status = HTTPStatus(status)
    detail = detail or _DETAILS.get(status, status.phrase)
    content: dict[str, Any] = {"type": "about:blank", "title": status.phrase, "status": status, "detail": detail}
    if errors is not None:
        content["errors"] = errors
    return answer(content, status, PROBLEM_TYPE, headers)


def no_room() -> Response:
    return problem(HTTPStatus.SERVICE_UNAVAILABLE, headers={"Retry-After": SECONDS_TO_COME_AGAIN})


def refusal(error: Exception) -> Response | None:
    """What an exception says to a client; None where it is none of theirs, but a fault of the server's."""
    match error:
        case InvalidRecords():
            return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error), [fault.content for fault in error.faults])
        case InvalidRequest():
            place = {"row": None, "column": None, "kind": kind_of(error.status)}
            errors = [{**place, "problem": error.what, "mend": error.hint}]
            return problem(error.status, str(error), errors, error.headers)
        case NotRecorded():
            detail = "predictions cannot be recorded now, and are not answered without. Send it again a little later."
            return problem(HTTPStatus.SERVICE_UNAVAILABLE, detail, None, {"Retry-After": SECONDS_TO_COME_AGAIN})
        case NoRoom() | MemoryError():
            return no_room()
        case ClientDisconnect():
            return problem(HTTPStatus.BAD_REQUEST, "the body did not arrive whole.")  # nobody is there to read this
        case HTTPException():
            return problem(error.status_code, headers=error.headers)
    return None


def retold(told: Response, error: Exception | None) -> tuple[HTTPStatus, str, dict[str, str]]:
    """A refusal for another protocol to say: its status, words and headers."""
    status = HTTPStatus(told.status_code)
    if status == HTTPStatus.UNPROCESSABLE_ENTITY:
        status = HTTPStatus.BAD_REQUEST
    words = str(error) if isinstance(error, UserError) else status.phrase
    return status, words, {name: told.headers[name] for name in _KEPT if name in told.headers}


OF_BODIES = {"413": "The body is too long", "415": "The body is compressed, or not said to be JSON"}
_OF_ALL = {
    "405": "This address does not take this method",
    "408": "The request did not arrive whole in time",
    "500": "The server failed; its log says why",
    "503": "There is no room for this request now; `Retry-After` says when to come again",
}


def refusals(content: Mapping[str, Any], is_guarded: bool, more: Mapping[str, str]) -> dict[str, Any]:
    """What the OpenAPI document says may come at an address: at any, and `more`. All have this content."""
    key = {"401": "The key is missing, or another one"} if is_guarded else {}
    return {status: {"description": said, "content": content} for status, said in {**_OF_ALL, **key, **more}.items()}


async def _refused(request: Request, error: Exception) -> Response:
    told = refusal(error)
    assert told is not None
    return _in_form(request, told, error)


def _in_form(request: Request, told: Response, error: Exception | None = None) -> Response:
    """As the protocol says it to whose addresses the request came."""
    forms: Mapping[str, Callable[..., Response]] = getattr(request.app.state, "forms", {})
    say = next((say for prefix, say in forms.items() if f"{request.url.path}/".startswith(f"{prefix}/")), None)
    return told if say is None else say(told, error)


def bug() -> Response:
    detail = "the server failed; its log says why. The request need not be changed."
    return problem(HTTPStatus.INTERNAL_SERVER_ERROR, detail)


async def _bug(request: Request, _: Exception) -> Response:
    return _in_form(request, bug())


PROBLEMS: dict[int | type[Exception], Callable[[Request, Any], Coroutine[Any, Any, Response]]] = {
    **dict.fromkeys((InvalidRequest, InvalidRecords, NoRoom, MemoryError, HTTPException, ClientDisconnect), _refused),
    Exception: _bug,
}
"""What each exception becomes. The server logs those that only the last line knows."""


# --- By what a request is known in logs and in its answer.

_TRACE = re.compile(rb"[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}").fullmatch
_SANE = re.compile(rb"[\w.:-]{1,128}").fullmatch
_OURS = int.from_bytes(os.urandom(6)) >> 6
_NEXT = count().__next__
_FIXED = 1 << 63 | _OURS


def new_id() -> bytes:
    """A UUID of version 7 without dashes: ms since 1970, a number that no other of this process has, and the process's.

    So they sort by time, and those of one ms by their order. A clock that jumps back makes no id twice.
    """
    number = _NEXT()
    low = _FIXED | (number & 0xFFFFF) << 42
    return b"%012x7%03x%016x" % (time.time_ns() // 1_000_000, number >> 20 & 0xFFF, low)


def request_id(headers: Mapping[bytes, bytes]) -> bytes | None:
    """The trace that the request is a part of (W3C Trace Context), or the id that the client gave."""
    if (sent := headers.get(b"traceparent")) and (trace := _TRACE(sent)):
        return trace[1]
    if (sent := headers.get(b"x-request-id")) and _SANE(sent):
        return sent
    return None


class Answer(NamedTuple):
    """A body, and the headers that say of what kind it is."""

    content: bytes
    kind: Sequence[tuple[bytes, bytes]] = ((b"content-type", b"application/json"),)


def require_json(given: bytes) -> None:
    """See that a body is said to be JSON.

    Raises
    ------
    InvalidRequest
        It is not: a browser sends a body without a type anywhere, on behalf of any page.
    """
    if given != b"application/json" and given.partition(b";")[0].strip().lower() != b"application/json":
        what, hint = "the body is not said to be JSON", "Send the header Content-Type: application/json"
        raise InvalidRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, what, hint)
