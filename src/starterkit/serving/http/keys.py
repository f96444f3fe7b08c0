"""`Keys`: who may ask. Those who send a key, where the stage requires one."""

import hmac
from collections.abc import Mapping
from http import HTTPStatus

from starterkit.errors import SettingsError
from starterkit.serving.http.answers import InvalidRequest
from starterkit.settings import ServingSettings

HEADER = "X-API-Key"
_SENT = HEADER.lower().encode()


class Keys:
    """The keys that clients have to send.

    Raises
    ------
    SettingsError
        One is required and none is set.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self._expected: bytes | None = None
        if not settings.require_api_key:
            return
        if settings.api_key is None:
            hint = "Set KIT_SERVING__API_KEY or put it into secrets/KIT_SERVING__API_KEY"
            raise SettingsError("serving.require_api_key is true and serving.api_key is not set", hint)
        self._expected = settings.api_key.get_secret_value().encode()

    @property
    def are_asked_for(self) -> bool:
        return self._expected is not None

    def fit(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether one is sent, or none is asked for. Headers arrive as whatever bytes the client sent."""
        if self._expected is None:
            return True
        sent = headers.get(_SENT)
        return sent is not None and hmac.compare_digest(sent, self._expected)

    def require(self, headers: Mapping[bytes, bytes]) -> None:
        """
        Raises
        ------
        InvalidRequest
            It is missing, or another one.
        """
        if not self.fit(headers):
            what = f"the header {HEADER} is {'not a key of this API' if _SENT in headers else 'missing'}"
            challenge = {"WWW-Authenticate": "APIKey"}
            raise InvalidRequest(HTTPStatus.UNAUTHORIZED, what, "Ask the operator for one", challenge)
