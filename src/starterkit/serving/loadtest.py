"""`LoadTest`: some clients at once, each of which asks again as soon as it is answered."""

import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import psutil

from starterkit.errors import KitError
from starterkit.progress import Progress, silent, step
from starterkit.serving.traffic import TrafficSender, nearest_rank
from starterkit.settings import LoadSettings


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

    Parameters
    ----------
    settings
        How many clients, and how long.
    connect
        Makes a client's connection.
    process
        The API's process on this machine, whose children count as well; None where it is elsewhere.
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
