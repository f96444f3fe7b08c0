"""git, asked without leaving a trace in the repository that is asked."""

import os
import subprocess
from pathlib import Path

_SECONDS = 300


def git(root: Path, *arguments: str) -> str | None:
    """What git answers; None where it refuses, or is not there."""
    # The variables would name another repository; without the lock, `git status` does not write its index.
    environ = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(root), "-c", "core.quotePath=false", *arguments]
    try:
        done = subprocess.run(  # noqa: S603  # fixed words
            command,
            capture_output=True,
            env=environ | {"GIT_OPTIONAL_LOCKS": "0", "GIT_TERMINAL_PROMPT": "0"},
            timeout=_SECONDS,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode("utf-8", "replace") if done.returncode == 0 else None
