"""The one callback through which long work shows where it is, and what stops it: Ctrl-C and `kill`."""

import gc
import signal
import sys
import time
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ExtensionFileLoader
from types import FrameType
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


# --- Ctrl-C and `kill` end a command, and are remembered.
#
# Python prints and forgets an interruption that comes inside a callback of its own, such as those of an import. So it
# is not printed, and asks again soon; one that a library caught is met at the next step. One that comes while an
# extension module is made waits until it is made: ONNX Runtime would turn it into an error of its import.

INTERRUPTED = 130
ENDED = 143

_SOON = 0.01
_MAKING = {ExtensionFileLoader.create_module.__code__, ExtensionFileLoader.exec_module.__code__}

_asked: list[int] = []


def listen() -> None:
    """Let `kill` be Ctrl-C by another name: a run is marked, and nothing stays half-made."""
    _asked.clear()
    sys.unraisablehook = _forget
    signal.signal(signal.SIGTERM, _stop)
    signal.signal(signal.SIGALRM, lambda _number, frame: _raise_outside(_asked[0], frame))
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # a shell may have said to ignore it
        signal.signal(signal.SIGINT, _stop)


def stop_if_asked() -> None:
    """Stop now, if a signal asked for it and was lost.

    Raises
    ------
    KeyboardInterrupt, SystemExit
        Ctrl-C, or `kill`.
    """
    if _asked:
        _raise(_asked[0])


def _forget(unraisable: "sys.UnraisableHookArgs") -> None:
    if _asked and isinstance(unraisable.exc_value, KeyboardInterrupt | SystemExit):
        signal.setitimer(signal.ITIMER_REAL, _SOON)
    else:
        sys.__unraisablehook__(unraisable)


def _stop(number: int, frame: FrameType | None) -> None:
    _asked.append(number)
    if len(_asked) == 1:
        _raise_outside(number, frame)
    else:
        _raise(number)


def _raise_outside(number: int, frame: FrameType | None) -> None:
    while frame:
        if frame.f_code in _MAKING:
            signal.setitimer(signal.ITIMER_REAL, _SOON)
            return
        frame = frame.f_back
    _raise(number)


def _raise(number: int) -> None:
    signal.setitimer(signal.ITIMER_REAL, 0)
    raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(ENDED)


# --- How often Python looks for garbage while a command loads its libraries.
#
# They make some hundred thousand objects, nearly all of which stay. Looking through them again and again was 8% of the
# processor time of `doctor` (2.83 s against 2.60).

_SELDOM = (20_000, 50, 100)
_USUALLY = gc.get_threshold()


def collect_seldom() -> None:
    gc.set_threshold(*_SELDOM)


def collect_usually() -> None:
    """For what goes on for days."""
    gc.set_threshold(*_USUALLY)
    gc.freeze()  # what is there stays: looking through it again would hold up who asks
