"""Several files change at once, or none does."""

import os
import secrets
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path


def replace_all(written: Mapping[Path, bytes | Path], removed: Sequence[Path], kept: Sequence[Path]) -> None:
    """Write all files, or leave everything as it was: also at a Ctrl-C, or where the disk is full.

    Each file is complete beside its place before the first is moved there.

    Parameters
    ----------
    written
        By path, the content, or a file to copy.
    removed
        Files that go.
    kept
        Files whose earlier content stays beside them as ``<name>.before``.
    """
    mark = secrets.token_hex(4)
    contents = {**written, **{path.with_name(f"{path.name}.before"): path for path in kept if path.exists()}}
    new = {path: path.with_name(f".{path.name}.{mark}.new") for path in contents}
    old = {path: path.with_name(f".{path.name}.{mark}.old") for path in (*contents, *removed) if path.exists()}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, new[path])
            else:
                new[path].write_bytes(content)
        for path, backup in old.items():
            shutil.copy2(path, backup)
        _move(new, removed, old)
    finally:
        for path in (*new.values(), *old.values()):
            path.unlink(missing_ok=True)


def _move(new: Mapping[Path, Path], removed: Sequence[Path], old: Mapping[Path, Path]) -> None:
    try:
        for path, ready in new.items():
            os.replace(ready, path)  # noqa: PTH105  # a test lets this one fail
        for path in removed:
            path.unlink()
    except BaseException:
        for path in (*new, *removed):
            if path in old:
                shutil.copy2(old[path], path)
            else:
                path.unlink(missing_ok=True)
        raise
