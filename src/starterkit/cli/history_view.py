"""How the history of promotions is shown, and what a pruning takes away."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rich.text import Text

from starterkit.cli.console import console, table
from starterkit.release.history import Break, Entry
from starterkit.release.prune import Kept, Leaving, Pruned

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


def history_as_json(model: str, entries: Sequence[Entry], broken: Break | None) -> dict[str, Any]:
    """The whole history for a script, the newest first."""
    told = [asdict(entry) | {"digest": entry.digest} for entry in reversed(entries)]
    return {"model": model, "whole": broken is None, "broken": broken.text if broken else None, "entries": told}


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
