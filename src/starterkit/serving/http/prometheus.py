"""`Metrics`: what came, what was said and how quickly, as Prometheus reads it.

Each process counts by itself. Where there are several, each keeps its counts in a file as well, in a folder that they
share, and whichever is asked adds them up. One that takes the place of another goes on with that one's counts.
"""

import asyncio
import json
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from starterkit.serving.http.answers import InvalidRequest, NoRoom, NotRecorded, identity, kind_of
from starterkit.serving.predictor import ServedModel
from starterkit.serving.validation import InvalidRecords

ADDRESS = "/metrics"
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_BOUNDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SECONDS_BETWEEN = 1.0

_OUTCOMES = ("swapped", "refused", "unreachable")


class Where(NamedTuple):
    """The folder in which processes keep their counts, and which of them this one is."""

    folder: Path
    number: int


class Metrics:
    """Counts of one process, told with those of its siblings, where there are several."""

    def __init__(self, where: Where | None = None) -> None:
        self._where = where
        self._answered: dict[tuple[str, int], list[float]] = {}
        self._refused: Counter[tuple[str, str]] = Counter()
        self._swaps = Counter(dict.fromkeys(_OUTCOMES, 0))  # from the start: Prometheus sees no rise to a first 1
        self._lost = 0
        self._shadowed: Counter[str] = Counter()
        self.refused_version = ""
        """What there is to say of a champion that does not answer; empty where there is none."""
        self.misses_registry = False
        """Whether the registry could not be asked the last time, or did not give its champion."""
        self.in_shadow: tuple[str, str] = "", ""
        """Which version is scored in the shadow, or why the one that should be is not."""
        self._model: Mapping[str, str] = {}
        self._columns: frozenset[str] = frozenset()
        self._since = 0.0
        self._written: str | None = None
        if where and (kept := _read(where.folder / f"{where.number}.json")):
            self._add(kept)

    def serve(self, served: ServedModel) -> None:
        """From now on it is this model that answers."""
        self._model, self._since = identity(served), time.time()
        self._columns = frozenset(served.contract.names)

    def swapped(self, outcome: str, words: str) -> None:
        """What came of a look at the champion."""
        self.misses_registry = outcome == "unreachable"
        if outcome != "same":
            self._swaps[outcome] += 1
        if outcome != "unreachable":
            self.refused_version = words

    def count(self, path: str, status: int, seconds: float, rows: int = 0) -> None:
        """One answer: at which address, with which status, and for how many rows."""
        row = self._answered.get((path, status))
        if row is None:
            row = self._answered[path, status] = [0.0] * (len(_BOUNDS) + 4)
        row[0] += 1
        row[1] += rows
        row[2] += seconds
        row[3 + bisect_left(_BOUNDS, seconds)] += 1

    def lose(self, rows: int) -> None:
        """Rows were answered and could not be recorded."""
        self._lost += rows

    def shadow(self, outcome: str, requests: int) -> None:
        """Requests that were scored by a challenger as well, or were to be."""
        self._shadowed[outcome] += requests

    def show_shadow(self, version: str, refused: str) -> None:
        """Which version is scored in the shadow now, or why none is."""
        self.in_shadow = version, refused

    def refuse(self, error: Exception) -> Counter[tuple[str, str]]:
        """Why a request got no prediction: for each fault its kind, and the column where the model has it."""
        reasons = Counter(self._reasons(error))
        self._refused += reasons
        return reasons

    def _reasons(self, error: Exception) -> Iterator[tuple[str, str]]:
        match error:
            case InvalidRecords():
                for fault in error.faults:
                    yield fault.kind, fault.column if fault.column in self._columns else ""
            case InvalidRequest():
                yield kind_of(error.status), ""
            case HTTPException():
                yield kind_of(error.status_code), ""
            case NotRecorded():
                yield "not recorded", ""
            case NoRoom() | MemoryError():
                yield kind_of(HTTPStatus.SERVICE_UNAVAILABLE), ""
            case ClientDisconnect():
                yield kind_of(HTTPStatus.BAD_REQUEST), ""
            case _:
                yield kind_of(HTTPStatus.INTERNAL_SERVER_ERROR), ""

    def text(self) -> str:
        """All counts, in Prometheus' text format."""
        self.keep()  # first: what was told once may not be forgotten
        whole, models, since, misses = Metrics(), Counter[tuple[str, str]](), 0.0, 0
        shadows = Counter[tuple[str, str]]()
        for one in self._siblings():
            whole._add(one)
            models[one["model"].get("name", ""), one["model"].get("version", "")] += 1
            since = max(since, one["since"])
            misses += one["misses"]
            shadows[one["in_shadow"][0], "refused" if one["in_shadow"][1] else "scored"] += any(one["in_shadow"])
        shown = _of_shadows(shadows) if whole._shadowed else ()
        return "\n".join([*whole._lines(), *_of_models(models, since, misses), *shown, ""])

    # What is kept beside the process.

    def keep(self) -> None:
        """Write the counts down, where they changed."""
        written = json.dumps(self._content())
        if self._where is None or written == self._written:
            return
        place = self._where.folder / f"{self._where.number}.json"
        new = place.with_suffix(".new")
        with suppress(OSError):  # a full disk stops no answer; the counts stay here
            new.write_text(written, "utf-8")
            new.replace(place)
            self._written = written

    async def keep_on(self) -> None:
        while self._where is not None:
            await asyncio.sleep(_SECONDS_BETWEEN)
            self.keep()

    def _content(self) -> dict[str, Any]:
        answered = [[path, status, row] for (path, status), row in self._answered.items()]
        refused = [[*labels, count] for labels, count in self._refused.items()]
        return {
            "answered": answered,
            "refused": refused,
            "swaps": self._swaps,
            "lost": self._lost,
            "shadowed": self._shadowed,
            "model": self._model,
            "since": self._since,
            "misses": self.misses_registry,
            "in_shadow": self.in_shadow,
        }

    def _add(self, content: Mapping[str, Any]) -> None:
        for path, status, row in content["answered"]:
            mine = self._answered.get((path, status), [0.0] * len(row))
            self._answered[path, status] = [a + b for a, b in zip(mine, row, strict=True)]
        for reason, column, count in content["refused"]:
            self._refused[reason, column] += count
        self._swaps.update(content["swaps"])
        self._lost += content["lost"]
        self._shadowed.update(content["shadowed"])

    def _siblings(self) -> Iterator[Mapping[str, Any]]:
        yield self._content()
        if self._where is None:
            return
        for place in self._where.folder.glob("*.json"):
            if place.stem != str(self._where.number) and (content := _read(place)):
                yield content

    # What is told.

    def _lines(self) -> Iterator[str]:
        answered = sorted(self._answered.items())
        yield from _family("requests_total", "counter", "Requests that were answered, refusals too.")
        for (path, status), row in answered:
            yield _sample("requests_total", {"path": path, "status": str(status)}, row[0])
        yield from _family("rows_total", "counter", "Rows that were predicted.")
        for (path, _), row in answered:
            if row[1]:
                yield _sample("rows_total", {"path": path}, row[1])
        yield from _family("request_seconds", "histogram", "Seconds from a request's head to the end of its answer.")
        for (path, status), row in answered:
            labels, so_far = {"path": path, "status": str(status)}, 0.0
            for bound, count in zip((*map(str, _BOUNDS), "+Inf"), row[3:], strict=True):
                so_far += count
                yield _sample("request_seconds_bucket", labels | {"le": bound}, so_far)
            yield _sample("request_seconds_sum", labels, row[2])
            yield _sample("request_seconds_count", labels, row[0])
        yield from _family("refused_total", "counter", "What was wrong with requests, by reason and column.")
        for (reason, column), count in sorted(self._refused.items()):
            yield _sample("refused_total", {"reason": reason, "column": column}, count)
        yield from _family("unrecorded_total", "counter", "Rows that were answered and could not be recorded.")
        yield _sample("unrecorded_total", {}, self._lost)
        if self._shadowed:
            yield from _family("shadow_total", "counter", "Answered requests, by what became of them in the shadow.")
            for outcome, count in sorted(self._shadowed.items()):
                yield _sample("shadow_total", {"outcome": outcome}, count)
        yield from _family("swaps_total", "counter", "Looks at the champion that came to something.")
        for outcome, count in sorted(self._swaps.items()):
            yield _sample("swaps_total", {"outcome": outcome}, count)


def _of_models(models: Mapping[tuple[str, str], int], since: float, misses: int) -> Iterator[str]:
    yield from _family("model_processes", "gauge", "Processes that answer with this version of the model.")
    for (name, number), count in sorted(models.items()):
        yield _sample("model_processes", {"model": name, "version": number}, count)
    yield from _family("model_opened_timestamp_seconds", "gauge", "When the model was opened last.")
    yield _sample("model_opened_timestamp_seconds", {}, since)
    yield from _family(
        "registry_missed_processes", "gauge", "Processes that could not ask for the champion, or get it."
    )
    yield _sample("registry_missed_processes", {}, misses)


def _of_shadows(shadows: Mapping[tuple[str, str], int]) -> Iterator[str]:
    yield from _family("shadow_processes", "gauge", "Processes that score this version in the shadow.")
    for (number, state), count in sorted(shadows.items()):
        if state == "scored" and number:
            yield _sample("shadow_processes", {"version": number}, count)
    yield from _family("shadow_refused_processes", "gauge", "Processes that cannot score the version that they should.")
    yield _sample("shadow_refused_processes", {}, sum(n for (_, state), n in shadows.items() if state == "refused"))


def window_text(model: str, window: Mapping[str, Any] | None) -> str:
    """What `starterkit monitor` saw last of a model, wherever it ran; empty where it never did."""
    if window is None:
        return ""
    named = {"model": model, "version": window["version"]}
    lines = [*_family("window", "gauge", "The window that the monitor looked at last: its figures, by name.")]
    lines += [_sample("window", {**named, "figure": name}, one) for name, one in window["figures"].items()]
    lines += _family("window_broken_rules", "gauge", "Rules of monitoring that this window broke.")
    lines.append(_sample("window_broken_rules", named, window["broken"]))
    lines += _family("window_end_timestamp_seconds", "gauge", "When this window ended.")
    lines.append(_sample("window_end_timestamp_seconds", named, window["end"]))
    return "\n".join([*lines, ""])


def _family(name: str, kind: str, words: str) -> Iterable[str]:
    return f"# HELP starterkit_{name} {words}", f"# TYPE starterkit_{name} {kind}"


def _sample(name: str, labels: Mapping[str, str], value: float) -> str:
    told = ",".join(f'{label}="{_escaped(text)}"' for label, text in labels.items())
    return f"starterkit_{name}{{{told}}} {value:.17g}" if told else f"starterkit_{name} {value:.17g}"


def _escaped(text: str) -> str:
    return text.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")


def _read(place: Path) -> Mapping[str, Any] | None:
    try:
        return json.loads(place.read_text("utf-8"))
    except (OSError, ValueError):  # its process has not written yet, or the disk was full
        return None
