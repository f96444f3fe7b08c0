"""The chain of entries: what a change to it looks like."""

import json
from dataclasses import replace

import pytest

from starterkit.release.history import Entry, Head, Person, Unreadable, find_break

ADA = Person("ada@desk")


def chain(count: int) -> list[Entry]:
    entries: list[Entry] = []
    for number in range(1, count + 1):
        previous = entries[-1].digest if entries else ""
        entry = Entry(number=number, at="2026-11-26T10:00:00Z", act="promote", phase="outcome", result="done",
                      version=number, earlier=number - 1 or None, who=ADA, previous=previous)  # fmt: skip
        entries.append(entry)
    return entries


def kept(entries: list[Entry]) -> dict[int, str]:
    return {entry.number: entry.to_json() for entry in entries}


def broken(texts: dict[int, str], *heads: Head) -> str:
    found = find_break(texts, heads)
    return found.text if found else ""


def test_an_entry_is_read_back_as_it_was_written() -> None:
    entry = replace(chain(2)[1], approver=Person("bob", "authenticated"), reason="zu langsam – „ja“", evidence="ab")
    assert Entry.from_json(entry.to_json()) == entry
    assert Entry.from_json(entry.to_json()).digest == entry.digest


def test_a_whole_chain_has_no_break() -> None:
    entries = chain(4)
    assert broken({}) == broken(kept(entries)) == broken(kept(entries), Head(4, 4, entries[3].digest)) == ""


def edited(texts: dict[int, str]) -> None:
    texts[2] = texts[2].replace("ada", "eve")


def edited_and_sealed_again(texts: dict[int, str]) -> None:
    texts[2] = replace(Entry.from_json(texts[2]), who=Person("eve@desk")).to_json()


def reordered(texts: dict[int, str]) -> None:
    texts[2], texts[3] = texts[3], texts[2]


def begun_later(texts: dict[int, str]) -> None:
    texts[1] = replace(Entry.from_json(texts[1]), previous="ab").to_json()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edited, "entry 2 was edited"),
        (edited_and_sealed_again, "entry 2 was replaced: entry 3 was written after another one"),
        (reordered, "entry 2 is out of order: it was written as entry 3"),
        (begun_later, "entry 1 is not the first that was written"),
        (lambda texts: texts.pop(2), "entry 2 is missing"),
        (lambda texts: texts.pop(1), "entry 1 is missing"),
        (lambda texts: texts.update({3: "no entry"}), "entry 3 cannot be read"),
        (lambda texts: texts.update({3: "[]"}), "entry 3 cannot be read"),
        (lambda texts: texts.update({3: "[" * 50_000}), "entry 3 cannot be read"),
        (lambda texts: texts.pop(4), "entry 4 is missing: version 4 knew one"),
        (lambda texts: texts.clear(), "entry 4 is missing: version 4 knew one"),
    ],
)
def test_a_change_is_named(change: object, said: str) -> None:
    entries = chain(4)
    texts = kept(entries)
    change(texts)  # pyrefly: ignore[not-callable]
    assert broken(texts, Head(4, 4, entries[3].digest)) == said


def test_an_end_that_was_written_anew_is_told_by_the_version() -> None:
    entries = chain(3)
    texts = kept(entries) | {3: replace(entries[2], reason="all was well").to_json()}
    assert broken(texts) == ""  # this is what a chain alone cannot show
    assert broken(texts, Head(3, 3, entries[2].digest)) == "entry 3 was replaced: version 3 knew another one"


def test_an_entry_fits_into_a_tag_of_postgresql() -> None:
    long = '"quoted"\n ü' * 2000
    entry = replace(chain(1)[0], reason=long, who=Person(long), approver=Person(long)).fitted()
    assert len(entry.to_json()) < 4000
    assert "\n" not in entry.reason
    assert entry.reason.endswith("…")


def test_bytes_that_are_no_utf_8_do_not_hinder_an_entry() -> None:
    entry = replace(chain(1)[0], reason="slow\udcff", who=Person("ada\udcff"), approver=Person("bob\udcff")).fitted()
    assert Entry.from_json(entry.to_json()) == entry
    assert (entry.reason, entry.who.name) == ("slow?", "ada?")


def test_a_later_word_does_not_change_an_earlier_digest() -> None:
    written = json.loads(chain(1)[0].to_json())
    assert "reason" not in written  # what has nothing to say is not written
    with pytest.raises(Unreadable, match="edited"):
        Entry.from_json(json.dumps(written | {"reason": "x"}))
