"""`Retention`: how long predictions are kept, and how one record is erased for good, with the proof of it.

What is older than `feedback.keep_days` goes to Parquet files, a day each, and from there after `feedback.archive_days`.
A file is whole before its rows leave the log: whoever is stopped in between does it again.
"""

import hashlib
import json
from contextlib import ExitStack
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sqlalchemy import Connection, delete, func, insert, select, text, update

from starterkit.errors import DataError, Refused
from starterkit.feedback.blocks import ERASED, Schema
from starterkit.feedback.predictions import PredictionLog
from starterkit.feedback.tables import (
    events,
    first_id,
    labels,
    micros,
    now,
    predictions,
    record_keys,
    refusals,
    shadows,
)
from starterkit.files import whole_file

_DAY = timedelta(days=1)
_TELLING = 8


class Pruned(NamedTuple):
    """What one pruning did: rows that went, files that were written, files that were too old."""

    rows: int
    written: tuple[Path, ...]
    removed: tuple[Path, ...]


class Erased(NamedTuple):
    """What was erased of one record, and where its key and cells were looked for afterwards."""

    predictions: int
    labels: int
    archived: int
    searched: tuple[str, ...]
    digest: str
    """SHA-256 of the key, by which the proof in the log is found again by who knows the key."""


class Retention:
    """Prunes and erases."""

    def __init__(self, log: PredictionLog) -> None:
        self._log = log
        self._archive = log.folder / "archive"

    # --- By age.

    def prune(self, today: date | None = None) -> Pruned:
        """Move whole days that are too old to Parquet, and remove files that are too old for that, too.

        Raises
        ------
        LogUnavailable
        OSError
            The disk is full: nothing has left the log that is not in a file.
        """
        today = today or datetime.now(UTC).date()
        until = today - timedelta(days=self._log.settings.keep_days)
        rows, written = 0, list[Path]()
        while (day := self._oldest()) is not None and day < until:
            count, files = self._move(day)
            rows += count
            written += files
        oldest = until - timedelta(days=self._log.settings.archive_days)
        removed = [file for file in sorted(self._archive.glob("????-??-??*.parquet")) if _day_of(file) < oldest]
        for file in removed:
            file.unlink()
        with self._log.connection() as connection:
            connection.execute(delete(refusals).where(refusals.c.time < _start(until)))
        return Pruned(rows, tuple(written), tuple(removed))

    def _oldest(self) -> date | None:
        with self._log.connection() as connection:
            first = connection.execute(select(func.min(predictions.c.time))).scalar()
        return None if first is None else datetime.fromtimestamp(first / 1e6, UTC).date()

    def _move(self, day: date) -> tuple[int, list[Path]]:
        start, end = (datetime.combine(one, time(), UTC) for one in (day, day + _DAY))
        written = self._write(day, start, end) if self._log.settings.archive_days else []
        low, high = first_id(micros(start)), first_id(micros(end))
        with self._log.connection() as connection:
            within = select(func.sum(predictions.c.rows)).where(predictions.c.id >= low, predictions.c.id < high)
            rows = int(connection.execute(within).scalar() or 0)
            for table in (labels, record_keys, shadows, predictions):
                connection.execute(delete(table).where(table.c.id >= low, table.c.id < high))
            said = json.dumps({"day": day.isoformat(), "rows": rows, "files": [one.name for one in written]})
            _tell(connection, "pruned", micros(end), said)
        return rows, written

    def _write(self, day: date, start: datetime, end: datetime) -> list[Path]:
        """One file for each shape that rows have on that day: versions may take other columns."""
        import pyarrow.parquet as pq

        self._archive.mkdir(parents=True, exist_ok=True)
        writers: dict[Any, Any] = {}
        written, before = list[Path](), self._complete(day, end)
        with ExitStack() as files:
            for batch in self._log.iterate(start, end):
                if batch.schema not in writers:
                    number = before + len(writers)
                    written.append(self._archive / f"{day.isoformat()}{f'.{number}' if number else ''}.parquet")
                    file = files.enter_context(whole_file(written[-1]))
                    writer = pq.ParquetWriter(file, batch.schema, compression="zstd")
                    writers[batch.schema] = files.enter_context(writer)
                writers[batch.schema].write_batch(batch)
        return written

    def _complete(self, day: date, end: datetime) -> int:
        """How many files of a day are whole: a clock that jumped back fills it again. Others were left by a stop."""
        told = select(func.count()).where(events.c.kind == "pruned", events.c.until == micros(end))
        with self._log.connection() as connection:
            is_told = connection.execute(told).scalar()
        return len([*self._archive.glob(f"{day.isoformat()}*.parquet")]) if is_told else 0

    # --- One record.

    def erase(self, key: str) -> Erased:
        """Erase a record's inputs, answers, labels and key, in the log and its archive, and see that they are gone.

        Raises
        ------
        DataError
            No prediction has this key, or the stage keeps none.
        Refused
            A part of it is still there.
        LogUnavailable
        """
        if self._log.key is None:
            raise DataError(f"stage {self._log.stage} keeps no keys of records", "Erase by age: `feedback prune`")
        shown = self._log.key(key)
        digest = hashlib.sha256(key.encode()).hexdigest()
        cells: list[bytes] = []
        with self._log.connection() as connection:
            which = connection.execute(select(record_keys).where(record_keys.c.key == shown)).all()
            gone = 0
            for one in which:
                cells.append(self._blank(connection, one.id, one.row))
                connection.execute(delete(shadows).where(shadows.c.id == one.id))
                gone += connection.execute(
                    delete(labels).where(labels.c.id == one.id, labels.c.row == one.row)
                ).rowcount
            connection.execute(delete(record_keys).where(record_keys.c.key == shown))
            _tell(connection, "erased", now(), json.dumps({"key_digest": digest, "predictions": len(which)}))
        archived = self._erase_archived(shown)
        if not which and not archived:
            raise DataError("no prediction has this key", "Give it as it was sent to /predict")
        return Erased(len(which), gone, archived, self._prove(shown, cells), digest)

    def _blank(self, connection: Connection, request: bytes, row: int) -> bytes:
        """Overwrite one row of a block. What stood there comes back, to be looked for."""
        import msgspec

        kept = connection.execute(select(predictions).where(predictions.c.id == request)).one()
        schema: Schema = self._log.schema_of(connection, kept.schema)
        table = np.frombuffer(kept.block, np.float64).reshape(-1, schema.width).copy()
        before = table[row].tobytes()
        table[row] = ERASED
        texts = msgspec.msgpack.decode(kept.texts) if kept.texts else []
        for column in texts:
            if column:
                column[row] = None
        new = {"block": table.tobytes(), "texts": msgspec.msgpack.encode(texts) if kept.texts else None}
        connection.execute(update(predictions).where(predictions.c.id == request).values(new))
        return before

    def _erase_archived(self, shown: str) -> int:
        import pyarrow as pa
        import pyarrow.parquet as pq

        found = 0
        for file in sorted(self._archive.glob("*.parquet")):
            keys = pq.read_table(file, columns=["key"])["key"].to_pylist()
            if shown not in keys:
                continue
            found += keys.count(shown)
            kept = pq.read_table(file).filter(pa.array([one != shown for one in keys]))
            with whole_file(file) as new:
                pq.write_table(kept, new, compression="zstd")
        return found

    def _prove(self, shown: str, cells: list[bytes]) -> tuple[str, ...]:
        """Ask the tables again; of SQLite read the files' own bytes, too."""
        with self._log.connection() as connection:
            left = connection.execute(select(func.count()).where(record_keys.c.key == shown)).scalar()
        searched = [self._log.name]
        file = self._log.file
        if file is not None:
            with self._log.engine.connect() as connection:  # not in a transaction
                busy = connection.execute(text("PRAGMA wal_checkpoint(TRUNCATE)")).one()[0]
                others = select(func.count()).select_from(predictions)
                own = [
                    one
                    for one in cells
                    if not connection.execute(others.where(func.instr(predictions.c.block, one) > 0)).scalar()
                ]
            telling = [shown.encode()] if len(shown) >= _TELLING else []  # a short one stands somewhere by chance
            for part in (file, file.with_name(f"{file.name}-wal")):
                content = part.read_bytes() if part.exists() else b""
                left = (left or 0) + sum(one in content for one in (*telling, *own))
                searched.append(str(part))
            if left and busy:
                raise Refused("the log's journal is in use, and may still hold the record", "Give the command again")
        if left:
            raise Refused("a part of the record is still in the log", "Give the command again; keep this message")
        return tuple(searched)


def _tell(connection: Connection, kind: str, until: int, content: str) -> None:
    connection.execute(insert(events).values(time=now(), kind=kind, until=until, content=content))


def _start(day: date) -> int:
    return micros(datetime.combine(day, time(), UTC))


def _day_of(file: Path) -> date:
    return date.fromisoformat(file.name[:10])
