"""`Follower`: looks, outside the path of requests, which version is the champion, and lets it answer.

A version that cannot be opened, does not give its sample's answers or takes other columns than clients send is refused
and told; the one before it goes on. See docs/decisions/0028-live.md.
"""

import logging
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import NamedTuple, Protocol

from starterkit.contract import Contract
from starterkit.errors import ContractError, KitError, Refused, TrackingError
from starterkit.serving.predictor import ServedModel
from starterkit.serving.validation import read_records

_FIRST_LOOK = 1.0
_FIRST_PAUSE = 2.0
_LONGEST_PAUSE = 300.0
_SECONDS_BETWEEN_GLANCES = 0.25


class Named(NamedTuple):
    """What the alias points at, and what tells it from one of the same number on a server that was set up anew."""

    version: str
    mark: str


class Known(NamedTuple):
    """A version of which no more than this is at hand."""

    version: str
    mark: str
    contract: Contract


class Champions(Protocol):
    """How the registry is asked."""

    def named(self) -> Named | None:
        """Which version is the champion now; None where there is none.

        Raises
        ------
        TrackingError
            The registry does not answer.
        """
        ...

    def opened(self, wanted: Named) -> AbstractContextManager[ServedModel]:
        """The champion, opened and proven. It is good where the block does not raise.

        Raises
        ------
        TrackingError
            It cannot be had now.
        Refused, ContractError
            It is not what its gate passed, or incomplete.
        """
        ...


class Bell:
    """Wakes followers: this process's at once, and its siblings' when they next glance at the file that they share."""

    def __init__(self, shared: Path | None = None) -> None:
        self._rung = threading.Event()
        self._shared = shared
        self._stamp = self._glance()

    def ring(self) -> None:
        self._rung.set()
        if self._shared:
            with suppress(OSError):  # a full disk: they look in a few seconds anyway
                self._shared.touch()

    def wait(self, seconds: float) -> bool:
        """Whether it rang within this time."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            rang = self._rung.wait(min(left, _SECONDS_BETWEEN_GLANCES) if self._shared else left)
            if rang or self._glance() != self._stamp:
                self._rung.clear()
                self._stamp = self._glance()
                return True
        return False

    def _glance(self) -> int:
        try:
            return self._shared.stat().st_mtime_ns if self._shared else 0
        except OSError:
            return 0


class Follower:
    """Follows the champion from a thread of its own.

    Parameters
    ----------
    served
        The model that answers now.
    champions
        How the registry is asked.
    swap
        Lets another model answer.
    tell
        Is given what came of each look, `same`, `swapped`, `refused` or `unreachable`, and what there is to say of it.
    """

    def __init__(
        self,
        served: ServedModel | Known,
        champions: Champions,
        swap: Callable[[ServedModel], None],
        tell: Callable[[str, str], None],
    ) -> None:
        self._served = served
        self._champions = champions
        self._swap = swap
        self._tell = tell
        self._refused: Named | None = None
        self._missed: Named | None = None
        self._pause, self._again = 0.0, 0.0
        self._log = logging.getLogger("uvicorn.error")
        self._silent = False

    def start(self, seconds: float, bell: Bell) -> None:
        """Look every so many seconds and whenever the bell rings, for as long as the process lives; with 0 once."""

        def follow() -> None:
            pause = min(seconds, _FIRST_LOOK)
            while True:
                self.look(called=bell.wait(pause))
                if not (pause := seconds):
                    return

        threading.Thread(target=follow, name="follower", daemon=True).start()

    def look(self, *, called: bool = False) -> None:
        """Once. Nothing that happens here reaches a request.

        What cannot be had is fetched again after a pause that grows, and what was refused when the alias has moved, or
        at once where somebody calls.
        """
        try:
            named = self._champions.named()
        except Exception as error:  # the registry may be down for hours: what answers does so without it
            self._miss(words_of(error))
            return
        if named is None or named == (self._served.version, self._served.mark):
            self._refused, self._missed, self._silent = None, None, False
            self._tell("same", "")
            return
        waits = named == self._missed and time.monotonic() < self._again
        if not called and (waits or named == self._refused):
            return
        try:
            with self._champions.opened(named) as opened:
                require_alike(self._served, opened)
                opened.answer(read_records(opened.contract, [opened.contract.example], "mark"))  # the first one is slow
                self._swap(opened)
        except (TrackingError, OSError) as error:
            self._put_off(named)
            self._miss(words_of(error))
        except Exception as error:
            self._tell("refused", f"version {named.version}: {words_of(error)}")
            self._log.warning("version %s does not answer: %s", named.version, words_of(error))
            if isinstance(error, Refused):  # its gate may pass it yet, and the alias stays where it is
                self._put_off(named)
            else:
                self._refused = named
        else:
            self._log.info("version %s answers", opened.version)
            self._served, self._refused, self._missed, self._silent = opened, None, None, False
            self._tell("swapped", "")

    def _put_off(self, named: Named) -> None:
        self._pause = min(2 * self._pause, _LONGEST_PAUSE) if named == self._missed else _FIRST_PAUSE
        self._missed = named
        self._again = time.monotonic() + self._pause

    def _miss(self, words: str) -> None:
        self._tell("unreachable", words)
        if not self._silent:  # once, until it is there again
            self._log.warning("version %s goes on answering: %s", self._served.version, words)
        self._silent = True


def require_alike(before: ServedModel | Known, after: ServedModel) -> None:
    """See that clients may send to one what they send to the other.

    Raises
    ------
    ContractError
        A column has another name, type or place, or another kind of answer comes.
    """
    for what, of in (
        ("columns", lambda one: [(column.name, column.type, column.unit) for column in one.contract.columns]),
        ("target", lambda one: (one.contract.target.name, one.contract.task, one.contract.target.unit)),
    ):
        if of(before) != of(after):
            raise ContractError(f"it has other {what} than the version that answers", "Start the API again to serve it")


def words_of(error: Exception) -> str:
    """What may be told of an error: another's message may repeat a value."""
    return error.what if isinstance(error, KitError) else type(error).__name__
