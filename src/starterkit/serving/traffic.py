"""`TrafficSender`: a bounded number of requests at a bounded rate, and how they were answered."""

import json
import math
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from starterkit.errors import KitError, UserError
from starterkit.progress import Progress, silent, step
from starterkit.settings import ServingSettings

_TIMEOUT = 30
_SECONDS_BETWEEN_LOOKS = 0.25
_SECONDS_KEPT_OPEN = 2
_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # what listens everywhere is met here


@dataclass(frozen=True)
class TrafficReport:
    """What became of the requests: latencies of the answered ones in milliseconds, and why the first was refused."""

    answered: int
    refused: int
    median_ms: float
    p95_ms: float
    why: str = ""

    def __str__(self) -> str:
        latency = f"; median {self.median_ms:.1f} ms, p95 {self.p95_ms:.1f} ms" if self.answered else ""
        return f"{self.answered:,} answered, {self.refused:,} refused{latency}"

    def require_answers(self) -> None:
        """
        Raises
        ------
        KitError
            A request was refused.
        """
        if self.refused:
            raise KitError(f"{self.refused:,} of {self.answered + self.refused:,} requests were refused: {self.why}")


class TrafficSender:
    """Sends records to an API, each in a request of its own, one after the other.

    Parameters
    ----------
    address
        The API's, such as http://127.0.0.1:8000.
    api_key
        The key to send, where the stage has one.

    Raises
    ------
    UserError
        The address is none, or no header can hold the key.
    """

    def __init__(self, address: str, api_key: str | None = None, progress: Progress = silent) -> None:
        self._connection = _connection(address)
        self._address, self._path = address.rstrip("/"), urlsplit(address).path.rstrip("/")
        self._headers: dict[str, str | bytes] = {"Content-Type": "application/json"}
        if api_key:
            if not api_key.isprintable():  # http.client repeats what no header can hold
                raise UserError("the API key has a line break or another control character", "Set one without it")
            self._headers["X-API-Key"] = api_key.encode()  # as the API compares it; http.client takes Latin-1
        self._progress = progress

    def wait_until_ready(self, seconds: float, lives: Callable[[], bool] = lambda: True) -> None:
        """Wait until the API has a model, as long as it `lives`.

        Raises
        ------
        KitError
            It has none after so many seconds, or does not live any more.
        """
        end = time.monotonic() + seconds
        with step(self._progress, "wait for the API") as note:
            while why := self.ask("GET", "/health/ready"):
                if time.monotonic() > end or not lives():
                    what = f"the API at {self._address} is not ready after {seconds:g} s: {why}"
                    raise KitError(what, "Start it with `starterkit serve`, or name another with --url")
                note.go_on(why, None)
                time.sleep(_SECONDS_BETWEEN_LOOKS)
            note.text = self._address

    def served(self) -> str:
        """The name and version of the model that answers; empty where the API does not say it."""
        try:
            _, _, content = self._request("GET", "/health/ready")
            said = json.loads(content)["model"]
            return f"{said['name']} version {said['version']}"
        except (OSError, HTTPException, ValueError, KeyError, TypeError):
            return ""

    def send(self, records: Sequence[Mapping[str, Any]], count: int, rate: float) -> TrafficReport:
        """Send the records in turn, from the first again after the last.

        Parameters
        ----------
        count
            How many requests.
        rate
            Requests a second, at most: the next one waits for the answer to this one.
        """
        latencies, refusals = list[float](), list[str]()
        began = time.monotonic()
        with step(self._progress, "send traffic") as note:
            for number in range(count):
                time.sleep(max(0, began + number / rate - time.monotonic()))
                body = json.dumps({"records": [records[number % len(records)]]})
                if 1 / rate >= _SECONDS_KEPT_OPEN:
                    self._connection.close()  # the API closes one on which nothing came for so long
                start = time.perf_counter()
                why = self.ask("POST", "/predict", body)
                refusals.append(why) if why else latencies.append(1000 * (time.perf_counter() - start))
                note.go_on(f"{len(latencies)} answered, {len(refusals)} refused", (number + 1) / count)
            note.text = f"{count:,} requests"
        median = statistics.median(latencies) if latencies else 0.0
        p95 = nearest_rank(sorted(latencies), 0.95) if latencies else 0.0
        return TrafficReport(len(latencies), len(refusals), median, p95, next(iter(refusals), ""))

    def ask(self, method: str, path: str, body: str | None = None) -> str:
        """Why this was not answered with a 200, in a few words; empty where it was."""
        try:
            status, reason, content = self._request(method, path, body)
        except (OSError, HTTPException) as error:
            return str(getattr(error, "strerror", None) or error or type(error).__name__)
        return "" if status == 200 else f"{status}: {_detail(content) or reason}"

    def _request(self, method: str, path: str, body: str | None = None) -> tuple[int, str, bytes]:
        """Status, its reason, and the content."""
        try:
            self._connection.request(method, f"{self._path}{path}", body, self._headers)
            response = self._connection.getresponse()
            return response.status, response.reason, response.read()
        except (OSError, HTTPException):
            self._connection.close()  # the next request opens it again
            raise


def nearest_rank(ordered: Sequence[float], share: float) -> float:
    """The value below which this share of them lies, and which is one of them."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def address_of(serving: ServingSettings) -> str:
    """Where the API of these settings is met from this machine."""
    return f"http://{in_address(_ANYWHERE.get(serving.host, serving.host))}:{serving.port}"


def in_address(host: str) -> str:
    """A host as an address has it: IPv6 in brackets."""
    return f"[{host}]" if ":" in host else host


def _connection(address: str) -> HTTPConnection:
    """A connection that is opened by its first request."""
    kinds = {"http": HTTPConnection, "https": HTTPSConnection}
    try:
        parts = urlsplit(address)
        if parts.hostname and parts.hostname.encode("idna") and parts.path.isascii():
            return kinds[parts.scheme](parts.hostname, parts.port, timeout=_TIMEOUT)
    except (KeyError, ValueError):  # another scheme, a port that is no number, or a name that none can have
        pass
    raise UserError(f"'{address}' is no address of an API", "Give one such as http://127.0.0.1:8000")


def _detail(content: bytes) -> str:
    """What the API says of its refusal: RFC 9457's `detail`, which repeats no value."""
    try:
        said = json.loads(content)
        return str(said.get("detail", "")) if isinstance(said, dict) else ""
    except ValueError:
        return ""
