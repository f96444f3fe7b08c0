"""What holds for all tests. It is read by the process that hands them out, too: nothing here takes long to import."""

import gc
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from ctypes import CDLL
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]
READ_BY_A_RUN = ("config", "data", "requirements.txt", "MLproject", "python_env.yaml")


def lightgbm_loads() -> bool:
    """Its library wants OpenMP's, which a bare machine lacks."""
    found = find_spec("lightgbm")
    try:
        for library in Path(found.origin).parent.rglob("lib_lightgbm.*") if found and found.origin else ():
            CDLL(str(library))
    except OSError:
        return False
    return True


WANTS_LIGHTGBM = [] if lightgbm_loads() else ["test_estimators.py", "test_scores.py", "test_trees.py"]
collect_ignore = [f"starterkit/training/export/{name}" for name in WANTS_LIGHTGBM]


def pytest_configure() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and so does all that is started from there."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.set_threshold(20_000, 50, 100)  # the libraries make objects that stay; looking through them is a tenth of all


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if WANTS_LIGHTGBM:
        mend = "apt-get install libgomp1, or brew install libomp"
        terminalreporter.write_line(f"not run: {', '.join(WANTS_LIGHTGBM)}, for LightGBM does not load ({mend})")


def copy_repository(destination: Path, store: Path | None = None) -> Path:
    """What a run reads, copied to `destination`; `store` is an MLflow database to start with.

    A run is quick there: writing 200 trees and proving 100,000 rows would be most of it.
    """
    destination.mkdir(parents=True)
    for name in READ_BY_A_RUN:
        source = REPOSITORY / name
        if source.is_dir():  # a clone that is in use has prepared data
            shutil.copytree(source, destination / name, ignore=shutil.ignore_patterns("dev", "test", "staging"))
        else:
            shutil.copy(source, destination)
    base, few = destination / "config" / "base.yaml", ("n_estimators: 20\n", "learning_rate: 0.2\n")
    text = base.read_text().replace("n_estimators: 200\n", few[0]).replace("learning_rate: 0.03\n", few[1])
    assert [text.count(line) for line in few] == [1, 1]
    base.write_text(f"{text}\nexport:\n  parity_rows: 500\n")
    if store is not None:
        shutil.copy(store, destination / "mlflow.db")
    return destination


@pytest.fixture(scope="session")
def copied() -> Callable[..., Path]:
    return copy_repository


class Postgres:
    """A server of its own on loopback, which is stopped and started again."""

    def __init__(self, folder: Path) -> None:
        beside = [str(one) for one in Path("/usr/lib/postgresql").glob("*/bin")]  # where Debian keeps it, on no path
        self._path = os.pathsep.join([os.environ.get("PATH", ""), *beside])
        if not shutil.which("initdb", path=self._path):
            pytest.skip("not run: PostgreSQL is not installed")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.folder, self._user, self._made = folder, {}, 0
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            self._user = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        self.run("initdb", "-D", "data", "-U", "kit", "--no-sync", "-A", "trust").check_returncode()
        self.start()

    def run(self, *words: str) -> "subprocess.CompletedProcess[bytes]":
        command = [shutil.which(words[0], path=self._path) or words[0], *words[1:]]
        return subprocess.run(command, cwd=self.folder, capture_output=True, timeout=60, **self._user)

    def start(self) -> None:
        command = [shutil.which("postgres", path=self._path) or "", "-D", "data", "-h", "127.0.0.1"]
        command += ["-p", str(self.port), "-k", str(self.folder)]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": self.folder, **self._user}
        self._server = subprocess.Popen(command, **quiet)
        until = time.monotonic() + 30
        while self.run("pg_isready", "-h", "127.0.0.1", "-p", str(self.port)).returncode:
            assert time.monotonic() < until, "PostgreSQL does not start"
            time.sleep(0.1)

    def stop(self) -> None:
        """At once, as if the machine had gone: its journal mends the rest."""
        self._server.send_signal(signal.SIGQUIT)
        self._server.wait(20)

    def database(self) -> str:
        import psycopg

        self._made += 1
        address = f"postgresql://kit@127.0.0.1:{self.port}/"
        with psycopg.connect(f"{address}postgres", autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE log{self._made}")
        return f"{address}log{self._made}"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Skipped where PostgreSQL is not installed."""
    with TemporaryDirectory(prefix="kit-pg-", dir="/tmp") as folder:  # a socket's path is short
        server = Postgres(Path(folder))
        yield server
        server.stop()
