"""`Batcher`: rows of several requests in one call of the graph, where that changes no bit of an answer.

What a small request costs is mostly the call, not its row. Nobody waits for a batch to fill: it is what came within
one turn of the event loop. See docs/decisions/0033-batching.md.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeGuard

import numpy as np
from numpy.typing import NDArray

from starterkit.contract import Prediction
from starterkit.serving.graph import Table
from starterkit.serving.predictor import Answered, ServedModel

Matrix = NDArray[np.float64]
Done = Callable[[Answered | Exception, float], None]
"""Is given the answer, or why there is none, and the seconds that went into it."""


class _Waiting(NamedTuple):
    table: Matrix
    done: Done


class Batcher:
    """Answers requests of one model by the turn of the event loop."""

    def __init__(self, served: ServedModel) -> None:
        self._served = served
        self.most_rows = served.predictor.most_alike
        """Of one call."""
        self._waiting: list[_Waiting] = []

    def takes(self, table: Table) -> TypeGuard[Matrix]:
        """Whether rows are few enough that the call is what they cost."""
        return isinstance(table, np.ndarray) and 2 * len(table) <= self.most_rows

    def add(self, table: Matrix, done: Done) -> None:
        """Answer n rows at the end of this turn."""
        if not self._waiting:
            asyncio.get_running_loop().call_soon(self._answer_all)
        self._waiting.append(_Waiting(table, done))

    def _answer_all(self) -> None:
        waiting, self._waiting = self._waiting, []
        batch: list[_Waiting] = []
        rows = 0
        for one in waiting:
            if batch and rows + len(one.table) > self.most_rows:
                self._answer(batch)
                batch, rows = [], 0
            batch.append(one)
            rows += len(one.table)
        self._answer(batch)

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        began = time.perf_counter()
        whole = self._together(batch) if len(batch) > 1 else None
        if whole is None:
            for table, done in batch:
                self._alone(table, done)
            return
        seconds, start = (time.perf_counter() - began) / len(whole.values), 0
        for table, done in batch:
            rows = slice(start, start := start + len(table))
            done(Answered(whole.of_rows(rows), ()), seconds * len(table))

    def _together(self, batch: Sequence[_Waiting]) -> Prediction | None:
        """None where the rows of one of them fail: the others are not to hear of it."""
        try:
            return self._served.answer(np.concatenate([one.table for one in batch])).prediction
        except Exception:
            return None

    def _alone(self, table: Matrix, done: Done) -> None:
        began = time.perf_counter()
        try:
            outcome: Answered | Exception = self._served.answer(table)
        except Exception as error:
            outcome = error
        done(outcome, time.perf_counter() - began)
