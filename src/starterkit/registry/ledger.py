"""`Ledger`: the history of a registered model's promotions, kept as tags on MLflow's server."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from starterkit.registry.history import Break, Entry, Head, Unreadable, find_break
from starterkit.registry.registry import CHAMPION, ModelRegistry, Version

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

    def find_break(self) -> Break | None:
        """The first place at which somebody changed the history."""
        return find_break(self.kept(), self._heads())

    def append(self, entry: Entry) -> Entry:
        """Write an entry after the last one, and its digest on the version that it is about.

        A number that a version knows is not given again: the gap of an entry that was deleted stays to be seen.
        """
        kept = self.kept()
        last = max(kept, default=0)
        number = max([last, *(head.number for head in self._heads())]) + 1
        at = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
        written = replace(entry, number=number, at=at, previous=_digest_in(kept[last]) if last else "").fitted()
        self._registry.tag_model({f"{_PREFIX}{written.number:06}": written.to_json()})
        witness = self._witness(written)
        if witness is not None:
            self._registry.tag(witness, {HEAD: f"{written.number} {written.digest}"})
        return written

    def _witness(self, entry: Entry) -> Version | None:
        versions = {version.number: version for version in self._registry.versions()}
        serving = self._registry.aliases().get(CHAMPION, 0)
        return versions.get(serving if entry.act == "prune" else entry.version)

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
