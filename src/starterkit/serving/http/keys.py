"""`Keys`: who may ask. Those who send a key, where the stage requires one.

Keys are known by their SHA-256 alone. They are long and random, so that nobody finds one from its digest.
"""

import hashlib
import hmac
import logging
import re
import time
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path

from starterkit.errors import SettingsError
from starterkit.serving.http.answers import InvalidRequest
from starterkit.settings import ServingSettings

HEADER = "X-API-Key"

_SENT = HEADER.lower().encode()
_BEARER = b"authorization"
"""Where those send it that know no header of their own: Prometheus, and clients of other protocols."""
_ATTRIBUTES = b"x-amzn-sagemaker-custom-attributes"
"""All that SageMaker hands on of its callers' own headers."""
_SECONDS_BETWEEN_LOOKS = 1.0
_LINE = re.compile(r"([\w.@-]{1,64})\s+([0-9a-f]{64})").fullmatch
_SETTING = "serving.api_key"


class Keys:
    """The keys that clients have to send: the setting's, and those of a file that may change at any time.

    Raises
    ------
    SettingsError
        One is required and none is set, or the file is none of keys.
    """

    def __init__(self, settings: ServingSettings) -> None:
        self.are_asked_for = settings.require_api_key
        self._fixed: dict[str, bytes] = {}
        self._of_file: dict[str, bytes] = {}
        self._file = Path(settings.api_keys_file) if settings.api_keys_file else None
        self._stamp: tuple[int, int] | None = None
        self._looked = 0.0
        if not self.are_asked_for:
            return
        if settings.api_key is not None:
            self._fixed[_SETTING] = digest(settings.api_key.get_secret_value().encode())
        if self._file is not None:
            self._stamp, self._of_file = _stamp(self._file), read_keys(self._file)
        if not self._fixed and not self._of_file:
            hint = "Set KIT_SERVING__API_KEY or put it into secrets/KIT_SERVING__API_KEY"
            raise SettingsError("serving.require_api_key is true and serving.api_key is not set", hint)

    def find(self, headers: Mapping[bytes, bytes]) -> str | None:
        """The name of the key that is sent; None where it is none. Headers arrive as whatever bytes the client sent."""
        sent = _sent(headers)
        if sent is None:
            return None
        self._look_again()
        given, found = digest(sent), None
        for name, expected in (*self._fixed.items(), *self._of_file.items()):  # all of them, whichever it is
            if hmac.compare_digest(given, expected):
                found = name
        return found

    def fit(self, headers: Mapping[bytes, bytes]) -> bool:
        """Whether one is sent, or none is asked for."""
        return not self.are_asked_for or self.find(headers) is not None

    def require(self, headers: Mapping[bytes, bytes]) -> str:
        """The name of the key that is sent; empty where none is asked for.

        Raises
        ------
        InvalidRequest
            It is missing, or another one.
        """
        name = self.find(headers) if self.are_asked_for else ""
        if name is None:
            what = f"the header {HEADER} is {'not a key of this API' if _SENT in headers else 'missing'}"
            challenge = {"WWW-Authenticate": "APIKey"}
            raise InvalidRequest(HTTPStatus.UNAUTHORIZED, what, "Ask the operator for one", challenge)
        return name

    def _look_again(self) -> None:
        """Take the file's keys where it changed. One that cannot be read changes nothing."""
        if self._file is None or time.monotonic() - self._looked < _SECONDS_BETWEEN_LOOKS:
            return
        self._looked = time.monotonic()
        stamp = _stamp(self._file)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._of_file = read_keys(self._file)
        except SettingsError as error:
            logging.getLogger("uvicorn.error").warning("%s; the keys before it go on", error.what)


def _sent(headers: Mapping[bytes, bytes]) -> bytes | None:
    sent = headers.get(_SENT)
    if sent is None and headers.get(_BEARER, b"")[:7].lower() == b"bearer ":
        return headers[_BEARER][7:].strip()
    if sent is None and (given := headers.get(_ATTRIBUTES, b"")).lower().startswith(_SENT + b"="):
        return given[len(_SENT) + 1 :].strip()
    return sent


def digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def read_keys(file: Path) -> dict[str, bytes]:
    """Digests by name: a line a key with its name and SHA-256, as `starterkit api-key` prints it, and comments after #.

    Raises
    ------
    SettingsError
        It cannot be read, or is no such file.
    """
    hint = "Give it a line a key, as `starterkit api-key NAME` prints it"
    try:
        lines = file.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"serving.api_keys_file cannot be read: {type(error).__name__}", hint) from None
    found: dict[str, bytes] = {}
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].strip()
        if not words:
            continue
        parts = _LINE(words)
        if parts is None or parts[1] in found:
            raise SettingsError(f"serving.api_keys_file is no list of keys at line {number}", hint)
        found[parts[1]] = bytes.fromhex(parts[2])
    return found
