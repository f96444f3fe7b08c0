"""`Shadow`: a challenger is given the rows that the champion has answered. Its answers are kept, and nobody gets them.

A process of its own opens and scores it (`Scorer`): one that is slow, eats memory or dies takes no answer along. See
docs/decisions/0030-prediction-log.md.
"""

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import NamedTuple, Protocol

from starterkit.contract import Contract, Prediction
from starterkit.serving.follower import Bell, Champions, Follower, Known, Named, words_of
from starterkit.serving.graph import Table, rows_of
from starterkit.serving.predictor import ServedModel

_MOST_WAITING = 1_024
_MOST_ROWS = 65_536
_AT_ONCE, _SECONDS_TO_MAKE_WAY = 16, 0.002
"""So many requests are handed over together. Then who answers has the interpreter: to send does not give it away."""
_KEPT_AT_ONCE = 128
"""So short is a transaction: while it is open, who answers cannot write to SQLite."""
_SECONDS_TO_KEEP = 2.0
_SECONDS_BETWEEN = 0.1
"""It looks so often: to be woken by each request would hold up the thread that answers."""
_FIRST_PAUSE, _LONGEST_PAUSE = 2.0, 300.0
_SECONDS_TO_END = 5


class Asked(NamedTuple):
    """A request that was answered: its id, and the rows as the model is given them."""

    request: bytes
    table: Table


class Heard(NamedTuple):
    """What a challenger said to a request, and in how many seconds."""

    request: bytes
    table: Table
    prediction: Prediction
    seconds: float


class ShadowRecorder(Protocol):
    """Keeps what one challenger said: `feedback.predictions`, which is given and not imported."""

    def write(self, heard: Sequence[Heard]) -> None: ...


class Told(NamedTuple):
    """What the process says: which version it scores, why none, and what became of how many requests since then."""

    version: str
    refused: str
    counts: Mapping[str, int]
    rests: bool = False


class Watch(Protocol):
    """Who counts, and shows what there is to see: the API's metrics."""

    def shadow(self, outcome: str, requests: int) -> None:
        """Requests by what became of them: `scored`, `failed`, `dropped`."""

    def show_shadow(self, version: str, refused: str) -> None:
        """Which version is scored, or why the one that should be is not."""


# --- In the process that answers.


class Shadow:
    """Hands over what was answered, and waits for nothing.

    Parameters
    ----------
    start
        Starts the process that scores, and says how it is spoken to.
    watch
        Who is told.
    """

    def __init__(self, start: Callable[[], tuple[Connection, BaseProcess]], watch: Watch) -> None:
        self._start, self._watch = start, watch
        self._waiting: deque[Asked] = deque()
        self._taken = self._given = self._sent = 0  # rows, rows, requests; each is changed by one thread alone
        self._version: bytes | None = None
        self._rests = False
        self._ends = threading.Event()
        self._told = Told("", "", {})
        self._log = logging.getLogger("uvicorn.error")
        for outcome in ("scored", "failed", "dropped"):
            watch.shadow(outcome, 0)
        threading.Thread(target=self._keep_on, name="shadow", daemon=True).start()

    def take(self, request: bytes, table: Table, version: bytes) -> None:
        """Let these rows be scored later; on the event loop. What the challenger answered itself is left out."""
        if self._rests or version == self._version:
            return
        rows = rows_of(table)
        is_full = len(self._waiting) >= _MOST_WAITING or self._taken - self._given + rows > _MOST_ROWS
        if self._version is None or is_full:
            self._watch.shadow("dropped", 1)
            return
        self._taken += rows
        self._waiting.append(Asked(request, _copied(table)))

    def close(self) -> None:
        """Nobody asks any more. What waits is not scored."""
        self._ends.set()

    def _keep_on(self) -> None:
        """Another process for each that ends, after a pause that grows while they do so soon."""
        pause = _FIRST_PAUSE
        while not self._ends.is_set():
            began = time.monotonic()
            connection, process = self._start()
            with suppress(EOFError, OSError):
                self._hand_over(connection)
            connection.close()
            process.join(_SECONDS_TO_END)
            if self._ends.is_set():
                return
            self._version = None
            self._watch.shadow("failed", self._sent)
            self._sent = 0
            pause = _FIRST_PAUSE if time.monotonic() - began > _LONGEST_PAUSE else pause
            words = f"its process ended with {process.exitcode}; another one starts in {pause:.0f} seconds"
            self._show(Told("", words, {}))
            self._ends.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _hand_over(self, connection: Connection) -> None:
        while not self._ends.wait(_SECONDS_TO_MAKE_WAY if self._waiting else _SECONDS_BETWEEN):
            while connection.poll():
                self._hear(connection.recv())
            asked = [self._waiting.popleft() for _ in range(min(_AT_ONCE, len(self._waiting)))]
            if asked:
                self._given += sum(rows_of(one.table) for one in asked)
                self._sent += len(asked)
                connection.send(asked)  # a slow challenger holds up this thread alone

    def _hear(self, told: Told) -> None:
        for outcome, count in told.counts.items():
            self._watch.shadow(outcome, count)
            self._sent -= count
        if told.counts and told.refused:
            self._log.warning("the shadow, version %s, fails: %s", told.version, told.refused)
        elif not told.counts:
            self._show(told)
        self._rests = told.rests
        self._version = told.version.encode("ascii", "replace") if told.version else None

    def _show(self, told: Told) -> None:
        if told[:2] != self._told[:2] and (told.version or told.refused):
            say, words = (
                (self._log.info, "version %s is scored in the shadow")
                if told.version
                else (self._log.warning, "no shadow: %s")
            )
            say(words, told.version or told.refused)
        self._told = told
        self._watch.show_shadow(told.version, told.refused)


def _copied(table: Table) -> Table:
    """The request's memory is not held: its connection goes on with it."""
    return {name: one.copy() for name, one in table.items()} if isinstance(table, Mapping) else table.copy()


# --- In the process of its own.


class Scorer:
    """Follows which version is the challenger, scores what comes, and has it kept.

    Parameters
    ----------
    connection
        To the process that answers.
    contract
        Of the champion: a challenger takes the same rows.
    challengers
        How the registry is asked.
    record
        What keeps the answers of one challenger.
    """

    def __init__(
        self,
        connection: Connection,
        contract: Contract,
        challengers: Champions,
        record: Callable[[ServedModel], ShadowRecorder],
    ) -> None:
        self._connection, self._record, self._challengers = connection, record, challengers
        self._follower = Follower(Known("", "", contract), self, self._use, self._looked)
        self._opened: tuple[ServedModel, ShadowRecorder] | None = None
        self._now: tuple[ServedModel, ShadowRecorder] | None = None
        self._is_named, self._has_failed = False, False
        self._last: Told | None = None
        self._speaking = threading.Lock()
        self._heard: list[Heard] = []
        self._by: tuple[ServedModel, ShadowRecorder] | None = None
        self._counts, self._failure, self._kept = Counter[str](), "", time.monotonic()
        self._writing = ThreadPoolExecutor(1, "shadow-log")
        self._writing.submit(int).result()  # its thread is there before the others stand back

    def run(self, seconds: float) -> None:
        """Score until the other side ends. Every so many seconds, or once where it is 0, see which version it is."""
        self._follower.start(seconds, Bell())
        with suppress(EOFError, OSError):
            while True:
                if self._connection.poll(_SECONDS_TO_KEEP):
                    self._score(self._connection.recv())
                if len(self._heard) >= _KEPT_AT_ONCE or time.monotonic() - self._kept > _SECONDS_TO_KEEP:
                    self._keep()
        with suppress(OSError):  # who would be told has ended
            self._keep()

    # What the follower asks, and says.

    def named(self) -> Named | None:
        found = self._challengers.named()
        self._is_named = found is not None
        return found

    def opened(self, wanted: Named) -> AbstractContextManager[ServedModel]:
        return self._challengers.opened(wanted)

    def _use(self, served: ServedModel) -> None:
        self._opened, self._has_failed = (served, self._record(served)), False

    def _looked(self, outcome: str, words: str) -> None:
        """One that is refused is not scored; where the registry does not answer, all stays as it is."""
        if outcome == "unreachable" and self._opened:
            return
        self._now = self._opened if self._is_named and outcome != "refused" and not words else None
        version = self._now[0].version if self._now else ""
        told = Told(version, words, {}, rests=not self._is_named and outcome == "same")
        if told != self._last:
            self._last = told
            self._say(told)

    def _say(self, told: Told) -> None:
        with self._speaking:
            self._connection.send(told)

    def _score(self, asked: Sequence[Asked]) -> None:
        if self._now is None:
            self._say(Told("", "", {"dropped": len(asked)}, rests=not self._is_named))
            return
        if self._by is not self._now:
            self._keep()
            self._by = self._now
        challenger = self._now[0]
        for request, table in asked:
            began = time.perf_counter()
            try:
                prediction = challenger.answer(table).prediction
                self._heard.append(Heard(request, table, prediction, time.perf_counter() - began))
            except Exception as error:  # whatever it is, it is the challenger's alone
                self._failure = words_of(error)
                self._counts["failed"] += 1

    def _keep(self) -> None:
        """Write what was heard, and say what became of it."""
        self._kept = time.monotonic()
        heard, self._heard = self._heard, []
        if self._by is None or not (heard or self._counts):
            return
        challenger, recorder = self._by
        try:
            self._writing.submit(recorder.write, heard).result()
            self._counts["scored"] += len(heard)
        except Exception as error:  # the log is down: who answers says so
            self._failure = words_of(error)
            self._counts["failed"] += len(heard)
        words = "" if self._has_failed else self._failure  # once: the count says how often
        self._has_failed = self._has_failed or bool(words)
        counts, self._counts, self._failure = self._counts, Counter(), ""
        self._say(Told(challenger.version, words, counts))
