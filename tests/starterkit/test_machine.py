"""What this process may use, as the files of both versions of control groups say; ports; programs beside this one."""

import math
import os
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import psutil
import pytest

from starterkit.cli.challenger import stand_back
from starterkit.errors import SettingsError
from starterkit.machine import bind, listen, require_port, running, this_machine
from starterkit.settings import ServingSettings

GIGABYTE, SYS, PERIOD = 1024**3, "sys/fs/cgroup", ("period", "100000\n")


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="not run: only Linux knows it")
def test_this_machine_has_cores_and_memory_and_affinity_counts():
    machine = this_machine()
    assert 0 < machine.cores <= len(os.sched_getaffinity(0))
    assert machine.memory > 100_000_000
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert this_machine().cores <= 1
        assert ServingSettings(workers=2).processes == 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="not run: only Linux knows it")
def test_a_thread_that_stands_back_takes_those_along_that_it_starts_and_no_other():
    with ThreadPoolExecutor(1) as before, ThreadPoolExecutor(1, initializer=stand_back) as back:
        own = os.sched_getscheduler(0)
        after = back.submit(lambda: ThreadPoolExecutor(1).submit(os.sched_getscheduler, 0).result())
        found = [before.submit(os.sched_getscheduler, 0), back.submit(os.sched_getscheduler, 0), after]
        assert [one.result() for one in found] == [own, os.SCHED_IDLE, os.SCHED_IDLE]


@pytest.mark.parametrize(
    ("files", "cores", "memory"),
    [
        ({}, math.inf, math.inf),
        ({"proc/self/cgroup": "0::/\n", f"{SYS}/cpu.max": "50000 100000\n", f"{SYS}/memory.max": "9000\n"}, 0.5, 9000),
        (
            {
                "proc/self/cgroup": "0::/outer/inner\n", f"{SYS}/outer/inner/cpu.max": "max 100000\n",
                f"{SYS}/outer/inner/memory.max": "max\n", f"{SYS}/outer/memory.max": f"{2 * GIGABYTE}\n",
                f"{SYS}/outer/cpu.max": "75000 100000\n",
            },
            0.75, 2 * GIGABYTE,
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n1:name=systemd:/docker/a\n",
                f"{SYS}/memory/docker/a/memory.limit_in_bytes": f"{GIGABYTE}\n",
                f"{SYS}/memory/memory.limit_in_bytes": "9223372036854771712\n",
                **{f"{SYS}/cpu/docker/a/cpu.cfs_{name}_us": us for name, us in (("quota", "25000\n"), PERIOD)},
                **{f"{SYS}/cpu/cpu.cfs_{name}_us": us for name, us in (("quota", "-1\n"), PERIOD)},
            },
            0.25, GIGABYTE,
        ),
    ],
    ids=["none", "version 2, in a container", "version 2, of the outer group", "version 1"],
)  # fmt: skip
def test_control_groups_count(tmp_path, files, cores, memory):
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    machine = this_machine(tmp_path)
    assert machine.cores == min(cores, this_machine(tmp_path / "none").cores)
    assert machine.memory == min(memory, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    assert machine.whole_cores == max(1, int(machine.cores))


def test_a_port_that_somebody_has_is_refused_and_a_free_one_is_free_afterwards():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(SettingsError, match=r"cannot be had: Address already in use\. End the program"):
            require_port("127.0.0.1", other.getsockname()[1])
    (bound,) = bind("127.0.0.1", 0)
    port = bound.getsockname()[1]
    bound.close()
    for _ in range(2):
        require_port("127.0.0.1", port)


def test_each_address_of_a_host_is_bound(monkeypatch):
    stream = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
    missing = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("192.0.2.1", 0))
    two = [(*stream, ("127.0.0.1", 0)), (*stream, ("127.0.0.2", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [*two, missing])  # as `localhost` without IPv6
    bound = bind("localhost", 0)
    assert [one.getsockname()[0] for one in bound] == ["127.0.0.1", "127.0.0.2"]
    for one in bound:
        one.close()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: [missing, *two])
    with pytest.raises(SettingsError, match="cannot be had"):
        bind("localhost", 0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="not run: elsewhere a bound port is taken")
def test_of_two_that_bind_a_port_the_second_to_listen_is_told():
    (first,) = bind("127.0.0.1", 0)
    port = first.getsockname()[1]
    (second,) = bind("127.0.0.1", port)
    with first, second:
        listen([second], "127.0.0.1", port)
        with pytest.raises(SettingsError, match="cannot be had: Address already in use"):
            listen([first], "127.0.0.1", port)


DEAF = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
ASLEEP = "import time; print(flush=True); time.sleep(60)"
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {ASLEEP!r}])"


def test_a_program_is_asked_to_end_else_killed_and_a_session_ends_as_a_whole():
    with running([sys.executable, "-c", ASLEEP]) as process:
        assert process.poll() is None
    assert process.returncode == -signal.SIGTERM
    with running([sys.executable, "-c", DEAF], seconds=0.2, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
    assert process.returncode == -signal.SIGKILL
    with running([sys.executable, "-c", PARENT], session=True, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        (child,) = psutil.Process(process.pid).children()
        process.kill()
        process.wait()
    child.wait(10)
