"""From a request to records for the model that is served: bounded, decoded, of the right shape, or refused."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

from starlette.requests import Request

from starterkit.contract import Contract, Prediction
from starterkit.errors import KitError, UserError
from starterkit.serving.predictor import Predictor
from starterkit.serving.validation import InvalidRecords, faults_of_answers, read_records

# --- From a request to records: bounded, decoded and of the right shape, or refused with the mend.
#
# No refusal repeats a value. A key that a client sent is repeated, cut short.

_SHOWN = 100
_SHAPE = 'Send {"records": [{"column": value, …}, …]}'


class InvalidRequest(UserError):
    """A request that gets no answer, and the status that says why."""

    def __init__(self, status: HTTPStatus, what: str, mend: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(what, mend)
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
        what, mend = "the body is compressed", "Send it as it is, without the header Content-Encoding"
        raise InvalidRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, what, mend, {"Accept-Encoding": "identity"})
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
    except RecursionError:
        raise _unprocessable("the body is nested too deeply", _SHAPE) from None
    except ValueError:  # Python reads no whole number of more than 4300 digits
        raise _unprocessable("the body has a number with too many digits", "Send a finite number") from None


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    unique: dict[str, Any] = {}
    for name, value in pairs:
        if name in unique:
            raise _unprocessable(f"the key '{name[:_SHOWN]}' stands twice in one object", "Send it once")
        unique[name] = value
    return unique


def _unprocessable(what: str, mend: str) -> InvalidRequest:
    return InvalidRequest(HTTPStatus.UNPROCESSABLE_ENTITY, what, mend)


# --- What is served, and the one place that says which model that is.


class ModelFailed(KitError):
    """The model did not answer rows that its contract allows."""


@dataclass(frozen=True)
class ServedModel:
    """A model with the name and version under which clients know it."""

    name: str
    version: str
    predictor: Predictor

    @property
    def contract(self) -> Contract:
        return self.predictor.contract

    def answer(self, records: Sequence[object]) -> Prediction:
        """Answers for n records.

        Raises
        ------
        InvalidRecords
            A record is not what the contract says, or the model has no finite answer for it.
        ModelFailed
            The graph stopped with an error.
        """
        columns = read_records(self.contract, records)
        try:
            prediction = self.predictor.predict(columns)
        except Exception as error:  # its message may repeat a value, which must not reach the log
            what = f"the graph of {self.name} version {self.version} failed: {type(error).__name__}"
            raise ModelFailed(what) from None
        if faults := faults_of_answers(prediction):
            raise InvalidRecords(faults)
        return prediction


class CurrentModel:
    """The model that answers now, or none yet."""

    def __init__(self) -> None:
        self.served: ServedModel | None = None

    def get(self) -> ServedModel:
        if self.served is None:
            raise InvalidRequest(HTTPStatus.SERVICE_UNAVAILABLE, "no model is loaded", "Try again later")
        return self.served
