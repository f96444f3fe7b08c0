"""`Watcher`: looks at a window of predictions, keeps what it saw in MLflow, and tells who asked to be told."""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from starterkit.feedback.alerts import Alert, RuleBroken, RuleResult, judge_rules, require_known, send
from starterkit.feedback.monitoring import Monitor
from starterkit.feedback.observation import PARTS_OF_TIME, Observation, Window
from starterkit.feedback.reference import PREDICTION, REFERENCE_FILE, Reference
from starterkit.feedback.report import monitoring_page
from starterkit.feedback.tally import Watched
from starterkit.files import scratch_folder, whole_file
from starterkit.problem import Problem
from starterkit.progress import Progress, step
from starterkit.settings import Settings
from starterkit.tracking.registry import ModelRegistry, Version
from starterkit.tracking.runs import Run, Tracker

PAGE_FILE, JSON_FILE = "monitoring.html", "monitoring.json"
_WINDOWS = 60
_VERSION, _START, _END = "version", "window_start", "window_end"


class Project(Protocol):
    """A problem in its stage, with its versions: the pipeline's own."""

    @property
    def problem(self) -> Problem: ...
    @property
    def settings(self) -> Settings: ...
    @property
    def registry(self) -> ModelRegistry: ...
    @property
    def progress(self) -> Progress: ...


class PredictionReader(Protocol):
    """What is asked of the prediction log, `PredictionLog`."""

    def iterate(self, start: datetime, end: datetime) -> Iterable[Any]: ...
    def refused(self, start: datetime, end: datetime) -> Mapping[tuple[str, str], int]: ...
    def keep_window(self, model: str, content: Mapping[str, Any], end: datetime) -> None: ...


@dataclass(frozen=True)
class Watch:
    """What one look came to. `untold` says in words whom an alert did not reach."""

    observation: Observation
    rules: Sequence[RuleResult]
    earlier: Sequence[Mapping[str, Any]]
    run: str
    untold: Sequence[str] = ()
    acted: Mapping[str, Any] | None = None

    @property
    def broken(self) -> list[RuleResult]:
        return [one for one in self.rules if one.is_broken]

    @property
    def asks_for_retraining(self) -> bool:
        return any(one.rule.then == "retrain" for one in self.broken)

    @property
    def content(self) -> dict[str, Any]:
        return {
            "run": self.run,
            "rules": [one.content for one in self.rules],
            "acted": dict(self.acted) if self.acted else None,
            "untold": list(self.untold),
            **self.observation.content,
        }

    @cached_property
    def page(self) -> str:
        content = json.loads(json.dumps(self.observation.content, default=str))
        return monitoring_page(content, [one.content for one in self.rules], self.earlier, self.acted)

    def require_kept(self) -> None:
        """
        Raises
        ------
        RuleBroken
            A rule is.
        """
        if self.broken:
            words = "; ".join(one.text for one in self.broken)
            hint = f"See {PAGE_FILE} of run {self.run} in `starterkit ui`, or keep it with --page"
            raise RuleBroken(f"{self.observation.model} version {self.observation.version}: {words}", hint)


class Watcher:
    """Watches the champion of one problem in one stage, or another of its versions."""

    def __init__(self, project: Project, reader: PredictionReader) -> None:
        self._problem, self._settings, self._registry = project.problem, project.settings, project.registry
        self._progress, self._reader = project.progress, reader
        self._tracker = Tracker(self._registry.connection, f"{self._registry.model}.monitoring")

    def watch(self, window: Window, number: int | None = None) -> Watch:
        """Look at a window of a version's predictions (the champion's, if none is named).

        Raises
        ------
        KitError
            There is no version, it has no reference, a rule names no figure, or the log or MLflow does not answer.
        """
        with step(self._progress, "open the reference") as note:
            version = self._registry.find("champion" if number is None else str(number))
            monitor = self._monitor(version)
            note.text = str(version)
        with step(self._progress, "read the predictions") as note:
            batches = self._reader.iterate(window.start, window.end)
            observed = monitor.observe(window, batches, self._reader.refused(window.start, window.end))
            note.text = f"{observed.rows:,} rows, {observed.labelled:,} labels"
        with step(self._progress, "keep what was seen") as note:
            kept = self._keep(observed)
            note.text = f"run {kept.run}" + "".join(f"; {one}" for one in kept.untold)
        return kept

    def _monitor(self, version: Version) -> Monitor:
        content = self._tracker.read_file(version.run, REFERENCE_FILE)
        reference = Reference.from_json(content, str(version))
        problem, contract = self._problem, self._registry.open(version).contract
        columns = [*contract.names, PREDICTION]
        require_known(self._settings.monitoring.rules, [metric.name for metric in problem.all_metrics], columns)
        known = problem.all_metrics, problem.deciding_metric
        return Monitor(Watched(version.model, str(version.number), contract, reference, *known))

    def _keep(self, observed: Observation) -> Watch:
        earlier = self._tracker.figures(_WINDOWS)
        rules = judge_rules(self._settings.monitoring.rules, observed.figures, [*_before(observed, earlier)])
        windows = [{"end": tags[_END], "figures": _plain(figures)} for figures, tags in earlier if _END in tags]
        with self._tracker.start(f"window until {observed.window.end:%Y-%m-%d %H:%M:%S}") as run:
            watched = Watch(observed, rules, windows, run.id)
            watched = replace(watched, untold=self._tell(watched))
            self._log(run, watched)
        told = {"version": observed.version, "figures": dict(observed.figures), "broken": len(watched.broken)}
        self._reader.keep_window(observed.model, told, observed.window.end)
        return watched

    def add(self, watched: Watch, acted: Mapping[str, Any]) -> Watch:
        """Say in page and run what was done: ``title``, ``state`` and ``lines``."""
        watched = replace(watched, acted=acted)
        with self._tracker.resume(watched.run) as run:
            run.tag({"acted": str(acted["title"])})
            self._log_files(run, watched)
        return watched

    def _log(self, run: Run, watched: Watch) -> None:
        observed = watched.observation
        broken = "; ".join(one.text for one in watched.broken)
        content = observed.content
        run.tag({_VERSION: observed.version, _START: content["start"], _END: content["end"], "broken": broken})
        run.log_scores({_metric_name(name): value for name, value in observed.figures.items()})
        start, width = observed.window.start, (observed.window.end - observed.window.start) / PARTS_OF_TIME
        for name, values in observed.series.items():
            known = [(start + place * width, float(one)) for place, one in enumerate(values) if one is not None]
            if known:
                run.log_series(f"within/{name}", known)
        self._log_files(run, watched)

    def _log_files(self, run: Run, watched: Watch) -> None:
        with scratch_folder() as scratch:
            (scratch / PAGE_FILE).write_text(watched.page, "utf-8")
            (scratch / JSON_FILE).write_text(json.dumps(watched.content, indent=1, default=str), "utf-8")
            for name in (PAGE_FILE, JSON_FILE):
                run.log_file(scratch / name)

    def _tell(self, watched: Watch) -> list[str]:
        if not watched.broken:
            return []
        observed = watched.observation
        first, *more = [one.text for one in watched.broken]
        window = f"{observed.window.start:%Y-%m-%d %H:%M} to {observed.window.end:%Y-%m-%d %H:%M} UTC"
        seen = f"{window}: {observed.rows:,} predictions, {observed.labelled:,} labels"
        where = f"More is in {PAGE_FILE} of run {watched.run}"
        told = {"model": observed.model, "version": observed.version, "run": watched.run}
        told |= {"rules": [one.content for one in watched.broken]}
        subject = f"{observed.model} version {observed.version}: {first}"
        return send(Alert(subject, "\n".join([*more, seen, where]), told), self._settings.monitoring)


def _before(
    observed: Observation, earlier: Iterable[tuple[Mapping[str, float], Mapping[str, str]]]
) -> Iterator[dict[str, float]]:
    """The figures of the windows of this version before this one, the newest first, none of which shares its time.

    A schedule is late by seconds, so that windows may overlap by a tenth.
    """
    start, length = observed.window.start, observed.window.end - observed.window.start
    for figures, tags in earlier:
        if tags.get(_VERSION) != observed.version or not {_START, _END} <= tags.keys():
            continue
        began, ended = (datetime.fromisoformat(tags[name]) for name in (_START, _END))
        if ended <= start + min(length, ended - began) / 10:
            start = began
            yield _plain(figures)


def write_page(page: str, file: Path) -> None:
    """Keep a page, whole."""
    with whole_file(file) as new:
        new.write_text(page, "utf-8")


# --- Figures under the names that MLflow takes.


def _metric_name(name: str) -> str:
    return re.sub(r"[^\w\-. :/]", "_", name)


def _plain(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if not name.startswith("within/")}
