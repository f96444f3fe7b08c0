"""`Shadow`: a challenger is given the rows that the champion has answered. Its answers are kept, and nobody gets them.

It opens and scores on a thread of its own, after the answer was said. See docs/feedback.md.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple, Protocol

import numpy as np

from starterkit.contract import Prediction
from starterkit.errors import KitError
from starterkit.serving.follower import require_alike
from starterkit.serving.graph import Table
from starterkit.serving.predictor import ServedModel

_MOST_WAITING = 1_024
_MOST_ROWS = 65_536
_SECONDS_BETWEEN = 0.1
"""It looks so often: to be woken by each request would hold up the thread that answers."""


class ShadowRecorder(Protocol):
    """Keeps what the challenger said: `feedback.writer`, which is given and not imported."""

    def shadow(self, request: bytes, table: Table, prediction: Prediction, seconds: float) -> None: ...


class _Asked(NamedTuple):
    request: bytes
    table: Table
    rows: int


class Shadow:
    """Scores what was answered.

    Parameters
    ----------
    served
        The model that answers: the challenger has to take the same rows.
    opened
        Opens the challenger.
    record
        What keeps its answers.
    tell
        Counts requests by what became of them: `scored`, `failed`, `dropped`.
    """

    def __init__(
        self,
        served: ServedModel,
        opened: Callable[[], ServedModel],
        record: Callable[[ServedModel], ShadowRecorder],
        tell: Callable[[str, int], None],
    ) -> None:
        self._served, self._opened, self._record, self._tell = served, opened, record, tell
        self._waiting: deque[_Asked] = deque()
        self._rows = 0
        self._version: bytes | None = None
        self._has_failed = False
        self._log = logging.getLogger("uvicorn.error")
        for outcome in ("scored", "failed", "dropped"):
            tell(outcome, 0)
        threading.Thread(target=self._follow, name="shadow", daemon=True).start()

    def take(self, request: bytes, table: Table, version: bytes) -> None:
        """Score these rows later; on the event loop. When the challenger itself answers, nothing is compared."""
        if version == self._version:
            return
        rows = len(table) if isinstance(table, np.ndarray) else len(next(iter(table.values()), ()))
        if self._version is None or len(self._waiting) >= _MOST_WAITING or self._rows + rows > _MOST_ROWS:
            self._tell("dropped", 1)
            return
        self._rows += rows
        self._waiting.append(_Asked(request, _copied(table), rows))

    def _follow(self) -> None:
        try:
            challenger = self._opened()
            require_alike(self._served, challenger)
            recorder = self._record(challenger)
        except Exception as error:  # whatever it is, it is the shadow's alone
            self._log.warning("no shadow: %s", _words(error))
            return
        self._log.info("version %s is scored beside the champion", challenger.version)
        self._version = challenger.version.encode("ascii", "replace")
        while True:
            time.sleep(_SECONDS_BETWEEN)
            while self._waiting:
                asked = self._waiting.popleft()
                self._score(challenger, recorder, asked)
            self._rows = 0 if not self._waiting else self._rows

    def _score(self, challenger: ServedModel, recorder: ShadowRecorder, asked: _Asked) -> None:
        began = time.perf_counter()
        try:
            prediction = challenger.answer(asked.table).prediction
            recorder.shadow(asked.request, asked.table, prediction, time.perf_counter() - began)
        except Exception as error:
            self._tell("failed", 1)
            if not self._has_failed:  # once: the count says how often
                self._log.warning("the shadow, version %s, fails: %s", challenger.version, _words(error))
            self._has_failed = True
        else:
            self._tell("scored", 1)


def _copied(table: Table) -> Table:
    """The request's memory is not held: its connection goes on with it."""
    return {name: one.copy() for name, one in table.items()} if isinstance(table, Mapping) else table.copy()


def _words(error: Exception) -> str:
    return error.what if isinstance(error, KitError) else type(error).__name__
