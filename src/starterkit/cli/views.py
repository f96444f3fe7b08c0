"""What a person is told of a version: how it became champion, and where it comes from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from starterkit.cli.console import console, table
from starterkit.release.history import Break, Entry
from starterkit.release.lineage.origin import Origin, first_files
from starterkit.release.lineage.reproducer import Reproduction
from starterkit.release.prune import Kept, Leaving, Pruned
from starterkit.release.trust import Doubt

# --- How the history of promotions is shown, and what a pruning takes away.

_COLOURS = {"done": "green", "finished": "green", "refused": "red", "undone": "yellow", "": "yellow"}


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


def history_as_json(
    model: str, entries: Sequence[Entry], broken: Break | None, doubts: Sequence[Doubt] = ()
) -> dict[str, Any]:
    """The whole history for a script, the newest first. What an earlier kit did not write is not there."""
    later = ("contract", "limits")
    told = [
        {key: value for key, value in asdict(entry).items() if value or key not in later} | {"digest": entry.digest}
        for entry in reversed(entries)
    ]
    said = {"model": model, "whole": broken is None, "broken": broken.text if broken else None, "entries": told}
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
    """The same for a script."""
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
    """The same for a script."""
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
    """The same for a script."""
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
