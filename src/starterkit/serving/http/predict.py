"""`Predict`: the kit's own protocol. Records in, predictions with the version that made them out."""

from http import HTTPStatus

import msgspec
from starlette.responses import Response

from starterkit.serving.http.answers import InvalidRequest, bug, prediction_content, refusal
from starterkit.serving.http.gateway import Answer, Headers
from starterkit.serving.http.records import Asked, RecordReader
from starterkit.serving.predictor import Answered, ServedModel
from starterkit.settings import ServingSettings

ADDRESS = "/predict"


class Predict:
    """Answers at /predict.

    Parameters
    ----------
    served
        The model.
    settings
        How many rows there may be, and of which form.
    """

    def __init__(self, served: ServedModel, settings: ServingSettings) -> None:
        self._served = served
        contract, beyond = served.contract, served.predictor.beyond
        self._reader = RecordReader(contract, beyond, settings.max_rows, raw=settings.raw_records)
        self._encode = msgspec.json.Encoder().encode

    def accept(self, headers: Headers) -> None:
        """A body without a content type is refused: a browser sends those anywhere, on behalf of any page."""
        given = headers.get(b"content-type", b"")
        if given != b"application/json" and given.partition(b";")[0].strip().lower() != b"application/json":
            what, hint = "the body is not said to be JSON", "Send the header Content-Type: application/json"
            raise InvalidRequest(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, what, hint)

    def read(self, body: bytearray, headers: Headers) -> Asked:
        return self._reader.read(body)

    def tell(self, asked: Asked, answered: Answered) -> Answer:
        return Answer(self._encode(prediction_content(self._served, answered)))

    def refuse(self, error: Exception) -> Response | None:
        return refusal(error)

    def fail(self) -> Response:
        return bug()
