"""Who may ask: those who send the key, where the stage requires one."""

import hmac
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Security
from fastapi.params import Depends as Dependency
from fastapi.security import APIKeyHeader

from starterkit.errors import SettingsError
from starterkit.serving.requests import InvalidRequest
from starterkit.settings import ServingSettings

HEADER = "X-API-Key"


def key_check(settings: ServingSettings) -> list[Dependency]:
    """What the guarded routes depend on: nothing, or the key.

    Raises
    ------
    SettingsError
        A key is required and none is set.
    """
    if not settings.require_api_key:
        return []
    if settings.api_key is None:
        mend = "Set KIT_SERVING__API_KEY or put it into secrets/KIT_SERVING__API_KEY"
        raise SettingsError("serving.require_api_key is true and serving.api_key is not set", mend)
    expected = settings.api_key.get_secret_value().encode()
    header = APIKeyHeader(name=HEADER, auto_error=False)

    async def check(sent: Annotated[str | None, Security(header)]) -> None:
        # Headers arrive as Latin-1, whatever bytes the client sent.
        if sent is None or not hmac.compare_digest(sent.encode("latin-1"), expected):
            what = f"the header {HEADER} is {'missing' if sent is None else 'not the key of this API'}"
            challenge = {"WWW-Authenticate": "APIKey"}
            raise InvalidRequest(HTTPStatus.UNAUTHORIZED, what, "Ask the operator for the key", challenge)

    return [Depends(check)]
