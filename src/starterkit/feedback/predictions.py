"""`PredictionLog`: the database that predictions, their labels and refused requests are kept in, and how it is read.

A row of the table is a request: its id begins with its time, and its rows stand in one block (`blocks.py`). SQLite in
WAL mode, where no server is needed, or PostgreSQL. See docs/decisions/0030-prediction-log.md.
"""

import json
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection, Engine, create_engine, delete, event, func, insert, make_url, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool

from starterkit.errors import KitError, UserError, first_line
from starterkit.feedback.blocks import ERASED, Encoder, Schema, key_treatment, read_texts
from starterkit.feedback.tables import (
    ID_BYTES,
    events,
    first_id,
    labels,
    micros,
    newest_labels,
    now,
    predictions,
    record_keys,
    refusals,
    schemas,
    shadows,
)
from starterkit.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa

    from starterkit.serving.predictor import ServedModel
    from starterkit.serving.shadow import Heard

_SECONDS_TO_CONNECT = 3
_SECONDS_FOR_OTHERS = 5
"""How long a writer waits for another process's group in SQLite, which has one writer at a time."""
_PAGES_IN_WAL = 16_000
"""64 MB: so many a commit carries into the file where nobody did it beside it (`checkpoint`)."""
_ROWS_AT_ONCE = 65_536
_FIRST_REQUESTS = 256


class LogUnavailable(KitError):
    """The prediction log cannot be reached, or not be written."""


# --- Opening it.


class PredictionLog:
    """Opens the log of a stage, and brings its tables up to date.

    Raises
    ------
    LogUnavailable
        It cannot be reached, or not be written: of each method that asks the database.
    UserError
        The driver of its database is not installed, or the address is none.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings.feedback
        self.stage = settings.stage
        self.privacy = settings.privacy
        self.key = key_treatment(settings.stage, settings.privacy)
        self.folder = settings.root / "state" / settings.stage
        self.engine = _engine(settings, self.folder)
        self._schemas: dict[int, Schema] = {}
        self._ready = False
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """Where it is, without a password."""
        return self.engine.url.render_as_string(hide_password=True)

    @property
    def is_sqlite(self) -> bool:
        return self.engine.dialect.name == "sqlite"

    @property
    def file(self) -> Path | None:
        return Path(str(self.engine.url.database)) if self.is_sqlite else None

    @contextmanager
    def connection(self) -> Generator[Connection, None, None]:
        """A transaction over tables that are there."""
        try:
            self.prepare()
            with self.engine.begin() as connection:
                yield connection
        except DBAPIError as error:
            raise unavailable(self.name, error) from error

    def prepare(self, again: bool = False) -> None:
        """Make the tables, or bring them up to date, once; or again, where it may be another database.

        Raises
        ------
        NewerLog
            A newer version of the kit wrote it.
        """
        with self._lock:
            if self._ready and not again:
                return
            try:
                if self.file is not None:
                    self.file.parent.mkdir(parents=True, exist_ok=True)
                from starterkit.feedback.migrations import upgrade

                upgrade(self.engine)
            except (DBAPIError, OSError) as error:
                raise unavailable(self.name, error) from error
            self._ready = True

    def checkpoint(self) -> None:
        """Carry what SQLite's write-ahead log holds into its file, while others go on writing; they say what fails."""
        with suppress(DBAPIError, self.engine.dialect.loaded_dbapi.Error), self.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA wal_checkpoint(PASSIVE)")

    # --- Reading it.

    def iterate(self, start: datetime, end: datetime) -> "Iterator[pa.RecordBatch]":
        """Predictions from `start` to before `end` in the order of time, at most some 65,000 rows at once.

        A batch is of one version and has the columns ``id`` (of the request, and 4 bytes of the row), ``time``,
        ``version``, ``stage``, ``key``, ``latency`` (seconds), ``caller``; each input under its contract's name,
        ``prediction`` and the numbers behind it (``probability.yes``); and ``label``: null where none has come, the
        newest where one was corrected. An input that is called as one of the others is ``input.…``.
        """
        within = select(predictions).where(predictions.c.id < first_id(micros(end))).order_by(predictions.c.id)
        left, requests = predictions.c.id >= first_id(micros(start)), _FIRST_REQUESTS
        while True:
            page = within.where(left).limit(requests)
            with self.connection() as connection:
                found = connection.execute(page).all()
                if not found:
                    return
                ends = found[0].id, found[-1].id
                named = connection.execute(select(record_keys).where(record_keys.c.id.between(*ends)))
                keys = {(one.id, one.row): one.key for one in named}
                told = newest_labels(connection, labels.c.id.between(*ends))
                known = {number: self.schema_of(connection, number) for number in {one.schema for one in found}}
            for number, schema in known.items():
                yield from _batch(schema, [one for one in found if one.schema == number], keys, told)
            left = predictions.c.id > found[-1].id
            requests = max(1, _ROWS_AT_ONCE * len(found) // max(1, sum(one.rows for one in found)))

    def refused(self, start: datetime, end: datetime) -> dict[tuple[str, str], int]:
        """How often requests were refused for a reason, by it and its column (empty where it is none's).

        Without a reason stands how many requests were refused: one of them may have many.
        """
        total = func.sum(refusals.c.count)
        asked = select(refusals.c.reason, refusals.c.column, total).group_by(refusals.c.reason, refusals.c.column)
        asked = asked.where(refusals.c.time >= micros(start), refusals.c.time < micros(end))
        with self.connection() as connection:
            return {(reason, column): int(count) for reason, column, count in connection.execute(asked)}

    # --- What the monitor saw last, for who asks the API.

    def keep_window(self, model: str, content: Mapping[str, Any], end: datetime) -> None:
        """In place of the window of this model before."""
        kind, said = f"watched {model}", json.dumps(content)
        with self.connection() as connection:
            connection.execute(delete(events).where(events.c.kind == kind))
            connection.execute(insert(events).values(time=now(), kind=kind, until=micros(end), content=said))

    def last_window(self, model: str) -> Mapping[str, Any] | None:
        """What was kept, with its ``end`` in seconds since 1970."""
        newest = select(events.c.content, events.c.until).where(events.c.kind == f"watched {model}")
        with self.connection() as connection:
            found = connection.execute(newest.order_by(events.c.number.desc()).limit(1)).first()
        return None if found is None else {**json.loads(found.content), "end": found.until / 1e6}

    def schema_of(self, connection: Connection, number: int) -> Schema:
        if number not in self._schemas:
            content = connection.execute(select(schemas.c.content).where(schemas.c.id == number)).scalar()
            if content is None:  # restored from a backup that is older than the version
                hint = "Ask the API for a prediction, which writes them again"
                raise LogUnavailable(f"the prediction log {self.name} lacks the columns of some of its rows", hint)
            self._schemas[number] = Schema.from_json(content)
        return self._schemas[number]


OWN = ("id", "time", "version", "stage", "key", "latency", "caller", "prediction", "label")
"""Columns that are the log's own."""


def _batch(
    schema: Schema,
    found: list[Any],
    keys: Mapping[tuple[bytes, int], str],
    told: Mapping[tuple[bytes, int], float],
) -> "Iterator[pa.RecordBatch]":
    """The rows of some requests of one schema, with keys and labels by id and row; none where all were erased."""
    import pyarrow as pa

    counts = np.array([one.rows for one in found])
    total = int(counts.sum())
    numbers = b"".join([one.block for one in found])
    free = sum(field.is_free_text for field in schema.inputs)
    texts = read_texts([(one.rows, one.texts) for one in found], free) if free else None
    owner = np.repeat(np.arange(len(found)), counts)
    row = np.arange(total) - np.repeat(np.cumsum(counts) - counts, counts)
    ids = np.empty((total, ID_BYTES + 4), np.uint8)
    ids[:, :ID_BYTES] = np.frombuffer(b"".join([one.id for one in found]), np.uint8).reshape(-1, ID_BYTES)[owner]
    ids[:, ID_BYTES:] = row.astype(">u4").view(np.uint8).reshape(-1, 4)
    fixed = pa.binary(ID_BYTES + 4)
    callers = pa.array([one.caller for one in found]).dictionary_encode()
    answered = schema.decode(numbers, texts)
    columns: dict[str, pa.Array] = {
        "id": pa.FixedSizeBinaryArray.from_buffers(fixed, total, [None, pa.py_buffer(ids.tobytes())]),
        "time": pa.array(np.array([one.time for one in found])[owner], pa.timestamp("us", "UTC")),
        "version": _same(schema.version, total),
        "stage": _same(schema.stage, total),
        "key": pa.array([keys.get((one.id, row)) for one in found for row in range(one.rows)], pa.string())
        if keys
        else pa.nulls(total, pa.string()),
        "latency": pa.array(np.array([one.latency for one in found])[owner] / 1e6),
        "caller": callers.take(pa.array(owner)),
    }
    clear = {name: f"input.{name}" for name in (field.name for field in schema.inputs) if name in OWN}
    inputs = len(schema.inputs)
    for place, (name, values) in enumerate(answered.items()):
        columns[clear.get(name, name) if place < inputs else name] = values
    given = np.full(total, np.nan)
    if told:
        offsets = dict(zip((one.id for one in found), np.cumsum(counts) - counts, strict=True))
        for (request, at), value in told.items():
            if request in offsets:
                given[offsets[request] + at] = value
    columns["label"] = schema.answers(given)
    batch = pa.RecordBatch.from_arrays([*columns.values()], names=[*columns])
    kept = np.frombuffer(numbers, np.float64).reshape(total, -1)[:, inputs] != ERASED
    if kept.all():
        yield batch
    elif kept.any():
        yield batch.filter(pa.array(kept))


def _same(text: str, count: int) -> "pa.Array":
    import pyarrow as pa

    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(count, np.int32)), pa.array([text]))


# --- The engine of each database.


def _engine(settings: Settings, folder: Path) -> Engine:
    feedback = settings.feedback
    address = feedback.database or f"sqlite:///{folder / 'predictions.db'}"
    try:
        url = make_url(address)
        if url.get_backend_name() == "sqlite":
            url = url.set(drivername="sqlite", database=str(settings.root / str(url.database)))
            given = {"timeout": _SECONDS_FOR_OTHERS, "check_same_thread": False}
            engine = create_engine(url, connect_args=given, poolclass=NullPool)  # the file may be another one by then
            synchronous = "FULL" if feedback.durability == "machine" else "NORMAL"

            @event.listens_for(engine, "connect")
            def _(connection: Any, _: Any) -> None:
                for said in (
                    "journal_mode=WAL",
                    f"synchronous={synchronous}",
                    "secure_delete=ON",  # what is deleted is overwritten
                    f"wal_autocheckpoint={_PAGES_IN_WAL}",
                ):
                    connection.execute(f"PRAGMA {said}")

            return engine
        password = feedback.password.get_secret_value() if feedback.password else None  # None changes nothing
        url = url.set(drivername="postgresql+psycopg", password=password)
        return create_engine(url, connect_args={"connect_timeout": _SECONDS_TO_CONNECT}, pool_pre_ping=True)
    except ModuleNotFoundError as error:
        hint = f"Install the extra `postgres` ({error.name})"
        raise UserError("feedback.database is a PostgreSQL, whose driver is not installed", hint) from None
    except (ArgumentError, NoSuchModuleError):
        hint = "Write sqlite:///file or postgresql://user@host/name"
        raise UserError("feedback.database is no address of a database", hint) from None


def unavailable(name: str, error: Exception) -> LogUnavailable:
    """In one line, without a value of any row."""
    reason = first_line(error.orig if isinstance(error, DBAPIError) and error.orig is not None else error)
    hint = "Start its database, or free its disk; `starterkit config show` says where it is set"
    return LogUnavailable(f"the prediction log {name} cannot be used: {reason[:200]}", hint)


# --- What a challenger in the shadow says is kept beside it.


class ShadowRecorder:
    """Keeps the answers of one challenger, in transactions of its own; the inputs are kept with the champion's."""

    def __init__(self, log: PredictionLog, served: "ServedModel") -> None:
        self._log = log
        self._schema = schema = Schema.of(served.contract, served.version, log.stage, log.privacy, served.name)
        self._encode = Encoder(schema).encode
        self._insert = (sqlite if log.is_sqlite else postgresql).insert
        self._is_known = False

    def write(self, heard: "Sequence[Heard]") -> None:
        """Keep it, but for requests that were erased or pruned while it was said.

        Raises
        ------
        LogUnavailable
        """
        if not heard:
            return
        rows = {one["id"]: one for one in map(self._row, heard)}
        with self._log.connection() as connection:
            if not self._is_known:
                one = self._schema
                said = {"model": one.model, "version": one.version, "stage": one.stage, "content": one.to_json()}
                connection.execute(self._insert(schemas).values(id=one.id, **said).on_conflict_do_nothing())
            connection.execute(self._insert(shadows).on_conflict_do_nothing(), [*rows.values()])
        asked = select(predictions.c.id, predictions.c.block).where(predictions.c.id.in_(rows))
        with self._log.connection() as connection:  # later: an erasure from now on finds what stands there
            for one in connection.execute(asked):
                if ERASED not in np.frombuffer(one.block):
                    del rows[one.id]
        if rows:
            with self._log.connection() as connection:
                connection.execute(delete(shadows).where(shadows.c.id.in_(rows)))
        self._is_known = True

    def _row(self, heard: "Heard") -> dict[str, Any]:
        block, place = self._encode(heard.table, heard.prediction), len(self._schema.inputs)
        answers = np.frombuffer(block.numbers, np.float64).reshape(block.rows, -1)[:, place:].tobytes()
        return {
            "id": bytes.fromhex(heard.request.decode()),
            "schema": self._schema.id,
            "answers": answers,
            "latency": int(heard.seconds * 1e6),
        }
