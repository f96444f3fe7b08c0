"""Files and folders that are whole or not there at all, secrets, a lock, and folders that nobody keeps.

New content is written under a name beside its place that begins with a dot, and gets its own by a renaming, which a
reader sees as done or not done. What a killed process leaves beside it is never read.
"""

import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import gettempdir
from typing import IO

# --- One file, or several together.


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A name to write a file under, which takes the place of `path` when the block ends well.

    A reader of `path` finds the earlier file until then, and the new one afterwards; killed at any moment, also by a
    power cut, the one or the other. Where the block raises, nothing has changed.
    """
    new = _beside(path, "new")
    try:
        yield new
        with new.open("rb+") as file:
            os.fsync(file.fileno())
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def write_together(files: Mapping[Path, bytes | Path], removed: Iterable[Path] = ()) -> None:
    """Write several files, or leave everything as it was: also at a Ctrl-C, or where the disk is full.

    All are on the disk under other names before the first gets its own, and what was there comes back if anything
    stops the renaming. Only killed or without power amid the renaming, some are new and the others are not.

    Parameters
    ----------
    files
        By path, the content, or a file to copy.
    removed
        Files that go with it.

    Raises
    ------
    OSError
        A file cannot be read or written.
    """
    removed = list(removed)
    new = {path: _beside(path, "new") for path in files}
    old = {path: _beside(path, "old") for path in (*files, *removed) if path.exists()}
    try:
        for path, content in files.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            _write(new[path], content)
        for path, earlier in old.items():
            _link(path, earlier)
        try:
            for path, ready in new.items():
                ready.replace(path)
            for path in removed:
                path.unlink()
        except BaseException:
            _put_back([*new, *removed], old)
            raise
    finally:
        for leftover in (*new.values(), *old.values()):
            leftover.unlink(missing_ok=True)


def _put_back(paths: list[Path], old: Mapping[Path, Path]) -> None:
    while paths:
        with suppress(KeyboardInterrupt, SystemExit):  # a first one is under way
            while paths:
                path = paths[-1]
                if path not in old:
                    path.unlink(missing_ok=True)
                elif old[path].exists():
                    old[path].replace(path)
                paths.pop()


def _link(path: Path, to: Path) -> None:
    try:
        os.link(path, to)
    except OSError:  # a file system without hard links
        shutil.copy2(path, to)


def _write(path: Path, content: bytes | Path, mode: int = 0o666) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        if isinstance(content, Path):
            with content.open("rb") as source:
                shutil.copyfileobj(source, file)
        else:
            file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.{ending}")


# --- A folder with all that belongs in it.


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """An empty folder to fill, which takes the place of `folder` when the block ends well.

    A reader of `folder` finds the earlier one until then, and the new one afterwards. Where the block raises, nothing
    has changed. Killed, a process may leave a folder beside it, which the next one removes. For one process at a time.
    """
    folder = folder.resolve()  # a link to a folder stays one
    new = _of_folder(folder, "partial")
    settle_folder(folder)
    shutil.rmtree(new, ignore_errors=True)
    try:
        new.mkdir(parents=True)
        yield new
        put_folder(new, folder)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def put_folder(ready: Path, folder: Path) -> None:
    """Give a folder that is whole its place on the same disk; an earlier one goes.

    Killed between its two renamings, there is no `folder`, and the earlier one lies beside it: done again, it goes on
    from there, and `whole_folder` brings the earlier one back.
    """
    folder = folder.resolve()
    earlier = _of_folder(folder, "earlier")
    try:
        if folder.exists():
            shutil.rmtree(earlier, ignore_errors=True)
            folder.rename(earlier)
        ready.rename(folder)
    finally:
        settle_folder(folder)


def settle_folder(folder: Path) -> None:
    """Bring the earlier folder back where a process was killed between the two renamings, and remove it elsewhere."""
    earlier = _of_folder(folder, "earlier")
    if earlier.exists() and not folder.exists():
        earlier.rename(folder)
    shutil.rmtree(earlier, ignore_errors=True)


def _of_folder(folder: Path, word: str) -> Path:
    return folder.with_name(f".{folder.name}.{word}")


# --- Secrets, and a lock.


def keep_secret(path: Path, secret: str, *, renew: bool = False) -> str:
    """Keep a secret in a file for its owner alone, in a folder for its owner alone; the secret that is kept comes back.

    One that is there stays, also if another process put it there just now: of two that make one at once, both get the
    same. With `renew`, the earlier one goes. Killed at any moment, there is a whole secret or none.
    """
    path.parent.mkdir(mode=0o700, exist_ok=True)
    new = _beside(path, "new")  # a name that the settings pass over
    try:
        _write(new, f"{secret}\n".encode(), 0o600)
        if renew:
            new.replace(path)
        else:
            _name_first(new, path)
    finally:
        new.unlink(missing_ok=True)
    return path.read_text("utf-8").strip()


def _name_first(new: Path, path: Path) -> None:
    try:
        os.link(new, path)
    except FileExistsError:
        return
    except OSError:  # a file system without hard links
        if not path.exists():
            new.replace(path)


@contextmanager
def locked(path: Path, seconds: float) -> Iterator[None]:
    """Let one process at a time into the block. The lock goes with the process that holds it, however it ends.

    Parameters
    ----------
    path
        The lock's file, there as long as somebody is in the block.
    seconds
        How long to wait for another process.

    Raises
    ------
    TimeoutError
        Another process has been in the block all that time.
    """
    until = time.monotonic() + seconds
    while (lock := _lock(path)) is None:
        if time.monotonic() > until:
            raise TimeoutError(str(path))
        time.sleep(0.1)
    with lock:
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def _lock(path: Path) -> IO[str] | None:
    """The file, locked by us alone, or None where somebody else has it or has just removed it."""
    import fcntl

    file = path.open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if path.exists() and path.stat().st_ino == os.fstat(file.fileno()).st_ino:
            return file
    except (BlockingIOError, FileNotFoundError):
        pass
    file.close()
    return None


# --- Folders for what a step needs and nobody keeps.


@contextmanager
def scratch_folder(name: str = "", keep: bool = False) -> Iterator[Path]:
    """A folder of the user's own, removed afterwards even if a Ctrl-C comes in the moment in which it is made.

    `TemporaryDirectory` and `mkdtemp` make the folder before anybody knows its name, and leave it behind then.
    """
    label = f"starterkit-{name}-" if name else "starterkit-"
    folder = Path(gettempdir(), f"{label}{secrets.token_hex(8)}").resolve()
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
