"""Old versions go by a stated rule: never a champion, a former one within the window, a new one, or evidence."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from starterkit.progress import Progress, silent, step
from starterkit.release.alias import Approval, ChampionAlias, alone, who_is_here
from starterkit.release.history import Entry, Ledger, champions, served_until
from starterkit.settings import Settings
from starterkit.tracking.registry import ModelRegistry, Version, delete_with_files, files_of, others_with, size_of

KEEP = 5
"""The newest versions that stay in any case."""


@dataclass(frozen=True)
class Kept:
    """A version, and why it stays. It may go where there is no reason."""

    version: Version
    why: str = ""


@dataclass(frozen=True)
class Leaving:
    """A version that may go, and its files, which stay where another version shares them.

    `files` is the id of MLflow's logged model, empty where MLflow does not say; `size` their bytes, None likewise.
    """

    version: Version
    files: str
    size: int | None
    shared_with: Sequence[str]


@dataclass(frozen=True)
class Pruned:
    """What went, and whether its files went with it."""

    leaving: Leaving
    files_gone: bool


def rule(
    versions: Iterable[Version],
    entries: Sequence[Entry],
    aliases: Mapping[str, int],
    *,
    now: datetime,
    keep_days: int,
    keep: int = KEEP,
) -> list[Kept]:
    """Say of each version, the newest first, why it stays, or nothing. Pure."""
    ordered = sorted(versions, key=lambda one: one.number, reverse=True)
    former, ended, window = champions(entries, ordered), served_until(entries), now - timedelta(days=keep_days)
    named = {number: alias for alias, number in aliases.items()}
    told = []
    for place, version in enumerate(ordered):
        last = max(ended.get(version.number, version.created), version.created)
        if version.number in named:
            why = f"it is {named[version.number]}"
        elif place < keep:
            why = f"it is one of the newest {keep}"
        elif last > window:
            what = "served" if version.number in former else "was made"
            why = f"it {what} within {keep_days} days"
        else:
            why = ""
        told.append(Kept(version, why))
    return told


class Pruner:
    """The old versions of one stage's model.

    `keep_days` is the settings' where it is not given; the newest `keep` stay in any case.
    """

    def __init__(
        self,
        settings: Settings,
        registry: ModelRegistry,
        keep_days: int | None = None,
        keep: int = KEEP,
        progress: Progress = silent,
    ) -> None:
        self._settings = settings
        self._registry = registry
        self._days = settings.promotion.keep_days if keep_days is None else keep_days
        self._keep = keep
        self._progress = progress

    def look(self) -> list[Kept]:
        """Of each version, why it stays. Changes nothing."""
        versions, aliases = self._registry.versions(), self._registry.aliases()
        entries, now = Ledger(self._registry).entries(), datetime.now(UTC)
        return rule(versions, entries, aliases, now=now, keep_days=self._days, keep=self._keep)

    def leaving(self) -> list[Leaving]:
        """The versions that may go, with their files. Changes nothing."""
        return [self._look_at(kept.version) for kept in self.look() if not kept.why]

    def prune(self) -> list[Pruned]:
        """Delete what may go, one version after the other. Killed half-way, the next one goes on.

        Raises
        ------
        Locked
            Somebody else promotes.
        """
        who, ledger, done = who_is_here(self._settings), Ledger(self._registry), []
        alias = ChampionAlias(self._registry, self._settings)
        with alone(self._registry, self._settings, who, self._progress) as lock:
            for one in self.leaving():
                with step(self._progress, "prune") as note:
                    lock.require()
                    entry = alias.entry("prune", one.version, None, Approval(who), "the rule lets it go")
                    ledger.append(replace(entry, phase="intent"))
                    gone = delete_with_files(self._registry, one.version.number, one.files)
                    reason = "with its files" if gone else "its files stay"
                    ledger.append(replace(entry, result="done", reason=reason))
                    note.text = f"{one.version}, {reason}"
                done.append(Pruned(one, gone))
        return done

    def _look_at(self, version: Version) -> Leaving:
        files, connection = files_of(self._registry, version), self._registry.connection
        others = [one for one in others_with(connection, files) if one != str(version)]
        return Leaving(version, files, size_of(connection, files), others)
