"""`Promoter` moves the champion's alias: one at a time, written down before and after.

See docs/decisions/0018-promotion.md.
"""

import getpass
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from starterkit.data.dataset import Dataset
from starterkit.errors import ContractError, Refused, UserError
from starterkit.problem import Problem
from starterkit.progress import Progress, silent, step
from starterkit.release.arrival import COPIED_FROM, arrive
from starterkit.release.bundle.importer import Opened, bring_in, require_prod
from starterkit.release.descriptions import Describer
from starterkit.release.evaluation import Judge, Promotion
from starterkit.release.evidence import keep_evidence
from starterkit.release.history import Act, Entry, Ledger, Person, Result, champions, way_here
from starterkit.settings import Settings, Stage
from starterkit.tracking.connection import authenticated_user
from starterkit.tracking.lock import PromotionLock
from starterkit.tracking.registry import CHAMPION, ModelRegistry, UnknownVersion, Version, delete_with_files, files_of

# --- Who gives a command, and who approves of it.


class Unapproved(UserError):
    """The stage asks for an approver, and nobody approved."""


@dataclass(frozen=True)
class People:
    """Who gives the command, and who approves where the stage asks for it."""

    who: Person
    approver: Person | None = None


def who_is_here(settings: Settings) -> Person:
    """The user whose password the server has checked is ``authenticated``, the user of this machine ``claimed``."""
    user = authenticated_user(settings.tracking)
    return Person(user, "authenticated") if user else Person(here())


def people_behind(settings: Settings, approver: str = "") -> People:
    """Who is here and who approves: the authenticated user, or an approver who is only named.

    Raises
    ------
    Unapproved
        The stage is prod, the server asks nobody for a password, and no approver is named.
    """
    who, named = who_is_here(settings), " ".join(approver.split())
    if who.how == "authenticated" and named in ("", who.name):
        return People(who, who)
    if named or settings.stage is not Stage.PROD:
        return People(who, Person(named) if named else None)
    what = "prod asks for somebody who approves, and the server does not say who you are"
    raise Unapproved(what, "Name the approver with --approver, or use a server with users")


def here() -> str:
    """``user@machine``."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


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
        if half_done(ledger):
            with step(progress, "settle") as note:
                lock.require()
                outcome = settle(registry, ledger, who)
                note.text = f"{move_of(outcome)} was killed half-way; it is {outcome.result} now" if outcome else ""
        yield lock


def half_done(ledger: Ledger) -> Entry | None:
    """The intent at the end of the history, to which there is no outcome. While somebody has the lock, it is at work.

    Of an intent that was not the last one, the outcome was written by whoever came next.
    """
    entries = ledger.entries()
    return entries[-1] if entries and entries[-1].phase == "intent" else None


def move_of(entry: Entry) -> str:
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


@dataclass(frozen=True)
class Rollback:
    """The alias went back: to which version, and from which."""

    version: Version
    earlier: Version | None


class Promoter:
    """A problem's champion in one stage.

    Parameters
    ----------
    problem, settings
        What is moved, and what the stage says.
    registry, judge
        The stage's versions, and who asks the gate about them.
    progress
        Called when a step begins and when it ends.
    """

    def __init__(
        self,
        problem: Problem,
        settings: Settings,
        registry: ModelRegistry,
        judge: Judge,
        progress: Progress = silent,
    ) -> None:
        self._problem = problem
        self._settings = settings
        self._registry = registry
        self._progress = progress
        self._judge = judge
        self._describer = Describer(problem, registry)
        self._ledger = Ledger(registry)

    def require_approver(self, approver: str) -> None:
        """See that somebody approves, where the stage asks for it, before anything else is done.

        Raises
        ------
        Unapproved
            Nobody does.
        """
        people_behind(self._settings, approver)

    def promote(
        self, dataset: Dataset, number: int | None = None, *, approver: str = "", patience: float = 0
    ) -> Promotion:
        """Ask the gate about a version that is in this stage's registry, and make it champion if all checks pass.

        Parameters
        ----------
        dataset
            The stage's own data.
        number
            A version; the newest one without it.
        approver
            Who approves, where the stage asks for somebody.
        patience
            For how many seconds to wait while somebody else promotes.

        Raises
        ------
        Unapproved
            The stage asks for an approver, and nobody approved.
        Locked
            Somebody else promotes.
        """
        return self._promote(dataset, lambda: number, approver, patience)

    def bring(self, dataset: Dataset, number: int | None = None, *, approver: str = "") -> Promotion:
        """Copy staging's version (its champion, if none is named) to prod, and do the same with the copy."""
        if self._settings.stage is not Stage.PROD:
            what = f"stage {self._settings.stage} takes no model from another stage"
            raise UserError(what, "Copy to prod alone: `starterkit promote --to prod`")

        def copied() -> int:
            with step(self._progress, "copy from staging") as note:
                version = arrive(self._registry, self._problem.name, number)
                note.text = f"{version}, a copy of {version.tags.get(COPIED_FROM)}"
            return version.number

        return self._promote(dataset, copied, approver)

    def bring_from(self, dataset: Dataset, bundle: Opened, *, approver: str = "") -> Promotion:
        """Make a version of a bundle's files, and do the same with it."""
        require_prod(self._settings)
        return self._promote(dataset, lambda: bring_in(self._registry, bundle, self._progress).version.number, approver)

    def rollback(self, number: int | None = None, *, reason: str, approver: str = "") -> Rollback:
        """Let an earlier champion (the one before, if none is named) serve again.

        Raises
        ------
        UnknownVersion
            The version never was champion, or there is none before.
        Refused
            Its files are gone, or do not answer.
        Unapproved, Locked
            As in `promote`.
        """
        if not reason.strip():
            raise UserError("a rollback needs a reason", "Say it with --reason")
        people = people_behind(self._settings, approver)
        with alone(self._registry, self._settings, people.who, self._progress) as lock:
            target, earlier = self._earlier(number), self._registry.champion()
            entry = self._entry("rollback", target, earlier, people, reason)
            with step(self._progress, "roll back") as note:
                try:
                    self._registry.open(target)
                except ContractError as error:
                    lock.require()
                    self._ledger.append(replace(entry, result="refused", reason=f"{reason}. Its files do not answer"))
                    mend = "Name another one; `starterkit history` shows them"
                    raise Refused(f"{target} cannot serve again: {error.what}", mend) from error
                self._move(lock, target, entry)
                note.text = f"{target} answers and serves again"
        return Rollback(target, earlier)

    def _promote(
        self, dataset: Dataset, choose: Callable[[], int | None], approver: str, patience: float = 0
    ) -> Promotion:
        people = people_behind(self._settings, approver)
        with alone(self._registry, self._settings, people.who, self._progress, patience) as lock:
            judged = self._judge.judge(dataset, choose())
            version, passed = judged.version, judged.decision.passed
            evidence = keep_evidence(self._registry, version, judged.record)
            self._registry.tag(version, {"gate": "passed" if passed else "refused"})
            self._describer.version(version, judged.decision.verdicts)
            # A check's own words stay out: they may repeat a value of a sensitive column.
            refused = ", ".join(verdict.check for verdict in judged.decision.refusals)
            reason = f"the gate refused it: {refused}" if refused else "the gate passed it"
            entry = self._entry("promote", version, judged.earlier, people, reason, evidence)
            if passed:
                self._move(lock, version, entry)
            else:
                lock.require()
                self._ledger.append(replace(entry, result="refused"))
        return Promotion(version, judged.decision, judged.earlier, judged.record)

    def _move(self, lock: PromotionLock, version: Version, entry: Entry) -> None:
        """Intent, alias, outcome. Killed anywhere, the old or the new version serves; `settle` writes what is missing.

        MLflow moves an alias whoever asks. So each step asks first whether the lock is still ours.
        """
        lock.require()
        self._ledger.append(replace(entry, phase="intent"))
        lock.require()
        self._registry.set_champion(version)
        self._ledger.append(replace(entry, result="done"))
        self._describer.model()

    def _entry(
        self, act: Act, version: Version, earlier: Version | None, people: People, reason: str, evidence: str = ""
    ) -> Entry:
        return Entry(
            act=act,
            phase="outcome",
            version=version.number,
            earlier=earlier.number if earlier else None,
            who=people.who,
            approver=people.approver,
            reason=reason,
            evidence=evidence or version.tags.get("evidence", ""),
            commit=version.tags.get("commit", ""),
            files=files_of(self._registry, version),
        )

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
