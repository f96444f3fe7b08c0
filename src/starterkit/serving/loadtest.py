"""What an API bears: `TrafficSender` asks at a bounded rate, `LoadTest` as fast as some clients are answered."""

import json
import math
import statistics
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

from starterkit.errors import KitError, UserError
from starterkit.machine import in_address
from starterkit.progress import Progress, silent, step
from starterkit.settings import LoadSettings, ServingSettings

# --- `TrafficSender`: a bounded number of requests at a bounded rate, and how they were answered.

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
    """Sends records to an API, such as http://127.0.0.1:8000, each in a request of its own, one after the other.

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


@dataclass(frozen=True)
class Usage:
    """CPU seconds since the processes began, resident megabytes now, and when that was looked at (monotonic)."""

    seconds: float
    memory_mb: float
    at: float


def usage_of(process: int) -> Usage | None:
    """A process with all its descendants; None where it is not there, or has ended.

    Shared pages count once for each process, so that the memory is rather too high than too low.
    """
    import psutil  # which the serving image has not

    seconds = memory = 0.0
    try:
        first = psutil.Process(process)
        if first.status() == psutil.STATUS_ZOMBIE:
            return None
        tree = [first, *first.children(recursive=True)]
    except psutil.NoSuchProcess:
        return None
    for one in tree:
        with suppress(psutil.NoSuchProcess), one.oneshot():  # it ended meanwhile
            used, resident = one.cpu_times(), one.memory_info().rss
            seconds, memory = seconds + used.user + used.system, memory + resident / 1e6
    return Usage(seconds, memory, time.monotonic())


_WARM_UP = 0.1
"""As a share of the whole time."""


@dataclass(frozen=True)
class LimitResult:
    """One limit of the stage, and what was measured. A figure that could not be measured does not hold."""

    name: str
    figure: float | None
    limit: float
    least: bool = False

    @property
    def passed(self) -> bool:
        if self.figure is None:
            return False
        return self.figure >= self.limit if self.least else self.figure <= self.limit


@dataclass(frozen=True)
class LoadReport:
    """What came of it. `latencies` are those of the answered requests, in milliseconds, in order of size.

    `cores` and `memory_mb` are those of the API's processes, and None where they are on another machine. `served`
    names the model's version.
    """

    seconds: float
    latencies: Sequence[float]
    errors: int
    cores: float | None = None
    memory_mb: float | None = None
    why: str = ""
    served: str = ""

    @property
    def throughput(self) -> float:
        """Answered requests a second."""
        return len(self.latencies) / self.seconds

    def percentile(self, share: float) -> float:
        """Milliseconds in which this share of the requests was answered; infinite where none was."""
        return nearest_rank(self.latencies, share) if self.latencies else math.inf

    @property
    def figures(self) -> dict[str, float]:
        """By name, as MLflow shows them; what was not measured stays out."""
        found = {
            "requests": float(len(self.latencies) + self.errors),
            "errors": float(self.errors),
            "throughput": self.throughput,
            "p50_ms": self.percentile(0.5),
            "p95_ms": self.percentile(0.95),
            "p99_ms": self.percentile(0.99),
            "max_ms": self.percentile(1),
            "cores": self.cores,
            "memory_mb": self.memory_mb,
        }
        return {name: figure for name, figure in found.items() if figure is not None and math.isfinite(figure)}

    def held_against(self, settings: LoadSettings) -> tuple[LimitResult, ...]:
        """Each limit that the settings give."""
        limits: tuple[tuple[str, float | None, float | None], ...] = (
            ("errors", self.errors, settings.max_errors),
            ("p95_ms", self.percentile(0.95), settings.max_p95_ms),
            ("throughput", self.throughput, settings.min_throughput),
            ("cores", self.cores, settings.max_cores),
            ("memory_mb", self.memory_mb, settings.max_memory_mb),
        )
        return tuple(
            LimitResult(name, figure, limit, least=name == "throughput")
            for name, figure, limit in limits
            if limit is not None
        )


@dataclass
class _Client:
    """One connection, and what became of its requests."""

    sender: TrafficSender
    latencies: list[float] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)

    def ask_until(self, ended: Callable[[], bool], counts: Callable[[], bool], bodies: Sequence[str], at: int) -> None:
        while not ended():
            began = time.perf_counter()
            why = self.sender.ask("POST", "/predict", bodies[at % len(bodies)])
            took, at = 1000 * (time.perf_counter() - began), at + 1
            if counts():
                self.refusals.append(why) if why else self.latencies.append(took)


class LoadTest:
    """Drives an API and measures it.

    `process` is the API's on this machine, whose children count as well; None where it is elsewhere.
    """

    def __init__(
        self,
        settings: LoadSettings,
        connect: Callable[[], TrafficSender],
        process: int | None = None,
        progress: Progress = silent,
    ) -> None:
        self._settings = settings
        self._connect = connect
        self._process = process
        self._progress = progress

    def run(self, records: Sequence[Mapping[str, Any]]) -> LoadReport:
        """Send the records in turn, one a request, until the time is over. Ctrl-C ends all clients.

        Raises
        ------
        KitError
            The API's process ended.
        """
        seconds, warm_up = float(self._settings.seconds), _WARM_UP * float(self._settings.seconds)
        bodies = [json.dumps({"records": [record]}) for record in records]
        clients = [_Client(self._connect()) for _ in range(self._settings.connections)]
        stop, began = threading.Event(), time.monotonic()
        start, end = began + warm_up, began + warm_up + seconds

        def ended() -> bool:
            return stop.is_set() or time.monotonic() > end

        def counts() -> bool:
            return time.monotonic() >= start

        threads = [
            threading.Thread(target=client.ask_until, args=(ended, counts, bodies, 7919 * number), daemon=True)
            for number, client in enumerate(clients)
        ]
        with step(self._progress, "load the API") as note:
            try:
                for thread in threads:
                    thread.start()
                before, peak = self._look(), 0.0
                while not ended():
                    time.sleep(min(0.2, seconds / 5))
                    now = self._look()
                    if not counts():
                        before = now
                    peak = max(peak, now.memory_mb if now else 0)
                    answered = sum(len(client.latencies) for client in clients)
                    note.go_on(f"{answered:,} answered", min(1, (time.monotonic() - began) / (warm_up + seconds)))
                after = self._look()
            finally:
                stop.set()
                for thread in threads:
                    thread.join()
            latencies = sorted(latency for client in clients for latency in client.latencies)
            refusals = [why for client in clients for why in client.refusals]
            note.text = f"{len(latencies):,} answered in {seconds:g} s over {len(clients)} connections"
        return LoadReport(
            seconds=seconds,
            latencies=latencies,
            errors=len(refusals),
            cores=(after.seconds - before.seconds) / (after.at - before.at) if before and after else None,
            memory_mb=peak or None,
            why=next(iter(refusals), ""),
            served=self._connect().served(),
        )

    def _look(self) -> Usage | None:
        if self._process is None:
            return None
        found = usage_of(self._process)
        if found is None:
            raise KitError("the API ended while it was loaded", "Its own words say why; `starterkit serve` shows them")
        return found
