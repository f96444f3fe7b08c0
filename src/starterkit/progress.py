"""The one callback through which long work shows where it is."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class Event:
    """A step began (`seconds` is None) or ended. `note` says in a few words what came of it."""

    step: str
    note: str = ""
    seconds: float | None = None


Progress = Callable[[Event], None]


def silent(event: Event) -> None:
    """Show nothing."""


class Note:
    """What a step has to say when it ends."""

    text = ""


@contextmanager
def step(progress: Progress, name: str) -> Generator[Note, None, None]:
    """Tell that a step begins and, if it succeeds, that it ended and what came of it."""
    progress(Event(name))
    began, note = time.perf_counter(), Note()
    yield note
    progress(Event(name, note.text, time.perf_counter() - began))
