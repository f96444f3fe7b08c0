"""`examine` asks one examination after the other. A failure never hides the next one.

What the store, the project and the registry hold is looked at here, what the machine and the stack give in
`environment.py`.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from starterkit.cli import environment
from starterkit.cli.environment import Finding, warning, well
from starterkit.data import DatasetReader
from starterkit.errors import ContractError, KitError, SettingsError, TrackingError, of_machine
from starterkit.pipeline import Pipeline
from starterkit.problem import find_problem
from starterkit.progress import Progress, silent, step
from starterkit.release.alias import lock_of, move_of, recover, unfinished, who_is_here
from starterkit.release.history import Ledger, champions, serving
from starterkit.release.trust import history_doubts
from starterkit.settings import GATEKEEPERS, Layers, read_layers
from starterkit.tracking.connection import connect, local_store
from starterkit.tracking.queries import check_round_trip
from starterkit.tracking.registry import CHAMPION, ModelRegistry
from starterkit.tracking.runs import Tracker
from starterkit.training import require_contrast

# --- Where runs are kept: a store that can be written, and runs that say the truth about themselves.

_LOCK_SECONDS = 3


def _mlflow(layers: Layers) -> Iterator[Finding]:
    """A server is written to and read back; a local store is only looked at."""
    settings = layers.settings
    store = local_store(settings.tracking, settings.root)
    if store is None:
        yield well("MLflow", check_round_trip(connect(settings.tracking, settings.root)))
        return
    store.require_sound(_LOCK_SECONDS, thorough=True)
    if not store.exists:
        yield well("MLflow", f"no {store.database.name} yet; `starterkit run` makes one")
    elif store.left_behind():
        what = "the repository was moved or copied: the store still points at its earlier place"
        yield warning("MLflow", what, "The next command that needs it, such as `starterkit history`, lets it follow")
    else:
        yield well("MLflow", f"{store.database.name} is whole and can be written")


def _runs(layers: Layers) -> Iterator[Finding]:
    """Runs that say that they work, and whose process does not."""
    settings = layers.settings
    tracker = Tracker(connect(settings.tracking, settings.root), f"{settings.stage}.{find_problem().name}")
    working = 0
    for run in tracker.open_runs():
        named = f"run {run.id} ({run.name})"
        if run.state == "dead":
            yield warning("runs", f"{named} was killed half-way", "The next `starterkit run` marks it")
        elif run.state == "unknown":
            hint = f"If nobody works on it, end it: `mlflow runs delete --run-id {run.id}`"
            yield warning("runs", f"{named} says it works, on another machine or before the last start", hint)
        working += run.state == "alive"
    yield well("runs", f"{working} at work now")


# --- What the project gives: a problem that can be built, and data that fits it.


def _problem(layers: Layers) -> Iterator[Finding]:
    found = find_problem()
    found.build(found.parameters(layers.settings.training.params, layers.settings.training.seed))
    Pipeline(found, layers.settings).check("gate")
    yield well("problem", f"{found.title}: {len(found.features)} features, {found.task}")


def _data(layers: Layers) -> Iterator[Finding]:
    dataset = DatasetReader.of(find_problem(), layers.settings, keep_key=False).read()
    require_contrast(dataset)
    yield well("data", f"{len(dataset)} rows, {len(dataset.holdout)} of them held out")


# --- What the registry holds: versions that were judged, and an alias that points at one that answers.

_NONE_YET = "none yet; `starterkit run` makes one"


def _versions(layers: Layers) -> Iterator[Finding]:
    """Versions on which an interrupted command left its last step undone."""
    registry = _registry(layers)
    found, aliases = registry.versions(), registry.aliases()
    now, former = aliases.get(CHAMPION, 0), champions(Ledger(registry).entries())
    judged = max([now, *(version.number for version in found if "gate" in version.tags)])
    for version in found:
        if version.number in (*former, *aliases.values()):  # one that was rolled back from is newer than the champion
            continue
        hint = f"`starterkit promote --version {version.number}` asks the gate"
        if version.number > judged:  # below it a newer one was asked about instead
            yield warning("versions", f"{version} was registered and never judged", hint)
        elif version.number > now and version.tags.get("gate") == "passed":
            yield warning("versions", f"{version} passed the gate and did not become champion", hint)
    yield well("versions", f"{len(found)} registered" if found else _NONE_YET)


def _champion(layers: Layers) -> Iterator[Finding]:
    """The alias points at a version, and that version's files are there and answer."""
    registry = _registry(layers)
    number, told = registry.aliases().get(CHAMPION), serving(Ledger(registry).entries())
    if number is None and told is not None:
        what = f"version {told} was champion, and the alias '{CHAMPION}' or the version was deleted"
        raise TrackingError(what, "`starterkit rollback --reason …` lets an earlier champion serve")
    if number is None:
        yield well("champion", _NONE_YET)
        return
    if number not in {version.number for version in registry.versions()}:
        hint = "`starterkit rollback --reason …` gives it to an earlier one, `promote --version …` to one that is there"
        raise TrackingError(f"the alias '{CHAMPION}' points at version {number}, which is gone", hint)
    version = registry.version(number)
    try:
        registry.open(version)
    except ContractError as error:
        raise TrackingError(f"{version} serves, but cannot be opened: {error.what}", error.hint) from error
    for doubt in history_doubts(registry):
        if doubt.before and registry.stage not in GATEKEEPERS:
            yield well("champion", doubt.what)
        else:
            yield Finding("champion", "warning" if doubt.before else "failing", doubt.what, doubt.hint)
    yield well("champion", f"{version} opens and gives its sample's answers")


def _registry(layers: Layers) -> ModelRegistry:
    return ModelRegistry.of(layers.settings, find_problem().name)


# --- Promotions: nothing is half done, nobody left a lock, and the history is as it was written.

_HINT = "`starterkit doctor --mend` settles it, and so does the next `starterkit promote`"
_SETTLE = "`starterkit history` shows what is left; `starterkit history --settle REASON` goes on with it"
_UNLOCK = "`starterkit doctor --mend` takes it away, and so does the next `starterkit promote`"


def _promotion(layers: Layers) -> Iterator[Finding]:
    registry = _registry(layers)
    ledger, item = Ledger(registry), "promotion"
    lock = lock_of(registry, layers.settings, who_is_here(layers.settings)).look()
    intent = unfinished(ledger)
    if lock and not lock.over:
        yield well(item, f"at work: {lock}")
    elif lock:
        yield warning(item, f"a lock was left behind: {lock}", _UNLOCK)
    if intent and (lock is None or lock.over):
        yield warning(item, f"{move_of(intent)} was killed half-way", _HINT)
    if broken := ledger.find_break():
        yield Finding(item, "failing", f"the history is broken: {broken}", _SETTLE)
        return
    count = len(ledger.kept())
    yield well(item, f"the history's {count} entries are whole" if count else "no history yet")


def mend(root: Path | None = None, environ: Mapping[str, str] = os.environ, progress: Progress = silent) -> None:
    """Finish or undo a promotion that was killed half-way, and take away what it left.

    Raises
    ------
    SettingsError, TrackingError
        The settings fail, MLflow cannot be reached, or somebody promotes right now.
    """
    with step(progress, "mend") as note:
        layers = read_layers(root, environ)
        if _unseen(layers):
            note.text = "nothing to mend"
            return
        registry, who = _registry(layers), who_is_here(layers.settings)
        lock = lock_of(registry, layers.settings, who)
        with lock.held():
            intent = unfinished(Ledger(registry))
            note.text = recover(registry, intent, who) if intent else "nothing was half done"
        lock.clear()


# --- One examination after the other.


class _Examination(NamedTuple):
    """A look at one thing. It may end with an error, and says nothing of its own where one that it `needs` fails.

    `none_yet` is said where there is no store that could be looked at.
    """

    item: str
    look: Callable[[Layers], Iterator[Finding]]
    needs: tuple[str, ...] = ()
    none_yet: str = ""


_SERVER = ("problem", "stack", "MLflow")
_EXAMINATIONS = (
    _Examination("disk", environment.disk),
    _Examination("problem", _problem),
    _Examination("data", _data, needs=("problem",)),
    _Examination("stack", environment.stack),
    _Examination("MLflow", _mlflow, needs=("stack",)),
    _Examination("runs", _runs, _SERVER, none_yet="none yet"),
    _Examination("versions", _versions, _SERVER, none_yet=_NONE_YET),
    _Examination("champion", _champion, _SERVER, none_yet=_NONE_YET),
    _Examination("promotion", _promotion, _SERVER, none_yet="none yet"),
    _Examination("API", environment.api),
)


def examine(
    root: Path | None = None, environ: Mapping[str, str] = os.environ, progress: Progress = silent
) -> tuple[Finding, ...]:
    """Everything that was found; nothing is changed. Nothing else can be examined where the settings fail.

    Without a `root`, the repository is looked for upwards from the working directory.
    """
    try:
        layers = read_layers(root, environ)
    except SettingsError as error:
        return (Finding("settings", "failing", error.what, error.hint),)
    findings = [well("settings", f"stage {layers.settings.stage}")]
    findings += [warning("settings", text, "Mend it before the next stage") for text in layers.warnings]
    failed: set[str] = set()
    for examination in _EXAMINATIONS:
        with step(progress, examination.item) as note:
            found = list(_examine(examination, layers, failed))
            states = {finding.state for finding in found}
            note.text = next((state for state in ("failing", "warning", "well") if state in states), "not needed")
        failed |= {finding.item for finding in found if finding.state == "failing"}
        findings += found
    return tuple(findings)


def _examine(examination: _Examination, layers: Layers, failed: set[str]) -> Iterator[Finding]:
    item = examination.item
    for needed in examination.needs:
        if needed in failed:
            yield warning(item, f"not looked at, for {needed} fails", f"Mend {needed} first")
            return
    try:
        if examination.none_yet and (unseen := _unseen(layers, examination.none_yet)):
            yield well(item, unseen)
        else:
            yield from examination.look(layers)
    except (KitError, OSError) as error:
        foreseen = error if isinstance(error, KitError) else of_machine(error)
        if foreseen is None:
            raise
        yield Finding(item, "failing", foreseen.what, foreseen.hint)


def _unseen(layers: Layers, none_yet: str = "none yet") -> str:
    """Why there is nothing to connect to; empty where there is. Looking makes no store, and moves none."""
    store = local_store(layers.settings.tracking, layers.settings.root)
    if store is None:
        return ""
    if not store.exists:
        return none_yet
    return "not looked at before the store follows" if store.left_behind() else ""
