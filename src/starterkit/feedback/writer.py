"""`Writer`: each prediction is in the log before it is answered, at the price of a part of a write.

The event loop gathers records. A thread writes all that have come by then in one statement, which is one transaction,
and wakes the loop once: group commit. While it writes, the next group gathers.
See docs/decisions/0030-prediction-log.md.
"""

import asyncio
import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from queue import SimpleQueue
from typing import Any, NamedTuple

from sqlalchemy import Table
from sqlalchemy.exc import DBAPIError

from starterkit.errors import KitError
from starterkit.feedback.blocks import Block, Encoder, Schema
from starterkit.feedback.labels import Labels
from starterkit.feedback.predictions import LogUnavailable, PredictionLog, unavailable
from starterkit.feedback.tables import now, predictions, record_keys, refusals, schemas
from starterkit.serving.predictor import ServedModel
from starterkit.settings import Settings

Done = Callable[[KitError | None], None]
"""Called on the event loop when a record is durable, or with why it is not."""

_MOST_AT_ONCE = 256
_MOST_BYTES = 8_000_000
_MOST_WAITING = 8_192
_SECONDS_BETWEEN_TRIES = 0.5
_SECONDS_BETWEEN = 5.0
_SECONDS_OF_REFUSALS = 1.0
_SECONDS_TO_END = 10
_SECONDS_BETWEEN_CHECKPOINTS = 1.0
"""Of SQLite's file. Left to the commits, each some thousandth one takes the time of a disk, and who asked waits."""
_SECONDS_OF_A_JUMP = 1
"""By less a clock is set right as a matter of course."""


class Record(NamedTuple):
    """A request that was answered: a row of the table, and the keys of its rows where it has some."""

    id: bytes
    time: int
    schema: int
    rows: int
    block: bytes
    texts: bytes | None
    latency: int
    caller: str


class _Waiting(NamedTuple):
    record: Record
    keys: Sequence[str]
    done: Done


class _Group(NamedTuple):
    waiting: Sequence[_Waiting]
    refused: Sequence[tuple[int, int, str, str, int]] = ()


class Writer:
    """Writes what is answered, from one thread of its own.

    `tell` is given the number of predictions that were answered and are lost, where the stage prefers that to a 503.
    """

    def __init__(self, log: PredictionLog, tell: Callable[[int], None]) -> None:
        self._log, self._tell, self.window = log, tell, log.last_window
        self._answers = log.settings.when_lost == "answer"
        self._schemas: dict[int, Schema] = {}
        self._waiting: list[_Waiting] = []
        self._refused: Counter[tuple[int, str, str]] = Counter()
        self._groups: SimpleQueue[_Group | None] = SimpleQueue()
        self._is_busy = self._is_called = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._database = _Database(log, self._schemas)
        work = {"prediction-log": self._write_groups}
        if log.is_sqlite:
            work["prediction-log-file"] = self._keep_file
        self._threads = [threading.Thread(target=one, name=name, daemon=True) for name, one in work.items()]
        self._told, self._seen = 0.0, 0
        self._has_written, self._ends = False, threading.Event()

    @classmethod
    def open(cls, settings: Settings, tell: Callable[[int], None], warn: Callable[[str], None]) -> "Writer":
        """Of a stage's log. A database that is down may come back: `warn` is told what becomes of requests until then.

        Raises
        ------
        NewerLog, UserError
            It will not be mended by waiting.
        """
        log = PredictionLog(settings)
        try:
            log.prepare()
        except LogUnavailable as error:
            fate = "not answered" if log.settings.when_lost == "refuse" else "answered and not recorded"
            warn(f"Until this is mended, requests are {fate}: {error}")
        return cls(log, tell)

    @property
    def name(self) -> str:
        return self._log.name

    def of(self, served: ServedModel) -> "Recorder":
        """What keeps the answers of one version."""
        log = self._log
        schema = Schema.of(served.contract, served.version, log.stage, log.privacy, served.name)
        self._schemas[schema.id] = schema
        return Recorder(self, schema, log.key)

    def label(self, model: str, items: Sequence[object], caller: str) -> Mapping[str, int]:
        """Labels of a model's predictions: see `Labels.add`. From a thread."""
        return Labels(self._log, model).add(items, caller)._asdict()

    # --- On the event loop.

    def add(self, record: Record, keys: Sequence[str], done: Done) -> None:
        """Keep a record; `done` is called once it is durable, or could not be made so."""
        if len(self._waiting) >= _MOST_WAITING:
            self._answer(done, LogUnavailable(f"{_MOST_WAITING} predictions wait for the log", "Send fewer at once"))
            return
        self._waiting.append(_Waiting(record, keys, done))
        if not self._is_busy and not self._is_called:  # by then, all that came with this one have been added
            self._is_called = True
            self._here().call_soon(self._hand_over)

    def refuse(self, schema: int, reasons: Mapping[tuple[str, str], int]) -> None:
        """Count a request that was refused, and its reasons by column. It is written about once a second."""
        if not self._refused:
            self._here().call_later(_SECONDS_OF_REFUSALS, self._hand_over_refused)
        self._refused[schema, "", ""] += 1  # itself: it may have many reasons
        for (reason, column), count in reasons.items():
            self._refused[schema, reason, column] += count

    def _here(self) -> asyncio.AbstractEventLoop:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
            for thread in self._threads:
                thread.start()
        return self._loop

    def _hand_over(self) -> None:
        self._is_called = False
        if self._is_busy or not self._waiting:
            return
        count = _fitting(self._waiting[:_MOST_AT_ONCE])
        group, self._waiting = self._waiting[:count], self._waiting[count:]
        self._is_busy = True
        self._groups.put(_Group(group))

    def _hand_over_refused(self) -> None:
        counted, self._refused = self._refused, Counter()
        at = now()
        rows = [(at, *what, count) for what, count in counted.items()]
        if rows:
            self._groups.put(_Group((), rows))

    def _written(self, group: _Group, error: KitError | None) -> None:
        self._is_busy = False
        self._hand_over()  # first: it is written while these are answered
        for one in group.waiting:
            if error is None:
                one.done(None)
            else:
                self._answer(one.done, error, one.record.rows)

    def _answer(self, done: Done, error: KitError, rows: int = 1) -> None:
        if time.monotonic() - self._told > _SECONDS_BETWEEN:
            self._told = time.monotonic()
            fate = "answered and not recorded" if self._answers else "refused"
            logging.getLogger("uvicorn.error").error("predictions are %s: %s", fate, error.what)
        if self._answers:
            self._tell(rows)
        done(None if self._answers else error)

    def close(self) -> None:
        """Write what is left, when nobody asks any more."""
        if self._loop is not None:
            self._hand_over_refused()
            self._groups.put(None)
            self._ends.set()
            for thread in self._threads:
                thread.join(_SECONDS_TO_END)

    # --- On the thread.

    def _write_groups(self) -> None:
        while (group := self._groups.get()) is not None:
            self._see_clock()
            error = self._database.write(group)
            self._has_written = True
            if group.waiting and self._loop is not None:
                try:
                    self._loop.call_soon_threadsafe(self._written, group, error)
                except RuntimeError:  # the loop has ended: nobody waits
                    return
        self._database.close()

    def _keep_file(self) -> None:
        """On another thread, so that no commit has much to carry."""
        while not self._ends.wait(_SECONDS_BETWEEN_CHECKPOINTS):
            if self._has_written:
                self._has_written = False
                self._log.checkpoint()

    def _see_clock(self) -> None:
        """Say that it was put back: ids begin with their time, so later predictions come before earlier ones."""
        before, self._seen = self._seen, now()
        if (back := (before - self._seen) / 1e6) > _SECONDS_OF_A_JUMP:
            words = "the clock jumped back by %.0f seconds: predictions from now on come before those of that time"
            logging.getLogger("uvicorn.error").warning(words, back)


def _fitting(waiting: Sequence[_Waiting]) -> int:
    """How many of the first make a group: one, or as many as are not too many bytes."""
    total = 0
    for count, one in enumerate(waiting):
        total += len(one.record.block)
        if total > _MOST_BYTES:
            return max(1, count)
    return len(waiting)


class Recorder:
    """Keeps the answers of one version."""

    def __init__(self, writer: Writer, schema: Schema, key: Callable[[str], str] | None) -> None:
        self._writer, self._schema, self._key = writer, schema.id, key
        self.encode = Encoder(schema).encode

    def add(
        self, request: bytes, block: Block, seconds: float, caller: str, done: Done, keys: Sequence[str] = ()
    ) -> None:
        """Keep the answer to a request, which has its id in hex and took so many seconds."""
        made = bytes.fromhex(request.decode())
        at = int.from_bytes(made[:6], "big") * 1000
        record = Record(made, at, self._schema, block.rows, block.numbers, block.texts, int(seconds * 1e6), caller)
        shown = [self._key(one) for one in keys] if keys and self._key else ()
        self._writer.add(record, shown, done)

    def refuse(self, reasons: Mapping[tuple[str, str], int]) -> None:
        self._writer.refuse(self._schema, reasons)


# --- The driver's own connection: SQLAlchemy's would cost as much as the write.


class _Database:
    """Writes groups, and comes back when the database does."""

    def __init__(self, log: PredictionLog, known: Mapping[int, Schema]) -> None:
        self._log, self._schemas = log, known
        self._written: dict[int, float] = {}
        self._pooled: Any = None
        self._connection: Any = None
        self._inode: int | None = None
        self._next_try = 0.0
        self._last: KitError | None = None
        driver = log.engine.dialect
        self._mark, self._blob = ("?", "?") if log.is_sqlite else ("%s", "%b")
        self._error: type[Exception] = driver.loaded_dbapi.Error
        self._statements: dict[int, str] = {}

    def write(self, group: _Group) -> KitError | None:
        """One transaction; why it is not written, if it is not."""
        if self._last is not None and time.monotonic() < self._next_try:
            return self._last
        try:
            self._write(group)
            self._last = None
        except KitError as error:
            self._fail(error)
        except (self._error, OSError) as error:
            self._fail(unavailable(self._log.name, error))
        except Exception as error:  # a fault of the kit's: who waits is told, and the next group is tried
            logging.getLogger("uvicorn.error").exception("the prediction log failed")
            self._fail(unavailable(self._log.name, error))
        return self._last

    def close(self) -> None:
        pooled, self._pooled, self._connection = self._pooled, None, None
        if pooled is not None:
            with suppress(self._error):
                pooled.invalidate()

    def _fail(self, error: KitError) -> None:
        self.close()
        self._last, self._next_try = error, time.monotonic() + _SECONDS_BETWEEN_TRIES

    def _write(self, group: _Group) -> None:
        is_old = self._connection is not None and not self._is_gone()
        if not is_old:
            self._connect()
        try:
            self._insert(group)
        except self._error:
            if not is_old or self._log.is_sqlite:
                raise
            self.close()  # the server may have been started again: what was written twice stands once
            self._connect()
            self._insert(group)

    def _is_gone(self) -> bool:
        """Whether another file has come into the place of SQLite's, as from a backup."""
        if self._inode is None:
            return False
        try:
            return os.stat(str(self._log.file)).st_ino != self._inode  # noqa: PTH116  # for each group
        except FileNotFoundError:
            return True

    def _connect(self) -> None:
        self.close()
        self._log.prepare(again=self._inode is not None)
        try:
            self._pooled = self._log.engine.raw_connection()
        except DBAPIError as error:
            raise unavailable(self._log.name, error) from error
        self._connection = connection = self._pooled.driver_connection
        assert connection is not None
        if self._log.is_sqlite:
            connection.isolation_level = None
            self._inode = os.stat(str(self._log.file)).st_ino  # noqa: PTH116
        else:
            connection.autocommit = True
        self._written.clear()

    def _insert(self, group: _Group) -> None:
        execute = self._connection.execute
        for number in {one.record.schema for one in group.waiting} | {row[1] for row in group.refused}:
            if time.monotonic() >= self._written.get(number, 0.0):
                self._write_schema(number)
        keys = [(one.record.id, row, key) for one in group.waiting for row, key in enumerate(one.keys)]
        is_several = bool(keys or group.refused)
        if is_several:
            execute("BEGIN")
        if group.waiting:
            values = list(chain.from_iterable([one.record for one in group.waiting]))
            execute(self._statement(len(group.waiting)), values)
        if is_several:
            self._insert_many(record_keys, keys)
            self._insert_many(refusals, group.refused)
            execute("COMMIT")

    def _statement(self, count: int) -> str:
        """All rows in one statement: with one for each, the thread would wait for the interpreter after each."""
        if count not in self._statements:
            names = [column.name for column in predictions.columns]
            marks = ", ".join(self._blob if name in ("id", "block", "texts") else self._mark for name in names)
            rows = ", ".join([f"({marks})"] * count)
            self._statements[count] = _insert(predictions.name, names, rows)
        return self._statements[count]

    def _insert_many(self, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
        if rows:
            names = [column.name for column in table.columns if column.name != "number"]  # which the database gives
            marks = ", ".join([self._mark] * len(names))
            self._connection.cursor().executemany(_insert(table.name, names, f"({marks})"), rows)

    def _write_schema(self, number: int) -> None:
        schema = self._schemas[number]
        row = (number, schema.model, schema.version, schema.stage, schema.to_json())
        self._insert_many(schemas, [row])
        self._written[number] = time.monotonic() + _SECONDS_BETWEEN  # a backup that was restored may lack it


def _insert(table: str, names: Sequence[str], rows: str) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    return f"INSERT INTO {table} ({quoted}) VALUES {rows} ON CONFLICT DO NOTHING"  # noqa: S608  # the tables' own names
