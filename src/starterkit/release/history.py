"""What is written down of promotions, where it is kept, and which versions were champion by it.

See docs/decisions/0018-promotion.md for what this chain can show, and what it cannot.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, Literal, NamedTuple

from starterkit.tracking.registry import CHAMPION, ModelRegistry, Version

# --- Entries, each of which names the digest of the one before. Pure.

Act = Literal["promote", "rollback", "prune", "settle"]
Phase = Literal["intent", "outcome"]
Result = Literal["", "done", "refused", "finished", "undone", "shadow"]
How = Literal["authenticated", "claimed"]

_MOST_WORDS = 800
_MOST_NAME = 100
_MOST_LIMITS = 1000
"""Characters. PostgreSQL keeps 5,000 of a registered model's tag."""


class Unreadable(ValueError):
    """A text that is no entry, or whose digest is not its own."""


@dataclass(frozen=True)
class Person:
    """Who did something. A name is ``authenticated`` where the server asked for a password, else ``claimed``."""

    name: str
    how: How = "claimed"

    def fitted(self) -> "Person":
        return replace(self, name=_cut(self.name, _MOST_NAME))

    def __str__(self) -> str:
        return f"{self.name} ({self.how})"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the history.

    Attributes
    ----------
    number, at
        Its place, from 1 on, and when it was written (UTC).
    act, phase, result
        What was meant to be done, whether it is still to be done, and what came of it. ``finished`` and ``undone``
        are written by whoever found an intent without an outcome; ``shadow`` is a version that the gate passed, and
        that is scored beside the champion.
    version, earlier
        The version that it is about, and the champion before.
    who, approver
        Who gave the command, and who approved, where the stage asks for somebody.
    reason
        In words, cut at 800 characters.
    evidence, commit, files
        The digest of the gate's evidence, the version's commit, and the id of MLflow's logged model.
    contract, signature, limits
        The SHA-256 of the ``contract.json`` that was judged, which seals the other files; the stage's signature of it,
        where the gate passed it and the stage has a key; and the rules in force.
    previous, digest
        The SHA-256 of the entry before, and of this one.
    """

    number: int = 0
    at: str = ""
    act: Act
    phase: Phase
    result: Result = ""
    version: int
    earlier: int | None = None
    who: Person
    approver: Person | None = None
    reason: str = ""
    evidence: str = ""
    commit: str = ""
    files: str = ""
    contract: str = ""
    signature: str = ""
    limits: Mapping[str, Any] = field(default_factory=dict, hash=False)
    previous: str = ""

    @property
    def digest(self) -> str:
        return _digest(self._written())

    def fitted(self) -> "Entry":
        """The same with texts that surely fit into a tag, without line breaks."""
        approver = self.approver.fitted() if self.approver else None
        limits = self.limits if len(_compact(self.limits)) <= _MOST_LIMITS else {"digest": _digest(self.limits)}
        reason = _cut(self.reason, _MOST_WORDS)
        return replace(self, reason=reason, who=self.who.fitted(), approver=approver, limits=limits)

    def to_json(self) -> str:
        written = self._written()
        return _compact(written | {"digest": _digest(written)})

    def _written(self) -> dict[str, Any]:
        """What has nothing to say is read back as its default. So a later word does not change an earlier digest."""
        return {key: value for key, value in asdict(self).items() if value not in ("", None, {})}

    @classmethod
    def from_json(cls, text: str) -> "Entry":
        """Read an entry back.

        Raises
        ------
        Unreadable
            It is none, or was changed after it was written.
        """
        try:
            raw: dict[str, Any] = json.loads(text)
            digest = raw.pop("digest")
            if digest != _digest(raw):
                raise Unreadable("was edited")
            raw |= {key: Person(**raw[key]) for key in ("who", "approver") if key in raw}
            return cls(**raw)
        except Unreadable:
            raise
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise Unreadable("cannot be read") from error


class Head(NamedTuple):
    """What a version says about the history: that there is an entry of this number with this digest."""

    version: int
    number: int
    digest: str


def find_break(kept: Mapping[int, str], heads: Iterable[Head] = ()) -> str:
    """In words, where the entries are not those that were written, or not all of them; empty where they are whole.

    What somebody settled counts as it was then: the chain begins anew with the entry that says so. `kept` are the
    entries' texts by the number under which each is kept; what versions say in `heads` shows a tail that was cut off.
    """
    digests: dict[int, str] = {}
    first, previous = _settled(kept)
    for number in range(first, max(kept, default=0) + 1):
        if number not in kept:
            return f"entry {number} is missing"
        try:
            entry = Entry.from_json(kept[number])
        except Unreadable as error:
            return f"entry {number} {error}"
        if entry.number != number:
            return f"entry {number} is out of order: it was written as entry {entry.number}"
        if entry.previous != previous:
            return _other_before(number, first)
        digests[number] = previous = entry.digest
    for head in sorted((one for one in heads if one.number >= first), key=lambda one: one.number):
        if head.number not in digests:
            return f"entry {head.number} is missing: version {head.version} knew one"
        if digests[head.number] != head.digest:
            return f"entry {head.number} was replaced: version {head.version} knew another one"
    return ""


def _other_before(number: int, first: int) -> str:
    if number == 1:
        return "entry 1 is not the first that was written"
    if number == first:
        return f"what entry {number} had settled was changed since"
    return f"entry {number - 1} was replaced: entry {number} was written after another one"


def _settled(kept: Mapping[int, str]) -> tuple[int, str]:
    """The number of the last entry that settled a broken history, and what it has to name as the one before it."""
    for number in sorted(kept, reverse=True):
        try:
            settles = Entry.from_json(kept[number]).act == "settle"
        except Unreadable:
            continue
        if settles:
            return number, _digest_of_all(kept, number)
    return 1, ""


def _digest_of_all(kept: Mapping[int, str], before: int) -> str:
    """The SHA-256 of everything below a number, as it is kept."""
    return _digest({str(number): text for number, text in kept.items() if number < before})


def _digest(written: Mapping[str, Any]) -> str:
    return hashlib.sha256(_compact(written).encode()).hexdigest()


def _compact(written: Mapping[str, Any]) -> str:
    return json.dumps(written, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _cut(text: str, most: int) -> str:
    words = " ".join(text.encode("utf-8", "replace").decode().split())  # a command line may hold other bytes
    return words if len(words) <= most else f"{words[: most - 1]}…"


# --- `Ledger`: the history of a registered model's promotions, kept as tags on MLflow's server.

_PREFIX = "history."
HEAD = f"{_PREFIX}head"
"""A version's tag: the number and the digest of the last entry about it."""


class Ledger:
    """Entries of ``<stage>.<name>``. Only who holds the promotion's lock may write."""

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    def kept(self) -> Mapping[int, str]:
        """The entries' texts by their number, as they are kept."""
        tags = self._registry.tags()
        named = {key.removeprefix(_PREFIX): value for key, value in tags.items() if key.startswith(_PREFIX)}
        return {int(key): value for key, value in named.items() if key.isascii() and key.isdigit()}

    def entries(self) -> list[Entry]:
        """The entries that can be read, the oldest first."""
        found = []
        for _, text in sorted(self.kept().items()):
            try:
                found.append(Entry.from_json(text))
            except Unreadable:  # `find_break` names it
                continue
        return found

    def find_break(self) -> str:
        """Where somebody first changed the history; empty where nobody did."""
        return find_break(self.kept(), self._heads())

    def append(self, entry: Entry) -> Entry:
        """Write an entry after the last one, and its digest on the version that it is about.

        A number that a version knows is not given again: the gap of an entry that was deleted stays to be seen.
        """
        kept = self.kept()
        last = max(kept, default=0)
        number = max([last, *(head.number for head in self._heads())]) + 1
        at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        previous = _digest_in(kept[last]) if last else ""
        if entry.act == "settle":
            previous = _digest_of_all(kept, number)
        written = replace(entry, number=number, at=at, previous=previous).fitted()
        self._registry.tag_model({f"{_PREFIX}{written.number:06}": written.to_json()})
        witness = self._witness(written)
        if witness is not None:
            self._registry.tag(witness, {HEAD: f"{written.number} {written.digest}"})
        return written

    def _witness(self, entry: Entry) -> Version | None:
        versions = {version.number: version for version in self._registry.versions()}
        serving = self._registry.aliases().get(CHAMPION, 0)
        return versions.get(serving if entry.act in ("prune", "settle") else entry.version)

    def _heads(self) -> list[Head]:
        heads = []
        for version in self._registry.versions():
            number, _, digest = version.tags.get(HEAD, "").partition(" ")
            if number.isascii() and number.isdigit():
                heads.append(Head(version.number, int(number), digest))
        return heads


def _digest_in(text: str) -> str:
    try:
        return Entry.from_json(text).digest
    except Unreadable:  # the next entry still says after what it was written
        return hashlib.sha256(text.encode()).hexdigest()


# --- Which versions were champion, and until when, as the history tells it. Pure.

_MOVES = ("promote", "rollback")
_CAME_ABOUT = ("done", "finished")


def came_about(entries: Iterable[Entry]) -> list[Entry]:
    """The promotions and rollbacks that moved the alias."""
    return [entry for entry in entries if entry.act in _MOVES and entry.result in _CAME_ABOUT]


def champions(entries: Iterable[Entry], versions: Iterable[Version] = ()) -> tuple[int, ...]:
    """The champions in the order in which each one first became it.

    A version that the history does not know was made before there was one. It may have been champion if the gate
    passed it.
    """
    told = list(entries)
    moves, known = came_about(told), {entry.version for entry in told}
    before = sorted(one.number for one in versions if one.number not in known and one.tags.get("gate") == "passed")
    earlier = [entry.earlier for entry in moves[:1] if entry.earlier]
    return tuple(dict.fromkeys([*before, *earlier, *(entry.version for entry in moves)]))


def way_here(entries: Iterable[Entry], versions: Iterable[Version] = ()) -> tuple[int, ...]:
    """The champions that led to the one of now: a promotion adds one, a rollback takes away what it left behind."""
    told = list(entries)
    known = {entry.version for entry in told}
    way = [number for number in champions(told, versions) if number not in known]
    for entry in came_about(told):
        if entry.version in way:
            del way[way.index(entry.version) + 1 :]
        else:
            way.append(entry.version)
    return tuple(way)


def served_until(entries: Iterable[Entry]) -> Mapping[int, datetime]:
    """When each former champion was last replaced."""
    moves: Sequence[Entry] = came_about(entries)
    ended = {entry.earlier: datetime.fromisoformat(entry.at) for entry in moves if entry.earlier is not None}
    return ended | {before.version: datetime.fromisoformat(after.at) for before, after in pairwise(moves)}


def serving(entries: Iterable[Entry]) -> int | None:
    """The champion of now, as the history tells it."""
    moves = came_about(entries)
    return moves[-1].version if moves else None


# --- What a version of prod says of where it came from.

COPIED_FROM = "copied_from"
_ITS_STAGES_OWN = ("gate", "evidence", "evidence_place", HEAD)
"""Tags that are about the version in its own stage. The copy gets its own."""


def tags_in_prod(tags: Mapping[str, str], source: str) -> dict[str, str]:
    """What a version of prod says of itself that was brought from staging's `source`, which has these tags."""
    told = {key: value for key, value in tags.items() if key not in _ITS_STAGES_OWN}
    return told | {COPIED_FROM: source, "staging_evidence": tags.get("evidence", "")}
