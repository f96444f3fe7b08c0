"""Which code, which environment and which machine a run is made with."""

import hashlib
import platform
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from starterkit.lineage.git import git

UNKNOWN = "unknown"
LOCK = "requirements.txt"
GONE = "gone"
_FURTHER = "further files"
_ROOM = 6000
_BESIDE_A_NAME = 70  # the digest and the punctuation


@dataclass(frozen=True)
class WorkingTree:
    """A git commit, and which files differ from it: their SHA-256 by path. A diff could hold a secret, a digest can't.

    As many files are named as fit into a tag of MLflow; the others are counted.
    """

    commit: str = UNKNOWN
    dirty: bool = True
    changed: Mapping[str, str] = field(default_factory=dict)


def working_tree(root: Path) -> WorkingTree:
    """What git says of the tree. Outside a repository, or without git, the commit is unknown and the tree dirty."""
    head, top = git(root, "rev-parse", "HEAD"), git(root, "rev-parse", "--show-toplevel")
    status = git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    if head is None or top is None or status is None:
        return WorkingTree()
    paths = [entry[3:] for entry in status.split("\0") if entry]
    paths += [path for path in _hidden_changes(Path(top.rstrip("\n"))) if path not in paths]
    changed: dict[str, str] = {}
    for number, path in enumerate(paths):
        if sum(len(name) + _BESIDE_A_NAME for name in (*changed, path)) > _ROOM:
            changed[_FURTHER] = str(len(paths) - number)
            break
        changed[path] = _digest(Path(top.rstrip("\n"), path))
    return WorkingTree(head.strip(), bool(paths), changed)


def _hidden_changes(top: Path) -> list[str]:
    """The files that `git status` was told to pass over, and that are not as git's index has them."""
    entries = re.findall(r"([a-zS]) 100\d+ (\w+) 0\t([^\0]+)\0", git(top, "ls-files", "-v", "--stage", "-z") or "")
    changed = []
    for tag, kept, path in entries:
        if not (top / path).exists():
            # A sparse checkout leaves files away, and nobody misses them.
            changed += [] if tag in "Ss" else [path]
        elif (git(top, "hash-object", "--", path) or "").strip() != kept:
            changed.append(path)
    return changed


def lock_digest(root: Path) -> str:
    """SHA-256 of requirements.txt, which pins every package of the environment by version and hash."""
    lock = root / LOCK
    return hashlib.sha256(lock.read_bytes()).hexdigest() if lock.is_file() else UNKNOWN


def machine() -> str:
    """The kind of machine, for the last digits of a float can depend on it."""
    return f"{platform.system()} {platform.machine()}, {_processor()}".rstrip(", ")


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:  # deleted, or a folder that is a repository of its own
        return GONE
