"""A scratch copy of the repository in which real commands meet real faults, and a look at what they leave."""

import hashlib
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from operator import methodcaller
from pathlib import Path

from starterkit.tracking.store import LocalStore, path_of

REPOSITORY = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "starterkit"]
READ_BY_A_RUN = ("config", "data", "requirements.txt", "MLproject", "python_env.yaml")
EXPORTED = {"contract.json", "model.onnx", "parity.npz"}
NOBODY = 65534
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "ORT_DISABLE_TELEMETRY": "1", "PYTHONDONTWRITEBYTECODE": "1"}
SECONDS = 150


@dataclass(frozen=True)
class Outcome:
    """What a command came to. `code` is negative where a signal ended it."""

    code: int
    stdout: str
    stderr: str

    @property
    def line(self) -> str:
        """What a person is told at the end: the error with its hint, or the last line."""
        lines = [line.strip() for line in self.stderr.splitlines() if line.strip()]
        errors = [number for number, line in enumerate(lines) if line.startswith("error:")]
        return " ".join(lines[errors[0] :]) if errors else next(iter(lines[-1:]), "")

    @property
    def untidy(self) -> str:
        """What no person should be shown: a traceback, a log line, more than one error."""
        signs = r"Traceback|Warning\b|WARNING|Exception ignored|\[SQL|sqlalche\.me|will be retried"
        noise = re.search(signs, self.stderr)
        twice = "more than one error" if len(re.findall("^error:", self.stderr, re.MULTILINE)) > 1 else ""
        return noise[0] if noise else twice


@dataclass(frozen=True)
class State:
    """What is in a store, and what is wrong with it."""

    runs: Mapping[str, int] = field(default_factory=dict)
    versions: int = 0
    aliases: Mapping[str, int] = field(default_factory=dict)
    unjudged: int = 0
    stray: tuple[str, ...] = ()
    faults: tuple[str, ...] = ()

    def __str__(self) -> str:
        runs = ", ".join(f"{count} {status.lower()}" for status, count in sorted(self.runs.items())) or "none"
        aliases = ", ".join(f"{alias} -> {number}" for alias, number in self.aliases.items()) or "none"
        return f"runs: {runs}; versions: {self.versions}; aliases: {aliases}; stray: {', '.join(self.stray) or 'none'}"


class Scratch:
    """One copy. `user` is who runs the commands; the scratch folder for temporary files is its own too."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.temporary = root.parent / "tmp"
        self.temporary.mkdir(parents=True, exist_ok=True)
        self.environ: dict[str, str] = {}
        self.user: int | None = None

    def start(self, *arguments: str, command: list[str] | None = None) -> subprocess.Popen[str]:
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("KIT_", "MLFLOW_"))}
        environ |= QUIET | {"TMPDIR": str(self.temporary)} | self.environ
        words = [*(command or COMMAND), *arguments]
        if self.user is not None:
            environ["HOME"] = str(self.temporary)
            words = [*other_user(self.user), *words]
        pipes = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
        return subprocess.Popen(words, cwd=self.root, env=environ, text=True, **pipes)

    def run(self, *arguments: str, command: list[str] | None = None) -> Outcome:
        process = self.start(*arguments, command=command)
        try:
            stdout, stderr = process.communicate(timeout=SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            stdout, stderr = process.communicate()
            stderr += f"\nhung for {SECONDS} s"
        return Outcome(process.returncode, stdout, stderr)

    def interrupted(self, after: str, act: Callable[..., None], run_is_open: bool = False, pause: float = 0) -> Outcome:
        """`run`, in which something happens as soon as a step's line appears; without a name, while it starts.

        With `run_is_open` it happens when the next step has opened its run in MLflow, and `pause` seconds later.
        """
        process = self.start("run")
        said = ""
        if after:
            for line in process.stderr:
                said += line
                if after in line:
                    break
        else:
            time.sleep(0.4)
        while run_is_open and process.poll() is None and "RUNNING" not in self.state().runs:
            time.sleep(0.01)
        time.sleep(pause)
        act(process)
        stdout, stderr = process.communicate(timeout=SECONDS)
        return Outcome(process.returncode, stdout, said + stderr)

    @property
    def database(self) -> Path:
        return self.root / "mlflow.db"

    @property
    def data(self) -> Path:
        return self.root / "data" / "diabetes.csv"

    def edit(self, change: Callable[[str], str]) -> None:
        self.data.write_text(change(self.data.read_text()))

    def project(self, change: Callable[[str], str]) -> None:
        """Let the project's own code be another one, ahead of the installed one."""
        package = self.root / "src" / "example_project"
        if not package.exists():
            shutil.copytree(REPOSITORY / "src" / "example_project", package)
        file = package / "problem.py"
        file.write_text(change(file.read_text()))
        self.environ["PYTHONPATH"] = str(package.parent)

    def digest(self) -> str:
        return digest_of([self.database, *(self.root / "mlartifacts").rglob("*")])

    def everything(self) -> str:
        return digest_of([*self.root.rglob("*"), *self.temporary.rglob("*")])

    @contextmanager
    def restored(self) -> Iterator[None]:
        """Bring back afterwards what a fault changed: everything but what a run writes."""
        kept = self.root.parent / "kept"
        shutil.copytree(self.root, kept, ignore=shutil.ignore_patterns("mlflow.db*", "mlartifacts"))
        try:
            yield
        finally:
            for name in READ_BY_A_RUN:
                place = self.root / name
                shutil.rmtree(place) if place.is_dir() else place.unlink(missing_ok=True)
                (shutil.copytree if (kept / name).is_dir() else shutil.copy2)(kept / name, place)
            shutil.rmtree(self.root / "src", ignore_errors=True)
            shutil.rmtree(kept)
            self.environ.clear()
            self.user = None

    def state(self) -> State:
        known = {*READ_BY_A_RUN, "mlflow.db", "mlartifacts", "src"}
        stray = [name.name for name in sorted(self.root.iterdir()) if name.name not in known]
        stray += [f"$TMPDIR/{name.name}" for name in sorted(self.temporary.glob("starterkit-*"))]
        try:
            with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True)) as database:
                return self._state(database, tuple(stray))
        except sqlite3.DatabaseError as error:
            return State(stray=(*stray, f"mlflow.db: {error}") if self.database.exists() else tuple(stray))

    def _state(self, database: sqlite3.Connection, stray: tuple[str, ...]) -> State:
        ask = database.execute
        active = "SELECT status, count(*) FROM runs WHERE lifecycle_stage = 'active' GROUP BY status"
        runs = dict(ask(active).fetchall())
        places = dict(ask("SELECT version, storage_location FROM model_versions").fetchall())
        aliases = dict(ask("SELECT alias, version FROM registered_model_aliases").fetchall())
        tags: dict[int, dict[str, str]] = {number: {} for number in places}
        for number, key, value in ask("SELECT version, key, value FROM model_version_tags").fetchall():
            tags.setdefault(number, {})[key] = value
        faults = [f"alias {alias} points at nothing" for alias, number in aliases.items() if number not in places]
        for number, place in places.items():
            folder = path_of(place)
            there = {file.name for file in folder.iterdir()} if folder.is_dir() else set()
            if not there >= EXPORTED or not tags[number].keys() >= {"commit", "data_digest", "run"}:
                faults.append(f"version {number} is half registered")
        for alias, number in aliases.items():
            if tags.get(number, {}).get("gate") != "passed":
                faults.append(f"alias {alias} points at version {number}, which did not pass")
        unjudged = sum("gate" not in tags[number] for number in places)
        return State(runs, len(places), aliases, unjudged, stray, tuple(faults))


def digest_of(places: Iterable[Path]) -> str:
    total = hashlib.sha256()
    for place in sorted(places):
        if place.is_file():
            total.update(f"{place}\x00".encode() + place.read_bytes())
        elif place.is_dir():
            total.update(f"{place}/\x00".encode())
    return total.hexdigest()


def copied(source: Path, destination: Path) -> Scratch:
    """A copy with a store of its own, which points into the copy."""
    shutil.copytree(source, destination)
    store = LocalStore(destination / "mlflow.db", destination / "mlartifacts")
    if store.exists:
        store.follow(store.left_behind())
    return Scratch(destination)


@cache
def other_user(user: int) -> list[str]:
    """The words in front of a command that is somebody else's. Where that one may not even read this Python,
    it gets the right to read, but not to write, what is not its own."""
    plain = ["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups"]
    tried = subprocess.run([*plain, sys.executable, "-c", "import mlflow"], capture_output=True, cwd="/")
    capabilities = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    return plain if tried.returncode == 0 else [*plain, *capabilities]


def fill(filler: Path) -> None:
    """The disk, to the last byte."""
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 10, 1):
            with suppress(OSError):
                while file.write(b"x" * size) == size:
                    pass


SIGNALS = (signal.SIGINT, signal.SIGKILL, signal.SIGTERM)
interrupt, kill, terminate = (methodcaller("send_signal", number) for number in SIGNALS)
