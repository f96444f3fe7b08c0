"""`ChampionAlias` moves the alias of one registered model: one at a time, written down before and after.

It needs the registry alone, so a rollback waits for no data, no estimator and no gate. See
docs/decisions/0018-promotion.md.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from starterkit.errors import ContractError, Refused, UserError
from starterkit.progress import Progress, silent, step
from starterkit.release.approval import Approval, approval_by
from starterkit.release.descriptions import Describer, Subject
from starterkit.release.history import Act, Entry, Ledger, Person, Result, champions, way_here
from starterkit.release.trust import version_doubts
from starterkit.settings import Settings
from starterkit.tracking.lock import PromotionLock
from starterkit.tracking.queries import look_up
from starterkit.tracking.registry import CHAMPION, ModelRegistry, UnknownVersion, Version, delete_with_files, files_of

# --- What becomes of a promotion, a rollback or a pruning that was killed half-way: it is finished or undone.

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
        if unfinished(ledger):
            with step(progress, "settle") as note:
                lock.require()
                outcome = recover(registry, ledger, who)
                note.text = f"{move_of(outcome)} was killed half-way; it is {outcome.result} now" if outcome else ""
        yield lock


def unfinished(ledger: Ledger) -> Entry | None:
    """The intent at the end of the history, to which there is no outcome. While somebody has the lock, it is at work.

    Of an intent that was not the last one, the outcome was written by whoever came next.
    """
    entries = ledger.entries()
    return entries[-1] if entries and entries[-1].phase == "intent" else None


def move_of(entry: Entry) -> str:
    """``the promotion of version 3``."""
    return f"{_OF[entry.act]} version {entry.version}"


def recover(registry: ModelRegistry, ledger: Ledger, who: Person) -> Entry | None:
    """Write the outcome that is missing, after a look at what is there; None where none is. Only under the lock.

    The alias is moved by one call, so it points at the old version or at the new one, and stays there. A pruning is
    done to its end.
    """
    intent = unfinished(ledger)
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


# --- The alias itself.


@dataclass(frozen=True)
class Rollback:
    """The alias went back: to which version, and from which."""

    version: Version
    earlier: Version | None


class ChampionAlias:
    """Which version of a registered model is champion, and how that changes.

    Parameters
    ----------
    registry, settings
        The stage's versions, and what the stage says of approval and of the lock.
    progress
        Called when a step begins and when it ends.
    """

    def __init__(self, registry: ModelRegistry, settings: Settings, progress: Progress = silent) -> None:
        self._registry = registry
        self._settings = settings
        self._progress = progress
        self._ledger = Ledger(registry)

    def rollback(self, number: int | None = None, *, reason: str, approver: str = "") -> Rollback:
        """Let an earlier champion (the one before, if none is named) serve again.

        Raises
        ------
        UnknownVersion
            The version never was champion, or there is none before.
        Refused
            Its files are gone, or do not answer.
        Unapproved, Locked
            The stage asks for an approver and nobody approved; somebody else promotes.
        """
        if not reason.strip():
            raise UserError("a rollback needs a reason", "Say it with --reason")
        approval = approval_by(self._settings, approver)
        with alone(self._registry, self._settings, approval.who, self._progress) as lock:
            target, earlier = self._earlier(number), self._registry.champion()
            entry = self.entry("rollback", target, earlier, approval, reason)
            with step(self._progress, "roll back") as note:
                try:
                    self._require_judged(target)
                    contract = self._registry.open(target).contract
                except ContractError as error:
                    self.refuse(lock, replace(entry, reason=f"{reason}. Its files do not answer"))
                    hint = "Name another one; `starterkit history` shows them"
                    raise Refused(f"{target} cannot serve again: {error.what}", hint) from error
                self.move(lock, target, entry)
                record = look_up(self._registry.connection, target.run)
                tags = record.tags if record else self._registry.tags()  # which name the metric, too
                Describer(Subject.of_version(contract, tags), self._registry).model()
                note.text = f"{target} answers and serves again"
        return Rollback(target, earlier)

    def settle(self, *, reason: str, approver: str = "") -> Entry:
        """Go on after a history that somebody changed: what is left of it counts from now on as it stands.

        Raises
        ------
        UserError
            There is no reason, or nothing to settle.
        Unapproved, Locked
            As with a rollback.
        """
        if not reason.strip():
            raise UserError("settling a history needs a reason", "Say it with --settle")
        approval = approval_by(self._settings, approver)
        with alone(self._registry, self._settings, approval.who, self._progress) as lock:
            broken, champion = self._ledger.find_break(), self._registry.champion()
            if broken is None:
                raise UserError(f"the history of {self._registry.model} is whole", "Leave --settle out")
            lock.require()
            number = champion.number if champion else 0
            why = f"{reason}. Before: {broken.text}"
            entry = Entry(act="settle", phase="outcome", result="done", version=number, who=approval.who, reason=why)
            return self._ledger.append(replace(entry, approver=approval.approver))

    def move(self, lock: PromotionLock, version: Version, entry: Entry) -> None:
        """Intent, alias, outcome. Killed anywhere, the old or the new version serves; `recover` writes what is missing.

        MLflow moves an alias whoever asks. So each step asks first whether the lock is still ours.
        """
        lock.require()
        self._ledger.append(replace(entry, phase="intent"))
        lock.require()
        self._registry.set_champion(version)
        self._ledger.append(replace(entry, result="done"))

    def refuse(self, lock: PromotionLock, entry: Entry) -> None:
        """Write down that the alias stays."""
        lock.require()
        self._ledger.append(replace(entry, result="refused"))

    def entry(
        self,
        act: Act,
        version: Version,
        earlier: Version | None,
        approval: Approval,
        reason: str,
        **judged: Any,
    ) -> Entry:
        """An entry about a version; `judged` is what the gate's word adds, where it was asked."""
        written: dict[str, Any] = {"evidence": version.tags.get("evidence", "")} | judged
        return Entry(
            act=act,
            phase="outcome",
            version=version.number,
            earlier=earlier.number if earlier else None,
            who=approval.who,
            approver=approval.approver,
            reason=reason,
            commit=version.tags.get("commit", ""),
            files=files_of(self._registry, version),
            **written,
        )

    def _require_judged(self, target: Version) -> None:
        """An earlier champion is still what its gate passed, as tags and history have it."""
        if target.tags.get("gate") != "passed":
            raise ContractError(f"its gate has not passed it: {target.tags.get('gate', 'not asked')}")
        for doubt in version_doubts(self._registry, self._ledger.entries(), target):
            if not doubt.before:
                raise ContractError(doubt.what)

    def _earlier(self, number: int | None) -> Version:
        """The version to go back to."""
        entries, versions = self._ledger.entries(), {one.number: one for one in self._registry.versions()}
        champion = self._registry.champion()
        now = champion.number if champion else None
        former = [one for one in champions(entries, versions.values()) if one in versions and one != now]
        if number is None:
            before = [one for one in way_here(entries, versions.values()) if one in former]
            if not before:
                what = f"registered model '{self._registry.model}' has no earlier champion"
                raise UnknownVersion(what, "`starterkit history` shows who served when")
            return versions[before[-1]]
        if number == now:
            raise UnknownVersion(f"{champion} serves already", "Name an earlier champion with --to")
        if number not in former:
            names = ", ".join(map(str, former)) or "none"
            what = f"version {number} of '{self._registry.model}' is no earlier champion that is still there"
            raise UnknownVersion(what, f"Name one of: {names}" if former else "There is none yet")
        return versions[number]
