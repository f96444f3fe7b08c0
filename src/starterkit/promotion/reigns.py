"""Which versions were champion, and until when, as the history tells it. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise

from starterkit.registry import Entry, Version

_CAME_ABOUT = ("done", "finished")


def came_about(entries: Iterable[Entry]) -> list[Entry]:
    """The promotions and rollbacks that moved the alias."""
    return [entry for entry in entries if entry.act != "prune" and entry.result in _CAME_ABOUT]


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
