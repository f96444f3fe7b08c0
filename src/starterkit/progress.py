"""The one callback through which long work shows where it is."""

import time
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, TypeVar

_SOME = 100

Item = TypeVar("Item")


@dataclass(frozen=True)
class Event:
    """A step began, went on, ended or failed.

    `note` says in a few words how far it is or what came of it, `seconds` how long it took, and `share` how much of
    it is done, from 0 to 1, where that is known.
    """

    step: str
    state: Literal["began", "went on", "ended", "failed"]
    note: str = ""
    seconds: float = 0.0
    share: float | None = None


Progress = Callable[[Event], None]


def silent(event: Event) -> None:
    """Show nothing."""


class Note:
    """What a step has to say: `text` when it ends, and how far it is by then."""

    def __init__(self, go_on: Callable[[str, float | None], None] = lambda _text, _share: None) -> None:
        self.text = ""
        self.go_on = go_on

    def along(self, items: Collection[Item], what: str) -> Iterator[Item]:
        """Each of the items, and every so often how many there were."""
        for place, item in enumerate(items):
            if place and place % _SOME == 0:
                self.go_on(f"{place} of {len(items)} {what}", place / len(items))
            yield item


@contextmanager
def step(progress: Progress, name: str) -> Generator[Note, None, None]:
    """Tell that a step begins, and how it ended."""
    progress(Event(name, "began"))
    began = time.perf_counter()
    note = Note(lambda text, share: progress(Event(name, "went on", text, time.perf_counter() - began, share)))
    try:
        yield note
    except BaseException:
        progress(Event(name, "failed", seconds=time.perf_counter() - began))
        raise
    progress(Event(name, "ended", note.text, time.perf_counter() - began))
