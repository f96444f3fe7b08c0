"""What a person is told of a version: how it became champion, where it comes from, and what load its API bears."""

import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from starterkit.cli.console import ProgressView, console, table
from starterkit.errors import KitError, Refused
from starterkit.machine import running
from starterkit.progress import step
from starterkit.release.history import Entry
from starterkit.release.provenance import Origin, first_files
from starterkit.release.prune import Kept, Leaving, Pruned
from starterkit.release.reproducer import Reproduction
from starterkit.release.trust import Doubt
from starterkit.serving.loadtest import LimitResult, LoadReport, LoadTest, TrafficSender
from starterkit.settings import Settings

# --- How the history of promotions is shown, and what a pruning takes away.

_COLOURS = {"done": "green", "finished": "green", "shadow": "green", "refused": "red", "undone": "yellow", "": "yellow"}


def show_history(model: str, entries: Sequence[Entry]) -> None:
    """One line an entry, the newest first."""
    out = console()
    if not entries:
        out.print(f"{model} has no history yet: no version was promoted.", markup=False)
        return
    rows = []
    for entry in reversed(entries):
        result = Text(entry.result or "intent", _COLOURS[entry.result])
        people = str(entry.who) + (f"; approved: {entry.approver}" if entry.approver else "")
        before = str(entry.earlier) if entry.earlier else ""
        digest = entry.digest[:10]
        rows.append(
            (str(entry.number), entry.at, entry.act, result, str(entry.version), before, people, entry.reason, digest)
        )
    header = ("entry", "when (UTC)", "act", "result", "version", "before", "who", "reason", "digest")
    out.print(table(rows, header=header, right=(0, 4, 5)))


def history_as_json(model: str, entries: Sequence[Entry], broken: str, doubts: Sequence[Doubt] = ()) -> dict[str, Any]:
    """The whole history for a script, the newest first. What an earlier kit did not write is not there."""
    later = ("contract", "signature", "limits")
    told = [
        {key: value for key, value in asdict(entry).items() if value or key not in later} | {"digest": entry.digest}
        for entry in reversed(entries)
    ]
    said = {"model": model, "whole": not broken, "broken": broken or None, "entries": told}
    failing = [f"{doubt.what}. {doubt.hint}" for doubt in doubts if not doubt.before]
    return said | ({"doubts": failing} if failing else {})


def show_pruning(kept: Sequence[Kept], leaving: Sequence[Leaving], pruned: Sequence[Pruned] | None) -> None:
    """Why each version stays, and what goes or went with the others."""
    out = console()
    going = {one.version.number: _words(one) for one in leaving}
    rows = [
        (str(one.version.number), *(("stays", one.why) if one.why else ("goes", going.get(one.version.number, ""))))
        for one in kept
    ]
    if rows:
        out.print(table(rows, header=("version", "", "why"), right=(0,)))
    if pruned is not None:
        stay = sum(not one.files_gone for one in pruned)
        out.print(f"\n{_versions(len(pruned))} deleted" + (f"; of {stay} the files stay." if stay else "."))
    elif leaving:
        out.print(f"\n{_versions(len(leaving))} would go. `starterkit prune --yes` with the same options deletes them.")
    else:
        out.print("\nNothing would go.")


def pruning_as_json(
    kept: Sequence[Kept], leaving: Sequence[Leaving], pruned: Sequence[Pruned] | None
) -> dict[str, Any]:
    return {
        "stays": {one.version.number: one.why for one in kept if one.why},
        "goes": [
            {"version": one.version.number, "files": one.files, "bytes": one.size, "shared_with": one.shared_with}
            for one in leaving
        ],
        "deleted": None
        if pruned is None
        else [{"version": one.leaving.version.number, "files_gone": one.files_gone} for one in pruned],
    }


def _words(one: Leaving) -> str:
    if one.shared_with:
        return f"its files stay: {', '.join(one.shared_with)} has them too"
    return "its files are of unknown size" if one.size is None else f"{one.size:,} bytes"


def _versions(count: int) -> str:
    return "1 version" if count == 1 else f"{count} versions"


# --- How a version's origin and its reproduction look.

_SHORT = 12
Line = tuple[str, str | Text]


def show_origin(origin: Origin) -> None:
    """One screen: what made the version, and in yellow what is other here and now."""
    out = console()
    champion = " · champion" if origin.champion else ""
    out.print(Text.assemble((f"\n{origin.version}", "bold"), (champion, "green"), "\n"))
    out.print(_screen([*_making(origin), *_code(origin), *_rows(origin), *_quality(origin)]))


def _making(origin: Origin) -> Iterator[Line]:
    version, lineage, run = origin.version, origin.lineage, origin.run
    when = run.started if run else version.created
    gate = version.tags.get("gate", "not asked yet")
    yield "gate", Text(gate, {"passed": "green", "refused": "red"}.get(gate, "yellow"))
    yield "trained", f"{when:%Y-%m-%d %H:%M:%S} UTC, stage {lineage.stage}" + (f", by {run.user}" if run else "")
    yield from _here(origin, "stage")
    yield "run", lineage.run if run else f"{lineage.run}, which is not in this MLflow"
    if run and run.page:
        yield "", run.page


def _code(origin: Origin) -> Iterator[Line]:
    lineage = origin.lineage
    yield "commit", f"{lineage.commit[:_SHORT]}  " + (origin.subject if origin.date else "(not in this clone)")
    if origin.date:
        yield "", f"{origin.date:%Y-%m-%d %H:%M}"
    if lineage.dirty:
        changed = first_files(lineage.changed_files) or "files that git did not name"
        yield "", Text(f"dirty: {changed} differed from it", "yellow")
    yield from (*_here(origin, "commit"), *_here(origin, "files"))
    yield "lock", lineage.lock_digest[:_SHORT]
    if lineage.off_lock:
        yield "", Text(f"not followed: {_pairs(lineage.off_lock)} was installed", "yellow")
    if lineage.beside_lock:
        yield "", Text(f"not in it: {_pairs(lineage.beside_lock)}", "yellow")
    yield from _here(origin, "lock")
    yield "Python", lineage.python or "not recorded"
    yield from _here(origin, "python")
    yield "machine", lineage.machine or "not recorded"
    yield from _here(origin, "machine")


def _rows(origin: Origin) -> Iterator[Line]:
    lineage = origin.lineage
    yield "data", f"{lineage.data_source}, {lineage.rows:,} rows"
    yield "", f"digest {lineage.data_digest[:_SHORT]}, holdout {lineage.holdout_digest[:_SHORT]}"
    yield from _here(origin, "data")
    yield "parameters", _pairs(lineage.parameters) or "none"
    yield from _here(origin, "parameters")


def _quality(origin: Origin) -> Iterator[Line]:
    metrics, parity = dict(origin.run.metrics) if origin.run else {}, origin.parity
    for name, value in metrics.items():
        guess = metrics.get(f"baseline_{name}")
        if not name.startswith("baseline_"):
            yield name, f"{value:.4g}" + (f"  (naive guess {guess:.4g})" if guess is not None else "")
    unstable = f"; {parity.on_instability}" if parity.unstable else ""
    yield "parity", f"{parity.measure} {parity.largest:.2g} over {parity.rows:,} rows{unstable}"
    yield "files", origin.files


def origin_as_json(origin: Origin) -> dict[str, Any]:
    version, run = origin.version, origin.run
    return {
        "model": version.model,
        "version": version.number,
        "alias": "champion" if origin.champion else None,
        "gate": version.tags.get("gate"),
        "registered": version.created.isoformat(),
        "run": {"started": run.started.isoformat(), "user": run.user, "page": run.page or None} if run else None,
        "lineage": asdict(origin.lineage),
        "subject": origin.subject or None,
        "date": origin.date.isoformat() if origin.date else None,
        "metrics": dict(run.metrics) if run else None,
        "parity": asdict(origin.parity),
        "files": origin.files,
        "here": dict(origin.here),
    }


def show_reproduction(done: Reproduction) -> None:
    """The four, each same or not, and what the answers say."""
    out = console()
    out.print(Text(f"\n{done.version}", "bold"), end="\n\n")
    marks = {True: Text("same", "green"), False: Text("DIFFERS", "red"), None: Text("not seen", "yellow")}
    out.print(_screen([(cause.name, marks[cause.same], cause.text) for cause in done.causes]))
    notes: list[Line] = [("environment", done.environment), ("rows from", done.data)]
    notes += [("machine", done.machine)] if done.machine else []
    out.print()
    out.print(_screen(notes))
    out.print(Text.assemble(("\nPredictions", "bold"), "  ", _outcome(done)))


def reproduction_as_json(done: Reproduction) -> dict[str, Any]:
    return {
        "model": done.version.model,
        "version": done.version.number,
        "identical": done.identical,
        "difference": asdict(done.difference) if done.difference else None,
        "same_graph": done.same_graph,
        "causes": [cause.content for cause in done.causes],
        "deterministic": done.deterministic,
        "failure": done.failure or None,
        "environment": done.environment,
        "data": done.data,
        "machine": done.machine or None,
    }


def reason(done: Reproduction) -> tuple[str, str]:
    """Why a version was not made again, and the hint, for the one line at the end."""
    what = f"{done.version} was not reproduced: "
    if done.deterministic is False:
        also = f"; {_names(done)} too" if done.differing else ""
        what += f"two trainings here differ from each other{also}"
        return what, "Give the estimator a random_state argument and pass it on to everything random"
    if done.differing:
        return what + _names(done), done.differing[0].hint
    if done.failure:
        return what + done.failure, "Add --keep to look at the folder in which it was tried"
    what += "none of the four differs, so it is "
    if done.machine:
        return what + f"Python or the machine ({done.machine})", "Try again on a machine like the first"
    hint = "Look at what the estimator reads: an ignored file, a package outside the lock, an environment variable"
    return what + "something that is not recorded", hint


def _outcome(done: Reproduction) -> Text:
    found = done.difference
    if found is None:
        return Text(f"none: {done.failure}", "red")
    if found.identical:
        graph = "the exported graph is the same file" if done.same_graph else "the exported graph is another file"
        return Text(f"identical, bit for bit, over {found.rows} held-out rows; {graph}", "green")
    labels = f", {found.labels} labels changed" if found.labels else ""
    return Text(f"{found.differing} of {found.rows} differ, by up to {found.largest:.3g}{labels}", "red")


def _names(done: Reproduction) -> str:
    return "not the same " + " and ".join(cause.name for cause in done.differing)


def _screen(rows: Iterable[Sequence[str | Text]]) -> Padding:
    """Columns without lines and without a margin at the right: an artifact's path fits into 80 columns."""
    grid = Table.grid(padding=(0, 3, 0, 0))
    for row in rows:
        for _ in range(len(row) - len(grid.columns)):
            grid.add_column(overflow="fold")
        grid.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    return Padding(grid, (0, 0, 0, 2))


def _here(origin: Origin, name: str) -> Iterator[Line]:
    if name in origin.here:
        yield "", Text(f"here: {origin.here[name]}", "yellow")


def _pairs(values: Mapping[str, object]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items())


# --- `loadtest`: an API of its own, or one that runs; the load; the stage's limits; a run in MLflow.

_SECONDS_TO_START = 120
_RESOURCES = ("workers", "threads", "providers", "memory_mb")


def holdout_records(settings: Settings, view: ProgressView) -> list[dict[str, Any]]:
    """The holdout's rows, as clients send them."""
    with step(view, "read the data") as note:
        from starterkit.data import DatasetReader
        from starterkit.data.dataset import as_records
        from starterkit.problem import find_problem

        dataset = DatasetReader.of(find_problem(), settings).read()
        records = as_records(dataset.holdout.features)
        note.text = f"{len(records)} rows of the holdout"
    return records


def key_of(settings: Settings) -> str | None:
    """The key to send, where the stage asks for one."""
    secret = settings.serving.api_key if settings.serving.require_api_key else None
    return secret.get_secret_value() if secret else None


def load_api(settings: Settings, url: str | None, view: ProgressView) -> LoadReport:
    """Drive the API at this address, or one that is started with the stage's resources and ended afterwards.

    Raises
    ------
    KitError
        The API does not get ready, or ends.
    """
    records, key = holdout_records(settings, view), key_of(settings)
    if url is not None:
        TrafficSender(url, key, view).wait_until_ready(0)
        return LoadTest(settings.loadtest, lambda: TrafficSender(url, key), None, view).run(records)
    with _api(settings) as (address, process):
        TrafficSender(address, key, view).wait_until_ready(_SECONDS_TO_START, lambda: process.poll() is None)
        return LoadTest(settings.loadtest, lambda: TrafficSender(address, key), process.pid, view).run(records)


@contextmanager
def _api(settings: Settings) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """An API on a free port of this machine. What it says is told where it fails."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environ = os.environ | {"KIT_SERVING__HOST": "127.0.0.1", "KIT_STAGE": settings.stage}
    command = [sys.executable, "-m", "starterkit", "serve", "--port", str(port)]
    with (
        tempfile.TemporaryFile() as said,
        running(command, cwd=settings.root, env=environ, stdout=said, stderr=said) as process,
    ):
        try:
            yield f"http://127.0.0.1:{port}", process
        except KitError as error:
            said.seek(0)
            _, found, told = said.read().decode("utf-8", "replace").rpartition("error: ")
            if not found or process.poll() is None:
                raise
            what, hint, *_ = [*map(str.strip, told.splitlines()), ""]  # as `show_error` writes them
            raise KitError(f"the API did not start: {what}", hint or error.hint) from error


def keep_load(
    settings: Settings, measured: LoadReport, held: Sequence[LimitResult], url: str | None, view: ProgressView
) -> str:
    """Log the test as a run of the experiment `<stage>.<name>.load`; the run's id comes back."""
    with step(view, "keep the figures") as note:
        from starterkit.cli.champion import model_name
        from starterkit.release.pages import latency_figure
        from starterkit.tracking.connection import connect
        from starterkit.tracking.runs import Tracker

        connection = connect(settings.tracking, settings.root)
        tracker = Tracker(connection, f"{model_name(settings)}.load")
        with tracker.start(f"load {datetime.now():%Y-%m-%d %H:%M:%S}") as run:
            resources = {name: getattr(settings.serving, name) for name in _RESOURCES}
            run.log_parameters({**resources, "connections": settings.loadtest.connections, "api": url or "started"})
            run.tag({"served": measured.served, "verdict": "passed" if all(one.passed for one in held) else "refused"})
            run.log_scores(measured.figures)
            if measured.latencies:
                run.log_figure(latency_figure(measured.latencies), "latency")
        note.text = f"run {run.id}"
    return run.id


def show_load(measured: LoadReport, held: Sequence[LimitResult]) -> None:
    """Every figure, with its limit where the stage has one."""
    limits: Mapping[str, LimitResult] = {one.name: one for one in held}
    rows = []
    for name, figure in measured.figures.items():
        limit = limits.get(name)
        words = "" if limit is None else ("pass" if limit.passed else "REFUSE")
        bound = "" if limit is None else f"{'at least' if limit.least else 'at most'} {limit.limit:g}"
        rows.append((words, name, f"{figure:,.4g}", bound))
    missing = [one for one in held if one.name not in measured.figures]
    rows += [("REFUSE", one.name, "not measured", f"{one.limit:g}") for one in missing]
    console().print(table(rows, header=("verdict", "figure", "measured", "limit"), right=(2, 3)))
    console().print("\nThe clients ran on this machine, too, and took their part of its cores.")


def require_held(measured: LoadReport, held: Sequence[LimitResult]) -> None:
    """
    Raises
    ------
    Refused
        A limit does not hold.
    """
    broken = [one.name for one in held if not one.passed]
    if broken:
        why = f"; the first error: {measured.why}" if measured.why else ""
        what = f"the API does not hold the stage's limits for {', '.join(broken)}{why}"
        raise Refused(what, "Give it more in the section serving, or change the limits in loadtest if they are wrong")
