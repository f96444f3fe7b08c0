"""What is written down about a training, so that it can be traced and done again."""

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

from starterkit.contract import Lineage, Scalar
from starterkit.data.dataset import Dataset
from starterkit.settings import Settings
from starterkit.tracking.runs import libraries, types_of

# --- git, asked without leaving a trace in the repository that is asked.

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


# --- Whether the environment that runs is the one that a lock describes.

_PIN = re.compile(r"^([\w.-]+)==([^\s;\\]+)\s*(;)?", re.MULTILINE)


def off_lock(lock: Path) -> Mapping[str, str]:
    """The packages of which this environment has another version than the lock, with what it has.

    A pin with a condition may be for another platform or Python, so its package may be missing.
    """
    pins: dict[str, set[str]] = {}
    required = set()
    for name, pin, condition in _PIN.findall(lock.read_text("utf-8")):
        pins.setdefault(_normalise(name), set()).add(pin)
        if not condition:
            required.add(_normalise(name))
    metadata = (found.metadata for found in distributions())  # read once: `found.name` reads it again each time
    installed = {_normalise(one["Name"]): one["Version"] for one in metadata}
    return {
        name: installed.get(name, "not there")
        for name, versions in sorted(pins.items())
        if installed.get(name) not in versions and (name in required or name in installed)
    }


def beside_lock(lock: Path, estimator: Any) -> Mapping[str, str]:
    """The packages of a fitted estimator's parts that the lock does not name, with their versions."""
    pinned = {_normalise(name) for name, _, _ in _PIN.findall(lock.read_text("utf-8"))} if lock.is_file() else set()
    return {name: version(name) for name in libraries(types_of(estimator)) if _normalise(name) not in pinned}


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


# --- The lineage of a training.

UNKNOWN = "unknown"
LOCK = "requirements.txt"
HIDDEN = "hidden"
_SECRET = re.compile("password|token|secret|key", re.IGNORECASE)
_FURTHER = "further files"
_ROOM = 6000
_BESIDE_A_NAME = 70  # the digest and the punctuation


@dataclass(frozen=True)
class WorkingTree:
    """A git commit, and which files differ from it: their SHA-256 by path. A diff could hold a secret, a digest can't.

    As many files are named as fit into a tag of MLflow; the others are counted.
    """

    commit: str = UNKNOWN
    changed: Mapping[str, str] = field(default_factory=dict)

    @property
    def dirty(self) -> bool:
        return self.commit == UNKNOWN or bool(self.changed)


def describe(settings: Settings, run: str, dataset: Dataset, parameters: Mapping[str, Any]) -> Lineage:
    """The lineage of a training that begins now."""
    tree, lock = working_tree(settings.root), settings.root / LOCK
    return Lineage(
        stage=settings.stage,
        run=run,
        commit=tree.commit,
        dirty=tree.dirty,
        changed_files=tree.changed,
        lock_digest=lock_digest(settings.root),
        off_lock=off_lock(lock) if lock.is_file() else {},
        data_source=dataset.source,
        data_digest=dataset.digest,
        holdout_digest=dataset.holdout.digest,
        rows=len(dataset),
        parameters=plain(parameters),
        policy=dataset.policy,
        python=platform.python_version(),
        machine=machine(),
    )


def working_tree(root: Path) -> WorkingTree:
    """What git says of the tree. Outside a repository, or without git, the commit is unknown and the tree dirty."""
    head, top = git(root, "rev-parse", "HEAD"), git(root, "rev-parse", "--show-toplevel")
    status = git(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all")
    if head is None or top is None or status is None:
        return WorkingTree()
    root = Path(top.rstrip("\n"))
    paths = list(dict.fromkeys([*(entry[3:] for entry in status.split("\0") if entry), *_hidden_changes(root)]))
    changed: dict[str, str] = {}
    for number, path in enumerate(paths):
        if sum(len(name) + _BESIDE_A_NAME for name in (*changed, path)) > _ROOM:
            changed[_FURTHER] = str(len(paths) - number)
            break
        # What is deleted has no digest, nor a folder that is a repository of its own.
        changed[path] = _digest(root / path) or "gone"
    return WorkingTree(head.strip(), changed)


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
    return _digest(root / LOCK) or UNKNOWN


def machine() -> str:
    """The kind of machine, for the last digits of a float can depend on it."""
    info = Path("/proc/cpuinfo")  # where the system has it, it says more than Python knows
    lines = info.read_text("utf-8", "replace").splitlines() if info.is_file() else []
    processors = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return f"{platform.system()} {platform.machine()}, {(processors or [platform.processor()])[0]}".rstrip(", ")


def _digest(path: Path) -> str | None:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError:
        return None


def plain(parameters: Mapping[str, Any]) -> dict[str, Scalar | None]:
    """Parameters as JSON has them, without what may be a secret.

    What a setting could not say is the code's own, and is shown by its type alone: its text may hold anything.
    """
    return {name: _plain(name, value) for name, value in parameters.items()}


def _plain(name: str, value: Any) -> Scalar | None:
    if value is not None and not isinstance(value, Scalar):
        return f"{type(value).__module__}.{type(value).__qualname__}"
    return HIDDEN if value is not None and _SECRET.search(name) else value


def hidden(parameters: Mapping[str, Any]) -> list[str]:
    """The names of those whose value was not written down."""
    return [name for name, value in parameters.items() if value == HIDDEN and _SECRET.search(name)]
