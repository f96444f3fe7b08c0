"""The one callback through which long work shows where it is."""

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Event:
    """A step began, ended or failed. `note` says in a few words what came of it, `seconds` how long it took."""

    step: str
    state: Literal["began", "ended", "failed"]
    note: str = ""
    seconds: float = 0.0


Progress = Callable[[Event], None]


def silent(event: Event) -> None:
    """Show nothing."""


class Note:
    """What a step has to say when it ends."""

    text = ""


@contextmanager
def step(progress: Progress, name: str) -> Generator[Note, None, None]:
    """Tell that a step begins, and how it ended."""
    progress(Event(name, "began"))
    began, note = time.perf_counter(), Note()
    try:
        yield note
    except BaseException:
        progress(Event(name, "failed", seconds=time.perf_counter() - began))
        raise
    progress(Event(name, "ended", note.text, time.perf_counter() - began))
