"""Promotions: nothing is half done, nobody left a lock, and the history is as it was written."""

from collections.abc import Iterator

from starterkit.doctor.finding import Finding, warning, well
from starterkit.doctor.models import registry_of
from starterkit.doctor.store import is_there
from starterkit.promotion import half_done, in_words, lock_of, settle, who_is_here
from starterkit.registry import Ledger
from starterkit.settings import Layers

_MEND = "`starterkit doctor --mend` settles it, and so does the next `starterkit promote`"
_UNLOCK = "`starterkit doctor --mend` takes it away, and so does the next `starterkit promote`"


def promotion(layers: Layers) -> Iterator[Finding]:
    """The lock and the history, as they stand."""
    registry = registry_of(layers) if is_there(layers) else None
    if registry is None:
        yield well("promotion", "none yet")
        return
    ledger, item = Ledger(registry), "promotion"
    lock = lock_of(registry, layers.settings, who_is_here(layers.settings)).look()
    intent = half_done(ledger)
    if lock and not lock.over:
        yield well(item, f"at work: {lock}")
    elif lock:
        yield warning(item, f"a lock was left behind: {lock}", _UNLOCK)
    if intent and (lock is None or lock.over):
        yield warning(item, f"{in_words(intent)} was killed half-way", _MEND)
    if broken := ledger.find_break():
        yield Finding(
            item, "failing", f"the history is broken: {broken.text}", "`starterkit history` shows what is left"
        )
        return
    count = len(ledger.kept())
    yield well(item, f"the history's {count} entries are whole" if count else "no history yet")


def mend(layers: Layers) -> str:
    """Finish or undo what was killed half-way, take away what it left, and say in words what was done.

    Raises
    ------
    Locked
        Somebody promotes right now.
    """
    if not is_there(layers):
        return "nothing to mend"
    registry, who = registry_of(layers), who_is_here(layers.settings)
    lock = lock_of(registry, layers.settings, who)
    with lock.held():
        outcome = settle(registry, Ledger(registry), who)
    lock.clear()
    return (
        f"{in_words(outcome)} was killed half-way; it is {outcome.result} now" if outcome else "nothing was half done"
    )
