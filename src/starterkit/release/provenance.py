"""What is written down about a training, so that it can be done again, and all that is known of it: `Origin`."""

import hashlib
import os
import platform
import re
import subprocess
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

from starterkit.contract import Contract, Lineage, Parity, Scalar
from starterkit.data import DatasetReader
from starterkit.errors import KitError
from starterkit.files import scratch_folder
from starterkit.problem import Problem
from starterkit.serving.predictor import CONTRACT_FILE
from starterkit.settings import Settings, mask
from starterkit.tracking.queries import RunRecord
from starterkit.tracking.registry import ModelRegistry, Version
from starterkit.tracking.runs import libraries, types_of
from starterkit.tracking.store import path_of

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


def describe(settings: Settings, run: str, data: Mapping[str, Any], parameters: Mapping[str, Any]) -> Lineage:
    """The lineage of a training that begins now; `data` is `Dataset.identity`."""
    tree, lock = working_tree(settings.root), settings.root / LOCK
    return Lineage(
        stage=settings.stage,
        run=run,
        commit=tree.commit,
        dirty=tree.dirty,
        changed_files=tree.changed,
        lock_digest=lock_digest(settings.root),
        off_lock=off_lock(lock) if lock.is_file() else {},
        **data,
        parameters=plain(parameters),
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


# --- Which of commit, lock, data and parameters a training again really had, held against what the version says.

_NAMED = 3
_NONE = "no such parameter"


@dataclass(frozen=True)
class Cause:
    """One of the four: whether it was the same (None: nobody got that far), in words, and what to do about it."""

    name: str
    same: bool | None
    text: str
    hint: str = ""

    @property
    def content(self) -> dict[str, Any]:
        """For a script. Its keys are a format: `hint` is ``mend`` there."""
        return {"name": self.name, "same": self.same, "text": self.text, "mend": self.hint}


def compare(lineage: Lineage, facts: Mapping[str, Any]) -> tuple[Cause, ...]:
    """The four, given what the training again found."""
    return _commit(lineage), _lock(lineage, facts), _data(lineage, facts), _parameters(lineage, facts)


def _commit(lineage: Lineage) -> Cause:
    # A changed lock or data file is the others' matter.
    others = f"/{LOCK}", f"/{lineage.data_source}"
    changed = [name for name in lineage.changed_files if not f"/{name}".endswith(others)]
    if not changed and (lineage.changed_files or not lineage.dirty):
        return Cause("commit", True, lineage.commit[:12])
    text = f"{lineage.commit[:12]}, but {first_files(changed) or 'files'} differed from it when it was trained"
    return Cause("commit", False, text, "Commit what belongs to it, and train a new version")


def _lock(lineage: Lineage, facts: Mapping[str, Any]) -> Cause:
    hint, then = "Run `make env`, commit the lock, and train a new version", lineage.beside_lock
    digest, now = facts.get("lock_digest", lineage.lock_digest), facts.get("beside_lock", then)
    if lineage.off_lock:
        packages = ", ".join(f"{name} {version}" for name, version in list(lineage.off_lock.items())[:_NAMED])
        return Cause("lock", False, f"the environment was not the lock's when it was trained: {packages}", hint)
    if digest != lineage.lock_digest:
        return Cause("lock", False, f"{LOCK} was {lineage.lock_digest[:12]}, the commit has {digest[:12]}", hint)
    if other := other_parameters(then, now):
        pairs = (f"{name} {then.get(name, 'not there')} then, {now.get(name, 'not there')} now" for name in other)
        hint = "Put it into the lock, and train a new version"
        return Cause("lock", False, f"{LOCK} does not name {', '.join(pairs)}", hint)
    if then and "lock_digest" in facts and "beside_lock" not in facts:
        return Cause("lock", None, f"{LOCK} does not name {', '.join(then)}, which it was trained with")
    return Cause("lock", True if "lock_digest" in facts else None, digest[:12])


def _data(lineage: Lineage, facts: Mapping[str, Any]) -> Cause:
    hint = f"Bring back the rows that {lineage.data_source} had, or train a new version"
    if "parameters" not in facts:
        return Cause("data", None, lineage.data_source)
    if "data_digest" not in facts:
        return Cause("data", False, f"{lineage.data_source} cannot be had as it was", hint)
    if facts["data_digest"] == lineage.data_digest:
        return Cause("data", True, f"{lineage.rows} rows of {lineage.data_source}, {lineage.data_digest[:12]}")
    text = f"{lineage.data_source}, {lineage.rows:,} rows then, {facts['rows']:,} now: {_moves(facts)}"
    if facts["holdout_digest"] == lineage.holdout_digest:
        text += "; those held out are the same"
    if any(f"/{name}".endswith(f"/{lineage.data_source}") for name in lineage.changed_files):
        text += "; the file was not committed as it was"
    return Cause("data", False, text, hint)


def _moves(facts: Mapping[str, Any]) -> str:
    if "rows_new" not in facts:
        return "how many are new is not known"
    new, gone = facts["rows_new"], facts["rows_gone"]
    return f"{new:,} new, {gone:,} gone" if new or gone else "the same in another order, or with other ids"


def _parameters(lineage: Lineage, facts: Mapping[str, Any]) -> Cause:
    then, now = lineage.parameters, facts.get("parameters")
    if now is None or not (other := other_parameters(then, now)):
        said = ", ".join(f"{name} {value}" for name, value in then.items()) or "none"
        return Cause("parameters", None if now is None else True, said)
    text = ", ".join(f"{name} {then.get(name, _NONE)} (the commit's code: {now.get(name, _NONE)})" for name in other)
    return Cause("parameters", False, text, "Commit the estimator that takes them, and train a new version")


def other_parameters(then: Mapping[str, object], now: Mapping[str, object]) -> list[str]:
    """The names of those that are not the same, or only on one side."""
    pairs = {name: (then.get(name, _NONE), now.get(name, _NONE)) for name in {**then, **now}}
    # A parameter may be NaN, which is not equal to itself.
    return [name for name, (was, has) in pairs.items() if was != has and not (was != was and has != has)]


def first_files(changed: Collection[str]) -> str:
    """The first few files, and how many there are."""
    more = len(changed) - _NAMED
    return ", ".join(list(changed)[:_NAMED]) + (f" and {more} more" if more > 0 else "")


@dataclass(frozen=True)
class Origin:
    """Where a version comes from.

    `subject` is the first line of the commit's message, and empty where this clone does not have it. `here` says what
    is other in the present working tree, by the name of what it is other than.
    """

    version: Version
    champion: bool
    lineage: Lineage
    parity: Parity
    run: RunRecord | None
    subject: str
    date: datetime | None
    files: str
    here: Mapping[str, str] = field(default_factory=dict)


def trace(
    registry: ModelRegistry, version: Version, run: RunRecord | None, problem: Problem, settings: Settings
) -> Origin:
    """Ask the version's own files, its run and git.

    Raises
    ------
    TrackingError
        The version's files cannot be had.
    ContractError
        They are of another format, or altered.
    """
    with scratch_folder() as folder:
        contract = Contract.from_json((registry.fetch(version, folder) / CONTRACT_FILE).read_bytes())
    lineage = contract.lineage
    said = git(settings.root, "show", "--no-patch", "--format=%cI%n%s", f"{lineage.commit}^{{commit}}") or "\n"
    date, _, subject = said.partition("\n")
    return Origin(
        version=version,
        champion=registry.champion() == version,
        lineage=lineage,
        parity=contract.parity,
        run=run,
        subject=subject.strip(),
        date=datetime.fromisoformat(date) if date else None,
        files=_shown(registry.location(version), settings.root),
        here=_here(lineage, problem, settings),
    )


def _here(lineage: Lineage, problem: Problem, settings: Settings) -> dict[str, str]:
    tree = working_tree(settings.root)
    pairs = {
        "commit": (lineage.commit[:12], tree.commit[:12]),
        "lock": (lineage.lock_digest[:12], lock_digest(settings.root)[:12]),
        "python": (lineage.python, platform.python_version()),
        "machine": (lineage.machine, machine()),
        "stage": (lineage.stage, str(settings.stage)),
    }
    here = {name: now for name, (then, now) in pairs.items() if then and then != now}
    if tree.changed:
        here["files"] = f"{first_files(tree.changed)} changed"
    if "stage" in here:
        return here  # with data and parameters of its own
    now = plain(problem.parameters(settings.training.params, settings.training.seed))
    if lineage.parameters and (other := other_parameters(lineage.parameters, now)):
        here["parameters"] = ", ".join(f"{name} {now.get(name, 'not there')}" for name in other)
    return here | _data_here(lineage, problem, settings)


def _data_here(lineage: Lineage, problem: Problem, settings: Settings) -> dict[str, str]:
    """The rows of a file are compared. A database is left in peace: `reproduce` asks it."""
    source = mask(settings.data.source)
    if source != lineage.data_source:
        return {"data": source}
    if settings.data.is_database:
        return {}
    try:
        dataset = DatasetReader.of(problem, settings, keep_key=False).read()
    except KitError as error:
        return {"data": error.what}
    same = dataset.digest == lineage.data_digest
    return {} if same else {"data": f"{len(dataset)} rows, digest {dataset.digest[:12]}"}


def _shown(address: str, root: Path) -> str:
    """A local store's address as a path, from the repository where it lies there."""
    if not address.startswith("file:"):
        return mask(address)
    path = path_of(address)
    return str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
