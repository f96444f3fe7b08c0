"""What a run keeps beside its destination until it is whole, so that the same command can go on after any end.

The folder ``.<destination>.partial`` holds the rows written so far and a journal: a small SQLite file, for SQLite
changes it whole or not at all, and its lock goes with the process that holds it.
"""

import json
import os
import shutil
import sqlite3
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from starterkit.errors import DataError
from starterkit.serving.batch.plan import Plan


@dataclass(frozen=True)
class Checkpoint:
    """How far a run came: `file` files are finished, and of the next one so much is read and written.

    `position` is the source's, `written` and `reasons` are bytes of the rows and of the side file, `rows` and `bad`
    count those of this file, `all_rows` and `all_bad` those of the files before it.
    """

    file: int = 0
    position: int = 0
    written: int = 0
    rows: int = 0
    bad: int = 0
    reasons: int = 0
    all_rows: int = 0
    all_bad: int = 0
    is_whole: bool = False


class PartialFolder:
    """The folder of a run, held by one process at a time.

    Raises
    ------
    DataError
        Another process writes the same destination, or the folder cannot be written.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self.folder = plan.destination.with_name(f".{plan.destination.name}.partial")
        self._journal = self.folder / "journal"
        is_new = not self._journal.exists()
        if is_new:
            plan.refuse_what_exists()
        self.folder.mkdir(exist_ok=True)
        self._database = sqlite3.connect(self._journal, timeout=0, isolation_level=None)
        try:
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute("BEGIN EXCLUSIVE")
            self._database.execute("CREATE TABLE IF NOT EXISTS kept (name TEXT PRIMARY KEY, value TEXT)")
            self._database.execute("COMMIT")
        except sqlite3.OperationalError as error:
            self._database.close()
            if "locked" in str(error) or not self._journal.exists():
                hint = "Wait until it is done, or name another destination"
                raise DataError(f"another process is writing {plan.destination}", hint) from None
            raise
        except sqlite3.DatabaseError:
            self._database.close()
            what = f"{self.folder}, which an earlier run left, is damaged"
            raise DataError(what, "Remove it, and give the command again") from None
        if not self._journal.exists():  # the other process was just done with it
            self._database.close()
            raise DataError(f"another process has just written {plan.destination}", "Name another destination")

    @property
    def rows(self) -> Path:
        """The file that grows."""
        return self.folder / "rows"

    @property
    def reasons(self) -> Path:
        """The side file that grows."""
        return self.folder / "reasons"

    @property
    def output(self) -> Path:
        """The folder of the files that are finished."""
        return self.folder / "output"

    def resume(self, identity: Mapping[str, Any], *, none_bad: bool) -> tuple[Checkpoint, str]:
        """How far an earlier run came that did the same work; where it did not, why this one begins anew.

        With `none_bad`, a run that put rows aside did other work.
        """
        stored = dict(self._database.execute("SELECT name, value FROM kept"))
        earlier, kept = json.loads(stored.get("identity", "{}")), Checkpoint(**json.loads(stored.get("kept", "{}")))
        changed = [name for name in identity if earlier and earlier.get(name) != identity[name]]
        changed += ["what to do with bad rows"] if none_bad and kept.bad + kept.all_bad else []
        is_same = bool(earlier) and not changed
        if is_same and kept.is_whole:
            return kept, ""
        self._plan.refuse_what_exists()
        if is_same and self._has(kept):
            return kept, ""
        self._clear()
        self.output.mkdir()
        self.keep(Checkpoint())
        self._set("identity", identity)
        lost = "what an earlier run left is incomplete" if is_same else ""
        return Checkpoint(), f"{' and '.join(changed)} changed" if changed else lost

    def keep(self, kept: Checkpoint) -> None:
        """Commit how far the run is. What it says to be written must be on the disk by now."""
        self._set("kept", asdict(kept))

    def publish(self) -> None:
        """Put what is whole where it belongs and remove the folder. Can be done again after any interruption."""
        plan = self._plan
        if self.reasons.exists():
            if self.reasons.stat().st_size:
                self.reasons.replace(plan.bad_rows)
            else:
                plan.bad_rows.unlink(missing_ok=True)
        if plan.is_folder and self.output.exists():
            earlier = self.folder / "earlier"
            if plan.destination.exists():
                plan.destination.rename(earlier)
            self.output.rename(plan.destination)
        elif self.output.exists() and (self.output / plan.names[0]).exists():
            (self.output / plan.names[0]).replace(plan.destination)
        self.remove()

    def remove(self) -> None:
        """Leave nothing behind. The journal goes last, for it knows whether the rest still matters."""
        self._clear()
        self._database.close()
        self._journal.unlink(missing_ok=True)
        with suppress(OSError):
            self.folder.rmdir()

    def close(self) -> None:
        """Let go of the folder; a run that comes later goes on."""
        self._database.close()

    def _has(self, kept: Checkpoint) -> bool:
        """Whether the disk holds what the journal says. After the machine itself went down it may not."""
        pairs = [(self.rows, kept.written), (self.reasons, kept.reasons)]
        finished = self.output / self._plan.names[kept.file] if kept.file < len(self._plan.names) else None
        if finished and finished.exists() and not self.rows.exists():
            finished.rename(self.rows)  # an earlier run ended before it could say that it had finished this file
        return all(size == 0 or (path.exists() and path.stat().st_size >= size) for path, size in pairs)

    def _clear(self) -> None:
        for path in list(self.folder.iterdir()):
            if path.name.startswith(self._journal.name):
                continue
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _set(self, name: str, value: Mapping[str, Any]) -> None:
        self._database.execute("REPLACE INTO kept VALUES (?, ?)", (name, json.dumps(value)))


class AppendFile:
    """A file that grows from a size that was kept. What stands behind it was written by a run that was ended."""

    def __init__(self, path: Path, size: int) -> None:
        self._file = path.open("ab")
        self._file.truncate(size)
        self.size = size

    def write(self, content: Any) -> None:
        self._file.write(content)
        self.size += len(memoryview(content))

    def flush(self) -> None:
        """See that all of it is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()
