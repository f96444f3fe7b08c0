"""A data file, its proof and its report, put in place together: a reader finds the earlier ones or these."""

import os
import secrets
from collections.abc import Mapping
from pathlib import Path


def write_together(files: Mapping[Path, bytes]) -> None:
    """Write files under other names, then give all of them theirs.

    An interruption leaves the earlier files. One that comes amid the renaming is kept until that is done; after a
    power cut there, the proof does not fit the file, and both are refused until they are made again.
    """
    mark = f".{secrets.token_hex(8)}.new"
    new = {path.with_name(f".{path.name}{mark}"): path for path in files}
    try:
        for other, path in new.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            with other.open("wb") as file:
                file.write(files[path])
                file.flush()
                os.fsync(file.fileno())
        _rename(new)
    finally:
        for other in new:
            other.unlink(missing_ok=True)


def _rename(new: Mapping[Path, Path]) -> None:
    interrupted: BaseException | None = None
    left = dict(new)
    while left:
        try:
            for other, path in list(left.items()):
                if other.exists():  # an interruption can come right after a renaming
                    other.replace(path)
                left.pop(other)
        except (KeyboardInterrupt, SystemExit) as stopped:
            interrupted = stopped
    if interrupted:
        raise interrupted
