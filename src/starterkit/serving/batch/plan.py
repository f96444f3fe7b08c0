"""Which files are read and written, each reason against it that is seen without reading, and how far it came."""

import json
import os
import shutil
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import unquote

from starterkit.errors import DataError

Kind = Literal["csv", "parquet", "arrow file", "arrow stream"]
BadRows = Literal["stop", "aside"]

KINDS: Mapping[str, Kind] = {
    ".csv": "csv",
    ".tsv": "csv",
    ".parquet": "parquet",
    ".arrow": "arrow file",
    ".feather": "arrow file",
    ".arrows": "arrow stream",
}
_PACKED = ".gz"
_NO_VALUE = "__HIVE_DEFAULT_PARTITION__"
_KNOWN = "Name a file that ends in " + ", ".join([*KINDS][:-1]) + f" or {[*KINDS][-1]}"


@dataclass(frozen=True)
class Plan:
    """A file to a file, or each file of a folder to one of the same name in another.

    Attributes
    ----------
    sources
        The files to read, in the order of their names.
    names
        What the file made of each of them is called.
    destination
        The file, or the folder, that appears when all rows are scored.
    overwrite
        Whether a destination that exists is replaced.
    """

    sources: tuple[Path, ...]
    names: tuple[str, ...]
    destination: Path
    is_folder: bool
    overwrite: bool = False

    @property
    def bad_rows(self) -> Path:
        """Where the reasons go why some rows could not be scored."""
        return self.destination.with_name(f"{self.destination.stem}.bad.csv")

    def refuse_what_exists(self) -> None:
        """See that nothing is replaced that should stay.

        Raises
        ------
        DataError
            The destination exists and may not be replaced, or is something else than what would replace it.
        """
        for path in (self.destination, self.bad_rows):
            if path.exists() and not self.overwrite:
                raise DataError(f"{path} exists already", "Add --overwrite, or name another destination")
        if self.destination.exists() and self.destination.is_dir() != self.is_folder:
            kind = "file" if self.is_folder else "folder"
            raise DataError(f"{self.destination} is a {kind}", "Name another destination")
        if self.is_folder and self.destination.is_dir():
            own = {Path(name).parts[0] for name in self.names}
            others = sorted({path.name for path in self.destination.iterdir()} - own)
            if others:
                what = f"{self.destination} holds something else: '{others[0]}'"
                raise DataError(what, "Name a new folder")


def plan_files(source: Path, destination: Path, *, overwrite: bool = False) -> Plan:
    """Pair files with the ones to be made of them.

    Raises
    ------
    DataError
        A name or a suffix is wrong, or a file is missing, empty or in the way.
    """
    if not source.exists():
        raise DataError(f"{source} does not exist", "Name another file or folder")
    if not destination.absolute().parent.is_dir():
        raise DataError(f"the folder of {destination} does not exist", "Make it, or name another")
    plan = (
        _plan_folder(source, destination, overwrite) if source.is_dir() else _plan_file(source, destination, overwrite)
    )
    read = {path.resolve() for path in plan.sources}
    if destination.resolve() in read | {source.resolve()}:
        raise DataError("source and destination are the same", "Name another destination")
    if plan.bad_rows.resolve() in read:
        raise DataError(f"{plan.bad_rows} would be overwritten with bad rows", "Name another destination")
    for path in plan.sources:
        if not path.is_file():
            raise DataError(f"{path} leads to no file", "Mend the link, or take it out of the folder")
        if path.stat().st_size == 0:
            raise DataError(f"{path} is empty", "Name another file, or take it out of the folder")
    return plan


def kind_of(path: Path) -> Kind:
    """What a file's suffix says that it is. A CSV file may be compressed."""
    name = path.name.lower()
    packed = name.endswith(_PACKED)
    kind = KINDS.get(Path(name.removesuffix(_PACKED)).suffix)
    if kind is None or (packed and kind != "csv"):
        raise DataError(f"{path} is of no known kind", _KNOWN)
    return kind


def is_packed(path: Path) -> bool:
    """Whether a file of that name is compressed."""
    return path.name.lower().endswith(_PACKED)


def _plan_file(source: Path, destination: Path, overwrite: bool) -> Plan:
    kind_of(source)
    if destination.is_dir():
        raise DataError(f"{destination} is a folder, and {source} a file", "Name the file to write")
    kind_of(destination)
    return Plan((source,), (destination.name,), destination, is_folder=False, overwrite=overwrite)


def _plan_folder(source: Path, destination: Path, overwrite: bool) -> Plan:
    if Path(destination.name.lower().removesuffix(_PACKED)).suffix in KINDS and not destination.is_dir():
        raise DataError(f"{source} is a folder, and {destination} a file", "Name a folder to write to")
    if source.resolve() in destination.resolve().parents:
        raise DataError(f"{destination} is inside {source}", "Name a folder elsewhere")
    found = list(_files_in(source))
    kinds = {kind_of(path): path for path in found}
    if not kinds:
        raise DataError(f"{source} holds no files", f"{_KNOWN}, or a folder of such files")
    if len(kinds) > 1:
        names = " and ".join(f"'{path.name}'" for path in list(kinds.values())[:2])
        raise DataError(f"{source} holds files of several kinds: {names}", "Keep one kind in a folder")
    names = tuple(str(path.relative_to(source)) for path in found)
    return Plan(tuple(found), names, destination, is_folder=True, overwrite=overwrite)


def _files_in(folder: Path) -> Iterator[Path]:
    """A folder's files, and those of Hive's partitions in it, in the order of their names."""
    for path in sorted(folder.iterdir()):
        if path.name.startswith((".", "_")):  # marks of other programs, such as _SUCCESS and .part-0.crc
            continue
        if not path.is_dir():
            yield path
        elif "=" in path.name:
            yield from _files_in(path)
        else:
            raise DataError(f"{folder} holds the folder '{path.name}'", "Score each folder by itself")


def partitions_of(name: str) -> dict[str, str | None]:
    """What Hive's folders say of all rows of a file: ``country=AT/part-0.parquet`` is ``{"country": "AT"}``."""
    said = dict(part.split("=", 1) for part in Path(name).parts[:-1])
    return {column: None if value == _NO_VALUE else unquote(value) for column, value in said.items()}


# --- What a run keeps beside its destination until it is whole, so that the same command can go on after any end.
#
# The folder `.<destination>.partial` holds the rows written so far and a journal: a small SQLite file, for SQLite
# changes it whole or not at all, and its lock goes with the process that holds it.


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
