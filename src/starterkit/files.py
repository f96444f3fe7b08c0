"""Folders for what a step needs and nobody keeps."""

import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import gettempdir


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
