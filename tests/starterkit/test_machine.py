"""What this process may use, read from files of /proc and /sys as the two versions of control groups lay them out."""

import math
import os
from pathlib import Path

import pytest

from starterkit.machine import this_machine

GIGABYTE = 1024**3
needs_affinity = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="not run: only Linux knows it")


def written(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@needs_affinity
def test_this_machine_has_cores_and_memory() -> None:
    machine = this_machine()
    assert 0 < machine.cores <= len(os.sched_getaffinity(0))
    assert machine.memory > 100_000_000


@needs_affinity
def test_affinity_counts() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        assert this_machine().cores <= 1
    finally:
        os.sched_setaffinity(0, before)


@pytest.mark.parametrize(
    ("files", "cores", "memory"),
    [
        ({}, math.inf, math.inf),
        (
            {
                "proc/self/cgroup": "0::/\n",
                "sys/fs/cgroup/cpu.max": "50000 100000\n",
                "sys/fs/cgroup/memory.max": f"{GIGABYTE}\n",
            },
            0.5,
            GIGABYTE,
        ),
        (
            {
                "proc/self/cgroup": "0::/outer/inner\n",
                "sys/fs/cgroup/outer/inner/cpu.max": "max 100000\n",
                "sys/fs/cgroup/outer/inner/memory.max": "max\n",
                "sys/fs/cgroup/outer/memory.max": f"{2 * GIGABYTE}\n",
                "sys/fs/cgroup/outer/cpu.max": "75000 100000\n",
            },
            0.75,
            2 * GIGABYTE,
        ),
        (
            {
                "proc/self/cgroup": "5:memory:/docker/a\n4:cpu,cpuacct:/docker/a\n1:name=systemd:/docker/a\n",
                "sys/fs/cgroup/memory/docker/a/memory.limit_in_bytes": f"{GIGABYTE}\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/cpu/docker/a/cpu.cfs_quota_us": "25000\n",
                "sys/fs/cgroup/cpu/docker/a/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n",
            },
            0.25,
            GIGABYTE,
        ),
    ],
    ids=["none", "version 2, in a container", "version 2, of the outer group", "version 1"],
)
def test_control_groups_count(tmp_path: Path, files: dict[str, str], cores: float, memory: float) -> None:
    machine = this_machine(written(tmp_path, files))
    assert machine.cores == min(cores, this_machine(tmp_path / "none").cores)
    assert machine.memory == min(memory, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    assert machine.whole_cores == max(1, int(machine.cores))
