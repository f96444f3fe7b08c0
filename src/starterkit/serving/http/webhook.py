"""`Webhook`: where MLflow tells that an alias moved. What it says is no more than a reason to look.

See https://mlflow.org/docs/latest/ml/webhooks/ for how it signs.
"""

import base64
import hmac
import time
from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from starterkit.serving.http.answers import InvalidRequest

ADDRESS = "/webhooks/mlflow"

_SECONDS_OLD = 300
"""A message that somebody kept, and sends again later, wakes nobody."""
_MOST_BYTES = 65_536
_SIGNATURE, _DELIVERY, _TIMESTAMP = (f"x-mlflow-{name}" for name in ("signature", "delivery-id", "timestamp"))


class Webhook:
    """Rings for each message that has MLflow's signature and is new.

    Order is not kept and a message may come twice, so that none is believed: the registry is asked again.
    """

    def __init__(self, secret: SecretStr, ring: Callable[[], None]) -> None:
        self._secret = secret
        self._ring = ring

    async def take(self, request: Request) -> Response:
        """
        Raises
        ------
        InvalidRequest
            It is too long, or not signed, or old.
        """
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > _MOST_BYTES:
                what = f"the message has more than {_MOST_BYTES} bytes"
                raise InvalidRequest(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, what, "See who sends it")
        if not self._is_signed(request.headers, bytes(body)):
            what = "the message does not have a new signature of MLflow's"
            raise InvalidRequest(HTTPStatus.UNAUTHORIZED, what, "See that its webhook has serving.webhook_secret")
        self._ring()
        return Response(status_code=HTTPStatus.NO_CONTENT)

    def _is_signed(self, headers: Mapping[str, Any], body: bytes) -> bool:
        sent = headers.get(_TIMESTAMP, "")
        if not (sent.isascii() and sent.isdigit() and abs(time.time() - int(sent[:12])) < _SECONDS_OLD):
            return False
        signed = f"{headers.get(_DELIVERY, '')}.{sent}.".encode("latin-1") + body
        digest = hmac.digest(self._secret.get_secret_value().encode(), signed, "sha256")
        expected = f"v1,{base64.b64encode(digest).decode()}"
        return hmac.compare_digest(expected.encode(), headers.get(_SIGNATURE, "").encode("latin-1"))
