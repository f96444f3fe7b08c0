"""The chain of entries, what a change to it looks like, and who was champion by it."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from starterkit.release.history import Entry, Head, Person, Unreadable, champions, find_break, serving, way_here
from starterkit.tracking.registry import Version

ADA = Person("ada@desk")


def entry(number: int, **said: Any) -> Entry:
    given = {"at": f"2026-11-{number:02}T00:00:00Z", "act": "promote", "phase": "outcome", "result": "done"}
    return Entry(**{"number": number, "version": number, "earlier": number - 1 or None, "who": ADA, **given, **said})


def chain(count: int) -> list[Entry]:
    entries: list[Entry] = []
    for number in range(1, count + 1):
        entries.append(entry(number, previous=entries[-1].digest if entries else ""))
    return entries


def test_an_entry_is_read_back_whatever_it_says_fits_into_a_tag_of_postgresql_and_keeps_its_digest():
    entry = replace(chain(2)[1], approver=Person("bob", "authenticated"), reason="zu langsam – „ja“", evidence="ab")
    again = Entry.from_json(entry.to_json())
    assert (again, again.digest) == (entry, entry.digest)
    long = '"quoted"\n ü' * 2000
    entry = replace(chain(1)[0], reason=long, who=Person(long), approver=Person(long)).fitted()
    assert len(entry.to_json()) < 4000
    assert ("\n" in entry.reason, entry.reason[-1]) == (False, "…")
    entry = replace(chain(1)[0], reason="slow\udcff", who=Person("ada\udcff"), approver=Person("bob\udcff")).fitted()
    assert Entry.from_json(entry.to_json()) == entry
    assert (entry.reason, entry.who.name) == ("slow?", "ada?")
    written = json.loads(chain(1)[0].to_json())
    assert "reason" not in written  # what has nothing to say is not written
    with pytest.raises(Unreadable, match="edited"):
        Entry.from_json(json.dumps(written | {"reason": "x"}))


def anew(number: int, **said: Any) -> Callable[[dict[int, str]], dict[int, str]]:
    """An entry that says something else, with a digest that fits."""
    return lambda texts: {number: replace(Entry.from_json(texts[number]), **said).to_json()}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda texts: {}, ""),
        (lambda texts: {2: texts[2].replace("ada", "eve")}, "entry 2 was edited"),
        (anew(2, who=Person("eve@desk")), "entry 2 was replaced: entry 3 was written after another one"),
        (lambda texts: {2: texts[3], 3: texts[2]}, "entry 2 is out of order: it was written as entry 3"),
        (anew(1, previous="ab"), "entry 1 is not the first that was written"),
        (lambda texts: {2: None}, "entry 2 is missing"),
        (lambda texts: {1: None}, "entry 1 is missing"),
        (lambda texts: {3: "no entry"}, "entry 3 cannot be read"),
        (lambda texts: {3: "[]"}, "entry 3 cannot be read"),
        (lambda texts: {3: "[" * 50_000}, "entry 3 cannot be read"),
        (lambda texts: {4: None}, "entry 4 is missing: version 4 knew one"),
        (dict.fromkeys, "entry 4 is missing: version 4 knew one"),
        # An end that was written anew, which a chain alone cannot show.
        (anew(4, reason="all was well"), "entry 4 was replaced: version 4 knew another one"),
    ],
)
def test_a_change_is_named(change, said):
    """An entry that becomes None is deleted."""
    entries = chain(4)
    whole = {entry.number: entry.to_json() for entry in entries}
    texts = {number: text for number, text in (whole | change(whole)).items() if text}
    assert find_break(texts, [Head(4, 4, entries[3].digest)]) == said


def told(*moves: tuple[Any, ...]) -> list[Entry]:
    """Entries of successive days: act, version, earlier champion, what came of it."""
    names = ("act", "version", "earlier", "result")
    return [entry(day, **dict(zip(names, move, strict=True))) for day, move in enumerate(moves, 1)]


def version(number: int, **tags: str) -> Version:
    return Version("local.trial", number, "run", tags, datetime(2026, 11, 1, tzinfo=UTC))


UP = told(("promote", 1, None, "done"), ("promote", 2, 1, "finished"), ("promote", 3, 2, "done"))


@pytest.mark.parametrize(
    ("moves", "was", "way", "now"),
    [
        ([], (), (), None),
        (UP, (1, 2, 3), (1, 2, 3), 3),
        ([*UP, *told(("rollback", 1, 3, "done"))], (1, 2, 3), (1,), 1),
        ([*UP, *told(("rollback", 2, 3, "done"), ("promote", 4, 2, "done"))], (1, 2, 3, 4), (1, 2, 4), 4),
        ([*UP, *told(("promote", 3, 3, "done"))], (1, 2, 3), (1, 2, 3), 3),
        ([*UP, *told(("promote", 4, 3, "refused"), ("promote", 5, 3, "undone"))], (1, 2, 3), (1, 2, 3), 3),
        ([*UP, *told(("prune", 1, 3, "done"))], (1, 2, 3), (1, 2, 3), 3),
        (told(("promote", 5, 4, "done")), (4, 5), (4, 5), 5),
    ],
)
def test_champions(moves, was, way, now):
    assert champions(moves) == was
    assert way_here(moves) == way
    assert serving(moves) == now


def test_versions_that_the_history_does_not_know_count_if_the_gate_passed_them():
    old = [version(1, gate="passed"), version(2, gate="refused"), version(3), version(4, gate="passed")]
    moves = told(("promote", 5, 4, "done"))
    assert champions(moves, [*old, version(5, gate="passed")]) == (1, 4, 5)
    assert way_here(moves, old) == (1, 4, 5)
    assert way_here([], old) == (1, 4)
