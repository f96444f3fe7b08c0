"""`ChampionAlias` moves the alias of one registered model: one at a time, written down before and after.

It needs the registry alone, so a rollback waits for no data, no estimator and no gate. See
docs/decisions/0018-promotion.md.
"""

import getpass
import os
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from starterkit.errors import ContractError, Refused, UserError
from starterkit.progress import Progress, silent, step
from starterkit.release.descriptions import Describer, Subject
from starterkit.release.history import Act, Entry, Ledger, Person, Result, champions, way_here
from starterkit.release.trust import version_doubts
from starterkit.settings import Settings, Stage
from starterkit.settings.floors import is_placeholder
from starterkit.tracking.connection import authenticated_user, takes_password
from starterkit.tracking.lock import PromotionLock
from starterkit.tracking.queries import look_up
from starterkit.tracking.registry import CHAMPION, ModelRegistry, UnknownVersion, Version, delete_with_files, files_of

# --- Who gives a command, and who approves of it: somebody else, with a name, whom the server may know.

_NAME = re.compile(r"(?=.*[^\W\d_].*[^\W\d_])[^\W\d_][\w.'’-]*(?: [^\W\d_][\w.'’-]*)*")
_ADDRESS = re.compile(r"[\w.+-]*\w@\w[\w-]*(?:\.[\w-]+)*")
_NOBODY = re.compile(
    "approver|nobody|no ?one|none|(some|any|every)(one|body)|me|myself|self|you|user|(user)?name|yes|ok|"
    "approved?|auto(matic)?|bot|ci|robot|system|root|admin"
)


class Unapproved(UserError):
    """The stage asks for an approver, and nobody approved."""


@dataclass(frozen=True)
class Approval:
    """Who gives the command, and who approves where the stage asks for it."""

    who: Person
    approver: Person | None = None


def who_is_here(settings: Settings) -> Person:
    """The user whose password the server has checked is ``authenticated``, the user of this machine ``claimed``."""
    user = authenticated_user(settings.tracking)
    return Person(user, "authenticated") if user else Person(here())


def approval_by(settings: Settings, approver: str = "") -> Approval:
    """Who is here, and who approves where somebody is named.

    Raises
    ------
    Unapproved
        The stage is prod, and nobody is named, or a name that is none, the one who gives the command, somebody who is
        not in the project's list, or somebody whose password the server does not take.
    """
    who, named = who_is_here(settings), " ".join(approver.split())
    if settings.stage is not Stage.PROD:
        return Approval(who, Person(named) if named else None)
    if not named:
        what = "prod asks for somebody who approves, who is not the one who gives the command"
        raise Unapproved(what, "Name the approver with --approver")
    if any(_is(named, commander) for commander in (who.name, here(), os.environ.get("GITHUB_ACTOR", ""))):
        what = f"'{named}' gives this command, and nobody approves of their own in prod"
        raise Unapproved(what, "Name somebody else with --approver, who has looked at it")
    _require_name(named)
    listed = settings.promotion.approvers
    if listed and named.casefold() not in {one.casefold() for one in listed}:
        raise Unapproved(f"'{named}' may not approve in prod", f"promotion.approvers names {', '.join(listed)}")
    return Approval(who, Person(named, "authenticated") if _is_proven(settings, named) else Person(named))


def _require_name(named: str) -> None:
    is_nobody = _NOBODY.fullmatch(named.casefold()) or is_placeholder(named)
    if not (_NAME.fullmatch(named) or _ADDRESS.fullmatch(named)) or is_nobody:
        what = f"'{named[:40]}' is no name of an approver"
        raise Unapproved(
            what, "Give a person's name in letters, as Ada or Ada Lovelace, or an address, as ada@company.org"
        )


def _is(named: str, commander: str) -> bool:
    """Whether two words name the same person: ada, Ada, and ada@machine are."""
    one, other = (words.casefold() for words in (named, commander))
    return bool(other) and (one == other or one.partition("@")[0] == other.partition("@")[0])


def _is_proven(settings: Settings, named: str) -> bool:
    """Whether the server has checked the approver's own password.

    Raises
    ------
    Unapproved
        There is one, and the server does not take it.
    """
    password = settings.promotion.approver_password
    if password is None:
        return False
    if takes_password(settings.tracking, named, password.get_secret_value()):
        return True
    hint = "Name them as the server does, or leave promotion.approver_password out: the name counts as claimed then"
    raise Unapproved(f"the server does not take promotion.approver_password as the password of '{named}'", hint)


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
        if intent := unfinished(Ledger(registry)):
            with step(progress, "settle") as note:
                lock.require()
                note.text = recover(registry, intent, who)
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


def recover(registry: ModelRegistry, intent: Entry, who: Person) -> str:
    """Write the outcome that an intent lacks, after a look at what is there, and say it in words. Only under the lock.

    The alias is moved by one call, so it points at the old version or at the new one, and stays there. A pruning is
    done to its end.
    """
    result: Result = "finished"
    if intent.act == "prune":
        delete_with_files(registry, intent.version, intent.files)
        stands = ""
    else:
        at = registry.aliases().get(CHAMPION)
        result = "finished" if at == intent.version else "undone"
        stands = f"; version {at} is champion" if at else "; there is no champion"
    reason = f"it was killed half-way{stands}"
    Ledger(registry).append(replace(intent, phase="outcome", result=result, reason=reason, who=who))
    return f"{move_of(intent)} was killed half-way; it is {result} now"


# --- The alias itself.


@dataclass(frozen=True)
class Rollback:
    """The alias went back: to which version, and from which."""

    version: Version
    earlier: Version | None


class ChampionAlias:
    """Which version of a registered model is champion, and how that changes."""

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
            if not broken:
                raise UserError(f"the history of {self._registry.model} is whole", "Leave --settle out")
            lock.require()
            number = champion.number if champion else 0
            why = f"{reason}. Before: {broken}"
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

    def challenge(self, lock: PromotionLock, version: Version, entry: Entry) -> None:
        """Let a version into the shadow, and the champion stay. Killed in between, the shadow's alias stays, too."""
        lock.require()
        self._ledger.append(replace(entry, result="shadow"))
        lock.require()
        self._registry.set_challenger(version)

    def refuse(self, lock: PromotionLock, entry: Entry) -> None:
        """Write down that the alias stays."""
        lock.require()
        self._ledger.append(replace(entry, result="refused"))

    def entry(
        self, act: Act, version: Version, earlier: Version | None, approval: Approval, reason: str, **judged: Any
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
