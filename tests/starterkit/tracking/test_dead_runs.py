"""A run whose process was killed is told from one that works; what is not certain counts as alive."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from starterkit.machine import PROCESS, state_of, this_process
from starterkit.tracking.connection import Connection
from starterkit.tracking.runs import Tracker

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="nothing is certain without /proc")


@pytest.fixture
def tracker(connection: Connection) -> Tracker:
    return Tracker(connection, "local.trial")


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        yield process
        process.kill()


def tags_of(process: subprocess.Popen[bytes]) -> dict[str, str]:
    """The tags that a run would have if it were this process's."""
    host, boot, *_ = this_process().split(" ")
    started = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[19]
    return {PROCESS: f"{host} {boot} {process.pid} {started}"}


def test_killed_run_is_marked_and_one_that_works_is_not(connection: Connection, tracker: Tracker, child: Any) -> None:
    with tracker.start("works") as works:
        experiment = connection.client.get_run(works.id).info.experiment_id
        dies = connection.client.create_run(experiment, tags=tags_of(child)).info.run_id
        assert [run.state for run in tracker.open_runs()] == ["alive", "alive"]
        assert tracker.end_dead_runs() == []
        child.kill()
        child.wait()
        assert [run.id for run in tracker.end_dead_runs()] == [dies]
        assert connection.client.get_run(dies).info.status == "KILLED"
        assert connection.client.get_run(works.id).info.status == "RUNNING"
        assert tracker.end_dead_runs() == []


def test_run_that_was_killed_while_it_got_more_is_finished_as_before(connection: Any, tracker: Any, child: Any) -> None:
    with tracker.start("first") as run:
        pass
    with tracker.resume(run.id):
        connection.client.set_tag(run.id, PROCESS, tags_of(child)[PROCESS])
    connection.client.set_terminated(run.id, "RUNNING")
    child.kill()
    child.wait()
    assert [dead.status_before for dead in tracker.end_dead_runs()] == ["FINISHED"]
    assert tracker.latest() == run.id


def test_no_runs_are_open_where_there_is_no_experiment(tracker: Tracker) -> None:
    assert tracker.open_runs() == []


def test_only_a_process_of_this_boot_of_this_machine_is_dead_for_certain() -> None:
    host, boot, process, started = this_process().split(" ")
    assert int(process) == os.getpid()

    def state(*parts: str) -> str:
        return state_of({PROCESS: " ".join(parts)})

    assert state(host, boot, process, started) == "alive"
    assert state(host, boot, process, str(int(started) - 1)) == "dead"  # its id is somebody else's by now
    assert state(host, boot, "4194304", started) == "dead"
    assert state("elsewhere", boot, "4194304", started) == "unknown"
    assert state(host, "another boot".replace(" ", "-"), "4194304", started) == "unknown"
    assert state(host, boot, "4194304", "-") == "unknown"
    assert state_of({}) == "unknown"


def test_ended_process_that_nobody_waited_for_is_dead(child: subprocess.Popen[bytes]) -> None:
    tags = tags_of(child)
    assert state_of(tags) == "alive"
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is a zombie now
    assert state_of(tags) == "dead"
