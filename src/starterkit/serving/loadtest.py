"""`LoadTest`: some clients at once, each of which asks again as soon as it is answered."""

import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from starterkit.errors import KitError
from starterkit.progress import Progress, silent, step
from starterkit.serving.traffic import TrafficSender
from starterkit.settings import LoadSettings

# --- What a process and its children use, as Linux tells it.

_PROCESSES = Path("/proc")
_MEASURABLE = sys.platform.startswith("linux")


@dataclass(frozen=True)
class Usage:
    """CPU seconds since the processes began, resident megabytes now, and when that was looked at (monotonic)."""

    seconds: float
    memory_mb: float
    at: float


def can_measure() -> bool:
    return _MEASURABLE


def usage_of(process: int) -> Usage | None:
    """A process with all its descendants; None where it is not there.

    Shared pages count once for each process, so that the memory is rather too high than too low.
    """
    parents, figures = dict[int, int](), dict[int, tuple[float, float]]()
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for folder in _PROCESSES.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # The name, which may hold anything, ends with the last bracket.
            words = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if words[0] == "Z":
            continue
        parents[int(folder.name)] = int(words[1])
        figures[int(folder.name)] = ((int(words[11]) + int(words[12])) / ticks, int(words[21]) * page / 1e6)
    if process not in figures:
        return None
    tree = {process}
    while more := {child for child, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return Usage(sum(figures[one][0] for one in tree), sum(figures[one][1] for one in tree), time.monotonic())


_WARM_UP = 0.1
"""As a share of the whole time."""


@dataclass(frozen=True)
class Measured:
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
        """Milliseconds in which this share of the requests was answered (nearest rank); infinite where none was."""
        if not self.latencies:
            return math.inf
        return self.latencies[max(0, math.ceil(share * len(self.latencies)) - 1)]

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


@dataclass(frozen=True)
class Held:
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


def held_against(measured: Measured, settings: LoadSettings) -> tuple[Held, ...]:
    """Each limit that the settings give."""
    p95 = measured.percentile(0.95)
    limits = (
        Held("errors", measured.errors, settings.max_errors),
        Held("p95_ms", p95, settings.max_p95_ms if settings.max_p95_ms is not None else math.inf),
        Held("throughput", measured.throughput, settings.min_throughput or 0, least=True),
        Held("cores", measured.cores, settings.max_cores if settings.max_cores is not None else math.inf),
        Held(
            "memory_mb", measured.memory_mb, settings.max_memory_mb if settings.max_memory_mb is not None else math.inf
        ),
    )
    return tuple(one for one in limits if one.limit not in (math.inf, 0) or one.name == "errors")


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

    def run(self, records: Sequence[Mapping[str, Any]]) -> Measured:
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
        return Measured(
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
