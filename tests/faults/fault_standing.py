"""Conditions that stand until somebody mends them. Add a row by adding a function to `FAULTS`.

What a data file can be besides, the data's own tests look at: all of it comes to a person by the same way.

Each row: the condition is made, `run` meets it, `doctor` is asked, the condition is mended, `run` works.
"""

import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass

import pytest
from scratch import NOBODY, Outcome, Scratch

Inflict = Callable[[Scratch], AbstractContextManager[None]]


@dataclass(frozen=True)
class Fault:
    """What is done, what makes and mends it, how `command` must end, and patterns for its line and for `doctor`'s.

    `doctor` must find nothing wrong where its pattern is empty.
    """

    done: str
    inflict: Inflict
    code: int
    says: str
    doctor: str = ""
    command: tuple[str, ...] = ("run",)


def once(change: Callable[[Scratch], object]) -> Inflict:
    """A condition that is mended by bringing back what was there."""

    @contextmanager
    def inflict(scratch: Scratch) -> Iterator[None]:
        change(scratch)
        yield

    return inflict


def environ(**variables: str) -> Inflict:
    return once(lambda scratch: scratch.environ.update(variables))


def rows(change: Callable[[list[str]], list[str]]) -> Inflict:
    return once(lambda scratch: scratch.edit(lambda text: "\n".join(change(text.splitlines())) + "\n"))


@contextmanager
def as_another_user(scratch: Scratch, change: Callable[[Scratch], None]) -> Iterator[None]:
    if os.geteuid():
        pytest.skip("not run: only root can be another user")
    scratch.temporary.chmod(0o777)
    change(scratch)
    scratch.user = NOBODY
    yield
    scratch.user = None
    subprocess.run(["chown", "-R", "0:0", scratch.root], check=True)
    subprocess.run(["chmod", "-R", "u+rwX", scratch.root], check=True)


def another_user(change: Callable[[Scratch], None]) -> Inflict:
    return lambda scratch: as_another_user(scratch, change)


def belongs_to_root(name: str, mode: int) -> Inflict:
    """All is another user's but this, which is root's."""

    def change(scratch: Scratch) -> None:
        subprocess.run(["chown", "-R", str(NOBODY), scratch.root], check=True)
        subprocess.run(["chown", "-R", "0", scratch.root / name], check=True)
        (scratch.root / name).chmod(mode)

    return another_user(change)


@contextmanager
def database(scratch: Scratch, spoil: Callable[[bytes], bytes]) -> Iterator[None]:
    whole = scratch.database.read_bytes()
    scratch.database.write_bytes(spoil(whole))
    spoiled = scratch.database.read_bytes()
    yield
    assert scratch.database.read_bytes() == spoiled, "a damaged store was written to"
    scratch.database.write_bytes(whole)


def spoiled(spoil: Callable[[bytes], bytes]) -> Inflict:
    return lambda scratch: database(scratch, spoil)


HOLDER = """
import sqlite3, sys
held = sqlite3.connect("mlflow.db", isolation_level=None)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
sys.stdin.read()
"""


@contextmanager
def locked(scratch: Scratch) -> Iterator[None]:
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    holder = subprocess.Popen([sys.executable, "-c", HOLDER], cwd=scratch.root, **pipes)
    assert holder.stdout.readline() == b"held\n"
    yield
    holder.communicate()


@contextmanager
def without_artifacts(scratch: Scratch) -> Iterator[None]:
    aside = scratch.root.parent / "aside"
    (scratch.root / "mlartifacts").rename(aside)
    yield
    shutil.copytree(aside, scratch.root / "mlartifacts", dirs_exist_ok=True)
    shutil.rmtree(aside)


def dangling_alias(scratch: Scratch) -> None:
    with closing(sqlite3.connect(scratch.database)) as store, store:
        store.execute("PRAGMA foreign_keys = OFF")
        store.execute("UPDATE registered_model_aliases SET version = 7")


@contextmanager
def taken_port(scratch: Scratch) -> Iterator[None]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        scratch.environ["KIT_SERVING__PORT"] = str(taken.getsockname()[1])
        yield


FAULTS = (
    Fault("unknown stage", environ(KIT_STAGE="produktion"), 2, "KIT_STAGE: this is not a stage.*Set it to", "KIT_STAGE"),
    Fault("stage that waits for its data", environ(KIT_STAGE="test"), 2, "stage test may not see age", "may not see age"),
    Fault("misspelt variable", environ(KIT_SERVNG__PORT="1"), 2, "KIT_SERVNG__PORT: no setting", "KIT_SERVNG__PORT"),
    Fault("bad YAML", once(lambda s: (s.root / "config/local.yaml").write_text("tracking: {uri: [\n")),
          2, r"config/local\.yaml, line \d+.*Correct the YAML", r"config/local\.yaml, line"),
    Fault("missing YAML", once(lambda s: (s.root / "config/local.yaml").unlink()),
          2, r"config/local\.yaml is missing.*Bring it back", r"config/local\.yaml is missing"),
    Fault("project's code with a mistake of syntax", once(lambda s: s.project(lambda text: text + "\nx = = 1\n")),
          2, r"SyntaxError: invalid syntax \(.*problem\.py, line \d+\)\. Mend", r"SyntaxError"),
    Fault("project's code imports what is not there", once(lambda s: s.project(lambda text: "import lightgbmm\n" + text)),
          2, r"no module 'lightgbmm'.*make add PKG=lightgbmm", r"no module 'lightgbmm'"),
    Fault("missing data file", once(lambda s: s.data.unlink()), 2, "does not exist.*Put it there", "does not exist"),
    Fault("semicolons between the columns", once(lambda s: s.edit(lambda text: text.replace(",", ";"))), 0, "score"),
    Fault("missing column", rows(lambda lines: [line.rpartition(",")[0] for line in lines]), 2, "first, progression is missing", "progression is missing"),
    Fault("store is no database", spoiled(lambda _: b"garbage " * 9000), 1, "mlflow.db is not a database.*move it away", "not a database"),
    Fault("store cut off", spoiled(lambda whole: whole[: len(whole) // 3]), 1, "mlflow.db is damaged.*Bring a copy", "damaged"),
    Fault("store with garbage in the middle", spoiled(lambda whole: whole[:4096] + os.urandom(300_000) + whole[304_096:]),
          1, "damaged|malformed", "damaged"),
    Fault("another program's database as store", once(lambda s: (sqlite3.connect(s.root / "data/x.db").execute("CREATE TABLE t (a)"),
          s.environ.update(KIT_TRACKING__URI="sqlite:///data/x.db"))), 1, "not a whole one of MLflow's", "not a whole one"),
    Fault("locked store", locked, 1, r"locked by process \d+ \(python.*for more than 20 s.*end it", "locked by process"),
    Fault("artifacts removed", without_artifacts, 1, r"version 2 \(champion\): .*the files of local.diabetes version 1 are gone.*Bring them back", "files of local.diabetes version 1 are gone"),
    Fault("alias points at a version that is gone", once(dangling_alias), 0, "score", "points at version 7, which is gone"),
    Fault("data folder read-only", belongs_to_root("data", 0o555), 0, "score", "data/ cannot be written"),
    Fault("data file of another user", belongs_to_root("data/diabetes.csv", 0o600), 2, "may not be read by you", "may not be read by you"),
    Fault("repository of another user", another_user(lambda s: None), 1, "cannot be written.*belongs to user root", "cannot be written"),
    Fault("store of another user", belongs_to_root("mlflow.db", 0o644), 1, "mlflow.db, cannot be written: .* belongs to user root", "belongs to user root"),
    Fault("artifacts of another user", belongs_to_root("mlartifacts", 0o755), 1, "mlartifacts, cannot be written", "mlartifacts"),
    Fault("port taken", taken_port, 2, "cannot be had: Address already in use.*KIT_SERVING__PORT", "Address already in use", ("serve",)),
)  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.done)
def test_condition(fault, scratch, tell):
    whole = scratch.digest()
    with ExitStack() as mended:
        mended.enter_context(scratch.restored())
        mended.enter_context(fault.inflict(scratch))
        before = scratch.digest()
        doctor = scratch.run("doctor")
        unchanged_by_doctor = scratch.digest() == before
        outcome = scratch.run(*fault.command)
        met = scratch.state()
    left = scratch.state()
    following = Outcome(0, "", "nothing was written") if scratch.digest() == whole else scratch.run("run")
    told = [line.split(maxsplit=2) for line in doctor.stdout.splitlines() if line.split()[:1] in (["fails"], ["look"])]
    found = [words[2].strip() for words in told if "not looked at" not in words[2]]
    tell(fault.done, outcome.code, outcome.line, met, "works" if following.code == 0 and following.stdout else
         following.line, "; ".join(found) or "finds nothing")  # fmt: skip
    assert (outcome.code, outcome.untidy) == (fault.code, ""), outcome.stderr
    assert re.search(fault.says, outcome.line, re.DOTALL), outcome.line
    assert (following.code, following.untidy) == (0, ""), following.stderr
    assert left.faults == () or "alias" in fault.done, left
    assert scratch.state().faults == ()
    assert scratch.state().stray == ()
    assert "Traceback" not in doctor.stderr, doctor.stderr
    assert unchanged_by_doctor
    if fault.doctor:
        assert re.search(fault.doctor, doctor.stdout), doctor.stdout
        assert doctor.code == (1 if any(line.startswith("  fails") for line in doctor.stdout.splitlines()) else 0)
    else:
        assert not found


def test_moved_repository_goes_on(scratch, tell):
    moved = Scratch(scratch.root.rename(scratch.root.with_name("other näme")))
    asked = moved.digest()
    doctor = moved.run("doctor")
    assert moved.digest() == asked
    assert "moved or copied" in doctor.stdout
    outcome = moved.run("run")
    follows = "moved or copied, the next run follows"
    tell("repository moved", outcome.code, outcome.line, moved.state(), "the same", follows)
    assert (outcome.code, outcome.untidy) == (0, ""), outcome.stderr
    assert "version 1 on the same 98 rows" in outcome.stdout
    assert moved.state().faults == ()
    assert not scratch.root.exists()


def test_half_registered_version_is_named(scratch, tell):
    for step in ("train", "export", "register"):
        outcome = scratch.run(step)
        assert outcome.code == 0, outcome.stderr
    doctor = scratch.run("doctor")
    following = scratch.run("run")
    tell("version registered and never judged", outcome.code, outcome.line, scratch.state(), "works", "names it")
    assert "version 2 was registered and never judged" in doctor.stdout
    assert following.code == 0
