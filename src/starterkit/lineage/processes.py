"""Other programs at work in the scratch folder. They end when we do."""

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def call(command: Sequence[str | Path], at: Path, environ: Mapping[str, str], log: Path) -> int:
    """Run a program to its end, with what it says in a file; its exit code comes back."""
    with log.open("ab") as said:
        # In a session of its own, so that whatever it starts ends with it.
        process = subprocess.Popen(  # noqa: S603  # the kit's own scripts
            [*map(str, command)], cwd=at, env=environ, stdin=subprocess.DEVNULL, stdout=said, stderr=said,
            start_new_session=True,
        )  # fmt: skip
        try:
            return process.wait()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
