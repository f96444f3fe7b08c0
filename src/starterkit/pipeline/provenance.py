"""Which code and which environment a run was made with."""

import hashlib
import subprocess
from pathlib import Path

UNKNOWN = "unknown"


def commit(root: Path) -> tuple[str, bool]:
    """The git commit of the working tree, and whether the tree differs from it.

    Outside a repository, or without git, the commit is unknown and the tree counts as dirty.
    """
    head, status = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    if head is None or status is None:
        return UNKNOWN, True
    return head.strip(), bool(status.strip())


def lock_digest(root: Path) -> str:
    """SHA-256 of requirements.txt, which pins every package of the environment by version and hash."""
    lock = root / "requirements.txt"
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else UNKNOWN


def _git(root: Path, *arguments: str) -> str | None:
    try:
        command = ["git", "-C", str(root), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=30)  # noqa: S603  # fixed words
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
