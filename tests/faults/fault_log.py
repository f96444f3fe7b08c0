"""The prediction log of an API under load: killed, without its database, on a full disk, restored from a backup.

What was acknowledged is in the log each time, or was counted and told as lost where the stage prefers an answer.
"""

import json
import random
import signal
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from scratch import fill
from sqlalchemy import create_engine, text

KILLS = 50
RECORD = {
    "age": 51, "sex": 1, "bmi": 26.0, "blood_pressure": 93.0, "total_cholesterol": 186.0, "ldl": 110.0, "hdl": 48.0,
    "cholesterol_ratio": 4.0, "log_triglycerides": 4.6347, "glucose": 91.0,
}  # fmt: skip
BODY = json.dumps({"records": [RECORD]})


@pytest.fixture
def loaded(scratch: Any, serve: Callable[..., Any], load: Any) -> Callable[[], Any]:
    """Starts an API with eight clients, who ask while it starts, too. Gives both."""

    @contextmanager
    def start() -> Iterator[tuple[Any, Any]]:
        api = serve(scratch.root, **scratch.environ)
        with load(api, BODY, clients=8) as clients:
            yield api, clients

    return start


def ids(clients: Any) -> set[str]:
    """What was acknowledged."""
    return {*clients.told("x-prediction-id")}


def more_of(api: Any, count: Callable[[], float]) -> None:
    """Wait until a count has grown, while the API lives."""
    before = count()
    api.wait(lambda: count() > before or api.process.poll() is not None, seconds=30)
    assert count() > before, api.said


def missed(api: Any) -> int:
    """What it says was answered and not recorded."""
    with suppress(OSError):
        return int(api.metric("unrecorded_total"))
    return 0


def kept(address: str) -> set[str]:
    engine = create_engine(address.replace("postgresql://", "postgresql+psycopg://"))
    with engine.connect() as log:
        return {bytes(one).hex() for one in log.execute(text("SELECT id FROM prediction")).scalars()}


def test_nothing_that_was_acknowledged_is_lost(scratch, loaded, tell):
    chance, acknowledged = random.Random(0), set[str]()
    for _ in range(KILLS):
        with loaded() as (api, clients):
            more_of(api, lambda clients=clients: len(ids(clients)))
            time.sleep(chance.random() / 2)
            api.signal(signal.SIGKILL)
        acknowledged |= ids(clients)
    lost = acknowledged - kept(f"sqlite:///{scratch.root}/state/local/predictions.db")
    assert not lost, f"{len(lost)} of {len(acknowledged)} over {KILLS} kills"
    tell(f"{KILLS} times kill -9 under load", -9, "", f"{len(acknowledged)} answered, all of them kept", "", "")


@pytest.fixture(params=["PostgreSQL is stopped", "the disk is full"])
def fault(request) -> tuple[str, Callable[[], object], Callable[[], object]]:
    """A log's address, what befalls it, and how that is mended."""
    if request.param == "PostgreSQL is stopped":
        server = request.getfixturevalue("postgres")
        return server.database(), server.stop, server.start
    disk: Path = request.getfixturevalue("small_disk")(64)  # the journal alone may have 16
    ballast = disk / "ballast"
    return f"sqlite:///{disk}/log.db", lambda: fill(ballast), ballast.unlink


@pytest.mark.parametrize("when_lost", ["refuse", "answer"])
def test_a_log_that_goes_and_comes_back(scratch, loaded, fault, when_lost, tell, request):
    address, hurt, mend = fault
    scratch.environ |= {"KIT_FEEDBACK__DATABASE": address, "KIT_FEEDBACK__WHEN_LOST": when_lost}
    hurt()
    with loaded() as (api, clients):
        for more in (2, 1, 0):  # at the start, and in between
            more_of(api, lambda: missed(api) if when_lost == "answer" else clients.harmed[0])
            mend()
            time.sleep(1)
            more_of(api, lambda: len(ids(clients)))
            if more:
                hurt()
        told = missed(api)
    assert api.end() == 0
    refused = clients.told("retry-after", status=503)
    assert refused == ["1"] * clients.harmed[0]
    lost = len(ids(clients) - kept(address))
    assert (lost == 0) if when_lost == "refuse" else (0 < lost <= told), (lost, told)
    fate = {"refuse": "refused", "answer": "answered and not recorded"}[when_lost]
    lines = [one for one in api.said.splitlines() if f"predictions are {fate}" in one]
    assert lines, api.said
    assert "Traceback" not in api.said
    words = f"{len(ids(clients))} answered, {len(refused)} refused, {lost} not kept, {told} told as lost"
    tell(f"{request.node.callspec.id} under load", 0, lines[0][:120], words, "", "")


@pytest.mark.parametrize("database", ["SQLite", "PostgreSQL"])
def test_a_backup_that_is_restored_in_between(scratch, loaded, database, tell, request):
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
    with loaded() as (api, clients):
        more_of(api, lambda: len(ids(clients)))
        before = ids(clients)
        steps[0]()
        more_of(api, lambda: len(ids(clients)))
        steps[1]()
        time.sleep(0.5)  # what was answered before is with its client
        gone = ids(clients)
        more_of(api, lambda: len(ids(clients)))
        time.sleep(0.3)
    acknowledged, found = ids(clients), kept(address)
    assert before <= found
    assert acknowledged - gone <= found
    words = f"{len(acknowledged)} answered, {len(found)} in the log: {len(gone - found)} since the backup are gone"
    tell(f"a backup restored under load, {database}", 0, "", words, "", "")


def copied(source: str, target: str) -> None:
    with closing(sqlite3.connect(source)) as one, closing(sqlite3.connect(target)) as other:
        one.backup(other)
