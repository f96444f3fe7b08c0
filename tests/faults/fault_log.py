"""The prediction log of an API under load: killed, without its database, on a full disk, restored from a backup.

What was acknowledged is in the log each time, or was counted and told as lost where the stage prefers an answer.
"""

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

KILLS = 50
CLIENTS = 8
SECONDS = 30

RECORD = {
    "age": 51, "sex": 1, "bmi": 26.0, "blood_pressure": 93.0, "total_cholesterol": 186.0, "ldl": 110.0, "hdl": 48.0,
    "cholesterol_ratio": 4.0, "log_triglycerides": 4.6347, "glucose": 91.0,
}  # fmt: skip
BODY = json.dumps({"records": [RECORD]})


class Api:
    """`serve` with clients that ask without a pause; the ids that they were given, and every other status."""

    def __init__(self, scratch) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        self._command = [sys.executable, "-m", "starterkit", "serve", "--port", str(self._port)]
        self._scratch, self.acknowledged, self.refused = scratch, set(), 0

    @contextmanager
    def started(self, end: signal.Signals = signal.SIGTERM) -> Iterator[None]:
        with (self._scratch.root / "said").open("a") as said:
            environ = {**os.environ, **self._scratch.environ, "PYTHONUNBUFFERED": "1"}
            self._process = subprocess.Popen(
                self._command, cwd=self._scratch.root, env=environ, stdout=said, stderr=subprocess.STDOUT
            )
        clients = [threading.Thread(target=self._ask) for _ in range(CLIENTS)]
        for one in clients:
            one.start()
        try:
            yield
        finally:
            self._process.send_signal(end)
            self._process.wait()
            for one in clients:
                one.join()

    def wait_for(self, what: Callable[[], int]) -> None:
        """Until a count has grown."""
        before, until = what(), time.monotonic() + SECONDS
        while what() <= before:
            assert self._process.poll() is None, self.said
            assert time.monotonic() < until, self.said
            time.sleep(0.01)

    @property
    def said(self) -> str:
        return (self._scratch.root / "said").read_text()

    def lost(self) -> int:
        with suppress(OSError, HTTPException):
            connection = HTTPConnection("127.0.0.1", self._port, timeout=5)
            connection.request("GET", "/metrics")
            lines = connection.getresponse().read().decode().splitlines()
            return int(next(one.split()[1] for one in lines if one.startswith("starterkit_unrecorded_total")))
        return 0

    def _ask(self) -> None:
        while self._process.poll() is None:
            connection = HTTPConnection("127.0.0.1", self._port, timeout=5)
            try:
                while True:
                    connection.request("POST", "/predict", BODY, {"Content-Type": "application/json"})
                    answer = connection.getresponse()
                    answer.read()
                    if answer.status == 200:
                        self.acknowledged.add(answer.headers["x-prediction-id"])
                    else:
                        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
                        self.refused += 1
                        time.sleep(0.02)
            except (OSError, HTTPException):
                time.sleep(0.02)
            finally:
                connection.close()


def kept(address: str) -> set[str]:
    engine = create_engine(address.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as log:
        return {bytes(one).hex() for one in log.execute(text("SELECT id FROM prediction")).scalars()}


def test_nothing_that_was_acknowledged_is_lost(scratch, tell):
    chance, api = random.Random(0), Api(scratch)
    for _ in range(KILLS):
        with api.started(signal.SIGKILL):
            api.wait_for(lambda: len(api.acknowledged))
            time.sleep(chance.random() / 2)
    lost = api.acknowledged - kept(f"sqlite:///{scratch.root}/state/local/predictions.db")
    assert not lost, f"{len(lost)} of {len(api.acknowledged)} over {KILLS} kills"
    tell(f"{KILLS} times kill -9 under load", -9, "", f"{len(api.acknowledged)} answered, all of them kept", "", "")


@pytest.fixture(params=["PostgreSQL is stopped", "the disk is full"])
def fault(request) -> tuple[str, Callable[[], object], Callable[[], object]]:
    """A log's address, what befalls it, and how that is mended."""
    if request.param == "PostgreSQL is stopped":
        server = request.getfixturevalue("postgres")
        return server.database(), server.stop, server.start
    disk: Path = request.getfixturevalue("small_disk")(64)  # the journal alone may have 16
    ballast = disk / "ballast"

    def fill() -> None:
        with ballast.open("wb", 0) as file:
            for size in (1 << 20, 1 << 12):
                with suppress(OSError):
                    while file.write(bytes(size)):
                        pass

    return f"sqlite:///{disk}/log.db", fill, ballast.unlink


@pytest.mark.parametrize("when_lost", ["refuse", "answer"])
def test_a_log_that_goes_and_comes_back(scratch, fault, when_lost, tell, request):
    address, hurt, mend = fault
    scratch.environ |= {"KIT_FEEDBACK__DATABASE": address, "KIT_FEEDBACK__WHEN_LOST": when_lost}
    api = Api(scratch)
    answered = lambda: len(api.acknowledged)  # noqa: E731
    missed = api.lost if when_lost == "answer" else lambda: api.refused
    hurt()
    with api.started():
        for more in (2, 1, 0):  # at the start, and in between
            api.wait_for(missed)
            mend()
            time.sleep(1)
            api.wait_for(answered)
            if more:
                hurt()
        told = api.lost()
    lost = len(api.acknowledged - kept(address))
    assert (lost == 0) if when_lost == "refuse" else (0 < lost <= told), (lost, told)
    fate = {"refuse": "refused", "answer": "answered and not recorded"}[when_lost]
    lines = [one for one in api.said.splitlines() if f"predictions are {fate}" in one]
    assert lines, api.said
    assert "Traceback" not in api.said
    words = f"{answered()} answered, {api.refused} refused, {lost} not kept, {told} told as lost"
    tell(f"{request.node.callspec.id} under load", 0, lines[0][:120], words, "", "")


@pytest.mark.parametrize("database", ["SQLite", "PostgreSQL"])
def test_a_backup_that_is_restored_in_between(scratch, database, tell, request):
    """With the database's own tools and under load: what is acknowledged afterwards stands beside the backup."""
    if database == "PostgreSQL":
        server = request.getfixturevalue("postgres")
        address, copy = server.database(), f"{server.folder}/backup"
        save = ["pg_dump", "--format=custom", f"--file={copy}", address]
        restore = ["pg_restore", "--clean", "--single-transaction", f"--dbname={address}", copy]
        steps = [lambda: server.run(*save).check_returncode(), lambda: server.run(*restore).check_returncode()]
    else:
        log, copy = (str(scratch.root / name) for name in ("log.db", "backup"))
        address, steps = f"sqlite:///{log}", [lambda: copied(log, copy), lambda: copied(copy, log)]
    scratch.environ["KIT_FEEDBACK__DATABASE"] = address
    api = Api(scratch)
    with api.started():
        api.wait_for(lambda: len(api.acknowledged))
        before = set(api.acknowledged)
        steps[0]()
        api.wait_for(lambda: len(api.acknowledged))
        steps[1]()
        time.sleep(0.5)  # what was answered before is with its client
        gone = set(api.acknowledged)
        api.wait_for(lambda: len(api.acknowledged))
        time.sleep(0.3)
    found = kept(address)
    assert before <= found
    assert api.acknowledged - gone <= found
    words = f"{len(api.acknowledged)} answered, {len(found)} in the log: {len(gone - found)} since the backup are gone"
    tell(f"a backup restored under load, {database}", 0, "", words, "", "")


def copied(source: str, target: str) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)
