"""What becomes of a promotion, a rollback or a pruning that was killed half-way: it is finished or undone."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from starterkit.progress import Progress, step
from starterkit.registry import CHAMPION, Entry, Ledger, ModelRegistry, Person, PromotionLock, Result, delete_with_files
from starterkit.settings import Settings

_OF = {"promote": "the promotion of", "rollback": "the rollback to", "prune": "the pruning of"}


def lock_of(registry: ModelRegistry, settings: Settings, who: Person) -> PromotionLock:
    """The lock that keeps others out while this stage's champion is moved."""
    return PromotionLock(registry.connection, registry.model, settings.promotion.lock_minutes, str(who))


@contextmanager
def alone(
    registry: ModelRegistry, settings: Settings, who: Person, progress: Progress, patience: float = 0
) -> Iterator[PromotionLock]:
    """Keep others out during the block, which begins with a settled history.

    Raises
    ------
    Locked
        Somebody else promotes, and is not done within `patience` seconds.
    """
    lock = lock_of(registry, settings, who)
    with lock.held(patience):
        ledger = Ledger(registry)
        if half_done(ledger):
            with step(progress, "settle") as note:
                lock.require()
                outcome = settle(registry, ledger, who)
                note.text = f"{in_words(outcome)} was killed half-way; it is {outcome.result} now" if outcome else ""
        yield lock


def half_done(ledger: Ledger) -> Entry | None:
    """The intent at the end of the history, to which there is no outcome. While somebody has the lock, it is at work.

    Of an intent that was not the last one, the outcome was written by whoever came next.
    """
    entries = ledger.entries()
    return entries[-1] if entries and entries[-1].phase == "intent" else None


def in_words(entry: Entry) -> str:
    """``the promotion of version 3``."""
    return f"{_OF[entry.act]} version {entry.version}"


def settle(registry: ModelRegistry, ledger: Ledger, who: Person) -> Entry | None:
    """Write the outcome that is missing, after a look at what is there; None where none is. Only under the lock.

    The alias is moved by one call, so it points at the old version or at the new one, and stays there. A pruning is
    done to its end.
    """
    intent = half_done(ledger)
    if intent is None:
        return None
    result: Result = "finished"
    if intent.act == "prune":
        delete_with_files(registry, intent.version, intent.files)
        stands = ""
    else:
        at = registry.aliases().get(CHAMPION)
        result = "finished" if at == intent.version else "undone"
        stands = f"; version {at} is champion" if at else "; there is no champion"
    reason = f"it was killed half-way{stands}"
    return ledger.append(replace(intent, phase="outcome", result=result, reason=reason, who=who))
