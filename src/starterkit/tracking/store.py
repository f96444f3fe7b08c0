"""The local store: a SQLite file, and the folder beside the repository's settings that holds the artifacts.

See docs/decisions/0014-faults.md for what is asked before MLflow is let in, and why.
"""

import os
import shutil
import signal
import sqlite3
import threading
from collections.abc import Generator, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from starterkit.errors import TrackingError
from starterkit.files import locked, scratch_folder, whole_file
from starterkit.machine import holder_of, owner_of

# --- A signal waits until a call to the local store is over.
#
# SQLAlchemy leaves a session that is interrupted half-way in a state of its own, sometimes with the database locked,
# and then not even the run can be marked as failed.

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)  # the last is the first two, asking again
_inside: list[bool] = []


@contextmanager
def uninterrupted() -> Generator[None, None, None]:
    """Hold the first Ctrl-C or `kill` back until the block is over; a second one comes through at once."""
    if _inside or threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {int(number): handler for number in _SIGNALS if callable(handler := signal.getsignal(number))}
    waiting: list[int] = []

    def hold(number: int, frame: FrameType | None) -> None:
        waiting.append(number)
        if len(waiting) > 1:
            handlers[number](number, frame)

    _inside.append(True)
    try:
        for number in handlers:
            signal.signal(number, hold)
        yield
    finally:
        _inside.clear()
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if len(waiting) == 1:
            handlers[waiting[0]](waiting[0], None)


# --- The store itself.

ADDRESS = "sqlite:///"
_HEADER = b"SQLite format 3\x00"
_TABLES = frozenset({"alembic_version", "experiments", "runs", "logged_models", "registered_models", "model_versions"})
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
"""Where MLflow keeps addresses of artifacts, all absolute."""
_ALIASED = """
    SELECT version, storage_location, run_id FROM model_versions JOIN registered_model_aliases USING (name, version)
    WHERE name = ? AND alias = ? AND current_stage <> 'Deleted_Internal'
"""
_TAGS = "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?"
_MAKING_SECONDS = 60
_DISK_FLOOR = 20_000_000
"""Bytes; a first run of the example writes 8 MB."""
_EMPTY = "or move it away to begin with an empty store"


class Aliased(NamedTuple):
    """The version that an alias points at, and the folder of its files."""

    number: int
    folder: Path
    run: str
    tags: Mapping[str, str]


@dataclass(frozen=True)
class LocalStore:
    """A store without a server: a SQLite file, and a folder for artifacts."""

    database: Path
    artifacts: Path

    @property
    def exists(self) -> bool:
        """Whether there is a database. An empty file is none."""
        return self.database.is_file() and self.database.stat().st_size > 0

    def require_sound(self, wait: float, thorough: bool = False) -> None:
        """See that the store can be read and written, and change nothing. MLflow would try for minutes.

        Another process may hold the database for `wait` seconds. A `thorough` look is one at every page.

        Raises
        ------
        TrackingError
            The first thing that is wrong, by name.
        """
        _require_writable(self.database.parent, "the folder of the store")
        require_space(self.database.parent)
        if self.artifacts.exists():
            _require_writable(self.artifacts, "the folder of the artifacts")
        if not self.database.exists():
            return
        _require_writable(self.database, "the store")
        if self.exists:
            self._require_database()
            self._require_unlocked(wait)
            self._require_whole(thorough)

    def make(self) -> None:
        """Make the tables elsewhere and move them here whole: MLflow cannot mend half of them."""
        import mlflow

        self.database.parent.mkdir(parents=True, exist_ok=True)
        with self._alone():
            if self.exists:  # somebody else was quicker
                return
            with scratch_folder() as scratch:
                made = scratch / "store.db"
                made_at = address_of_database(made)
                mlflow.MlflowClient(made_at, made_at).search_experiments(max_results=1)
                with whole_file(self.database) as new:
                    shutil.copyfile(made, new)

    def aliased(self, model: str, alias: str) -> Aliased | None:
        """The version that an alias points at, without loading MLflow.

        None where the tables are not as we know them, or the files not in our folder: then MLflow has to be asked.
        """
        try:
            with closing(self._open()) as database:
                found = database.execute(_ALIASED, (model, alias)).fetchall()
                if len(found) != 1 or not str(found[0][1]).startswith(f"{self.artifacts.as_uri()}/"):
                    return None
                number, address, run = found[0]
                tags = dict(database.execute(_TAGS, (model, number)).fetchall())
        except sqlite3.Error:
            return None
        return Aliased(int(number), path_of(address), run or "", tags)

    def left_behind(self) -> list[str]:
        """The addresses of artifact folders that are other than ours, and whose files ours holds: the store was moved.

        Raises
        ------
        TrackingError
            Neither the earlier folder nor ours is there.
        """
        ours, behind = self.artifacts.as_uri(), []
        with closing(self._open()) as database:
            known = "SELECT DISTINCT artifact_location FROM experiments WHERE artifact_location LIKE 'file:///%/' || ?"
            for (earlier,) in database.execute(known, (self.artifacts.name,)).fetchall():
                if earlier == ours:
                    continue
                before = path_of(earlier)
                if self.artifacts.is_dir() and self._holds_what_is_in(before, earlier, database):
                    behind.append(earlier)
                elif not os.path.exists(before):  # noqa: PTH110  # Path.exists raises where it may not look
                    what = f"the artifacts of {self.database.name} are neither in {self.artifacts} nor in {before}"
                    hint = f"Bring the folder {self.artifacts.name} back, or move {self.database.name} away to begin"
                    raise TrackingError(what, f"{hint} with an empty store")
        return behind

    def follow(self, earlier: list[str]) -> None:
        """Let what points into earlier artifact folders point into ours, all of it or nothing."""
        ours = self.artifacts.as_uri()
        with self._alone(), closing(self._open(_MAKING_SECONDS)) as database, database:
            for table, column in _PLACES:
                for address in earlier:
                    move = f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608  # fixed names
                    where = f"WHERE {column} = ? OR substr({column}, 1, ?) = ?"
                    inside = f"{address}/"
                    given = (ours, len(address) + 1, address, len(inside), inside)
                    database.execute(move + where, given)

    def _holds_what_is_in(self, before: Path, earlier: str, database: sqlite3.Connection) -> bool:
        """Whether each logged model that lies in an earlier folder lies in ours too."""
        found = "SELECT artifact_location FROM logged_models WHERE artifact_location LIKE ? || '/%'"
        relative = [path_of(address).relative_to(before) for (address,) in database.execute(found, (earlier,))]
        return all((self.artifacts / name).exists() for name in relative if os.path.exists(before / name))  # noqa: PTH110

    def _require_database(self) -> None:
        with self.database.open("rb") as file:
            if file.read(len(_HEADER)) != _HEADER:
                raise TrackingError(f"{self.database.name} is not a database", f"Bring a copy of it back, {_EMPTY}")

    def _require_unlocked(self, wait: float) -> None:
        try:
            with closing(self._open(wait)) as database:
                database.execute("BEGIN IMMEDIATE")
                database.rollback()
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise TrackingError(f"{self.database.name} cannot be opened: {error}", _EMPTY_OR_BACK) from error
            who = holder_of(self.database) or "another program"
            hint = "Wait for it or end it, then give the command again"
            raise TrackingError(f"{self.database.name} is locked by {who} for more than {wait:g} s", hint) from error
        except sqlite3.DatabaseError as error:
            raise TrackingError(f"{self.database.name} is damaged: {error}", _EMPTY_OR_BACK) from error

    def _require_whole(self, thorough: bool) -> None:
        damaged = f"{self.database.name} is damaged"
        try:
            with closing(self._open()) as database:
                tables = {name for (name,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
                said = database.execute("PRAGMA quick_check(1)").fetchone()[0] if thorough else "ok"
        except sqlite3.DatabaseError as error:
            raise TrackingError(f"{damaged}: {error}", _EMPTY_OR_BACK) from error
        if said != "ok":
            raise TrackingError(f"{damaged}: SQLite's check of its pages fails", _EMPTY_OR_BACK)
        if not tables >= _TABLES:
            what = f"{self.database.name} is a database, but not a whole one of MLflow's"
            raise TrackingError(what, f"Name another file in tracking.uri, {_EMPTY}")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Let one process at a time make or move a store. The lock goes with the process that holds it."""
        path = self.database.with_name(f"{self.database.name}.lock")
        if path.exists():
            _require_writable(path, "the lock of the store")
        with ExitStack() as stack:
            try:
                stack.enter_context(locked(path, _MAKING_SECONDS))
            except TimeoutError:
                who = holder_of(path) or "another process"
                what = f"{path.name} is held by {who} for more than {_MAKING_SECONDS} s"
                raise TrackingError(what, "Wait for it or end it, then give the command again") from None
            yield

    def _open(self, wait: float = 5) -> sqlite3.Connection:
        # As a URI, so that SQLite makes no empty file where somebody has just moved it away.
        return sqlite3.connect(f"{self.database.absolute().as_uri()}?mode=rw", timeout=wait, uri=True)


_EMPTY_OR_BACK = f"Bring a copy of it back, {_EMPTY}"


def address_of_database(path: Path) -> str:
    """The address by which SQLAlchemy opens this very file, and no other.

    It ends the path at a ``?`` and reads ``%20`` as a space, so these are written as it wants them. MLflow makes the
    folder that the address shows it, as it stands there: with the slashes written so too, that is the root's.
    """
    text = path.as_posix()
    return f"{ADDRESS}/{quote(text[1:], safe='')}" if text[:1] == "/" and set(text) & set("%?") else f"{ADDRESS}{text}"


def path_of(address: str) -> Path:
    """The path of a ``file:`` address."""
    return Path(unquote(urlsplit(address).path))


def _require_writable(path: Path, role: str) -> None:
    """`path`, or the nearest folder above it that is there, can be written."""
    there = path
    while not there.exists() and there != there.parent:
        there = there.parent
    needed = os.R_OK | os.W_OK | (os.X_OK if there.is_dir() else 0)
    if not os.access(there, needed):
        what = f"{role}, {path.name}, cannot be written: {there} {owner_of(there)}"
        raise TrackingError(what, "Run this as its owner, or give yourself the right to write it")


def require_space(folder: Path) -> None:
    """See that a run's files have room in a folder, or in the one that it will be made in."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if free < _DISK_FLOOR:
        what = f"the disk of {folder} is full: {free / 1e6:.1f} MB are free, a run needs {_DISK_FLOOR // 1_000_000}"
        raise TrackingError(what, "Free space on it, then give the command again")
