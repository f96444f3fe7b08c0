"""What is written down of a promotion: entries, each of which names the digest of the one before. Pure.

See docs/decisions/0018-promotion.md for what this chain can show, and what it cannot.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple

Act = Literal["promote", "rollback", "prune"]
Phase = Literal["intent", "outcome"]
Result = Literal["", "done", "refused", "finished", "undone"]
How = Literal["authenticated", "claimed"]

_MOST_WORDS = 800
_MOST_NAME = 100
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
        are written by whoever found an intent without an outcome.
    version, earlier
        The version that it is about, and the champion before.
    who, approver
        Who gave the command, and who approved, where the stage asks for somebody.
    reason
        In words, cut at 800 characters.
    evidence, commit, files
        The digest of the gate's evidence, the version's commit, and the id of MLflow's logged model.
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
    previous: str = ""

    @property
    def digest(self) -> str:
        return _digest(self._written())

    def fitted(self) -> "Entry":
        """The same with texts that surely fit into a tag, without line breaks."""
        approver = self.approver.fitted() if self.approver else None
        return replace(self, reason=_cut(self.reason, _MOST_WORDS), who=self.who.fitted(), approver=approver)

    def to_json(self) -> str:
        written = self._written()
        return _compact(written | {"digest": _digest(written)})

    def _written(self) -> dict[str, Any]:
        """What has nothing to say is read back as its default. So a later word does not change an earlier digest."""
        return {key: value for key, value in asdict(self).items() if value not in ("", None)}

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


class Break(NamedTuple):
    """Where the chain breaks."""

    number: int
    text: str


def find_break(kept: Mapping[int, str], heads: Iterable[Head] = ()) -> Break | None:
    """The first place at which the entries are not those that were written, or not all of them.

    Parameters
    ----------
    kept
        The entries' texts by the number under which each is kept.
    heads
        What versions say about the end of the chain, which shows a tail that was cut off.
    """
    digests: dict[int, str] = {}
    previous = ""
    for number in range(1, max(kept, default=0) + 1):
        if number not in kept:
            return Break(number, f"entry {number} is missing")
        try:
            entry = Entry.from_json(kept[number])
        except Unreadable as error:
            return Break(number, f"entry {number} {error}")
        if entry.number != number:
            return Break(number, f"entry {number} is out of order: it was written as entry {entry.number}")
        if entry.previous != previous:
            if number == 1:
                return Break(1, "entry 1 is not the first that was written")
            return Break(number - 1, f"entry {number - 1} was replaced: entry {number} was written after another one")
        digests[number] = previous = entry.digest
    for head in sorted(heads, key=lambda one: one.number):
        if head.number not in digests:
            return Break(head.number, f"entry {head.number} is missing: version {head.version} knew one")
        if digests[head.number] != head.digest:
            return Break(head.number, f"entry {head.number} was replaced: version {head.version} knew another one")
    return None


def _digest(written: Mapping[str, Any]) -> str:
    return hashlib.sha256(_compact(written).encode()).hexdigest()


def _compact(written: Mapping[str, Any]) -> str:
    return json.dumps(written, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _cut(text: str, most: int) -> str:
    words = " ".join(text.encode("utf-8", "replace").decode().split())  # a command line may hold other bytes
    return words if len(words) <= most else f"{words[: most - 1]}…"
