"""Where runs are kept: a store that can be written, and runs that say the truth about themselves."""

from collections.abc import Iterator

from starterkit.doctor.finding import Finding, warning, well
from starterkit.problem import find_problem
from starterkit.settings import Layers
from starterkit.tracking import Tracker, check_round_trip, connect, local_store

_LOCK_SECONDS = 3


def mlflow(layers: Layers) -> Iterator[Finding]:
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
        yield warning("MLflow", what, "The next `starterkit run` lets it follow")
    else:
        yield well("MLflow", f"{store.database.name} is whole and can be written")


def runs(layers: Layers) -> Iterator[Finding]:
    """Runs that say that they work, and whose process does not."""
    if not is_there(layers):
        yield well("runs", "none yet")
        return
    settings = layers.settings
    tracker = Tracker(connect(settings.tracking, settings.root), f"{settings.stage}.{find_problem().name}")
    working = 0
    for run in tracker.open_runs():
        named = f"run {run.id} ({run.name})"
        if run.state == "dead":
            yield warning("runs", f"{named} was killed half-way", "The next `starterkit run` marks it")
        elif run.state == "unknown":
            mend = f"If nobody works on it, end it: `mlflow runs delete --run-id {run.id}`"
            yield warning("runs", f"{named} says it works, on another machine or before the last start", mend)
        working += run.state == "alive"
    yield well("runs", f"{working} at work now")


def is_there(layers: Layers) -> bool:
    """Whether there is something to connect to, so that looking makes nothing and moves nothing."""
    store = local_store(layers.settings.tracking, layers.settings.root)
    return store is None or (store.exists and not store.left_behind())
