"""The cores and the memory that this process may use: what affinity and control groups leave of the machine's."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Machine:
    """What there is to be had. A container with half a core has 0.5 `cores`; `memory` is in bytes."""

    cores: float
    memory: int

    @property
    def whole_cores(self) -> int:
        """How many threads it can keep busy; at least one."""
        return max(1, int(self.cores))


def this_machine(root: Path = Path("/")) -> Machine:
    """What this process may use. `root` is where /proc and /sys are."""
    cores = float(len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return Machine(min([cores, *_core_limits(root)]), min([memory, *_memory_limits(root)]))


def _memory_limits(root: Path) -> Iterator[int]:
    """In bytes. Without a limit version 2 says `max`, and version 1 a number larger than any machine."""
    for folder in _groups(root, "memory"):
        for name in ("memory.max", "memory.limit_in_bytes"):
            said = _read(folder / name).strip()
            if said.isdecimal():
                yield int(said)


def _core_limits(root: Path) -> Iterator[float]:
    for folder in _groups(root, "cpu"):
        older = f"{_read(folder / 'cpu.cfs_quota_us')} {_read(folder / 'cpu.cfs_period_us')}"
        for said in (_read(folder / "cpu.max"), older):
            match said.split():
                case [quota, period] if quota.isdecimal() and period.isdecimal():  # else `max`, or -1: no limit
                    yield int(quota) / int(period)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """The control groups that this process is in, up to the outermost; a container sees its own as that one."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, controllers, path = line.split(":", 2)
        if number != "0" and controller not in controllers.split(","):
            continue
        top = root / "sys/fs/cgroup" / ("" if number == "0" else controller)
        own = top / path.strip("/")
        yield from (folder for folder in (own, *own.parents) if folder == top or top in folder.parents)


def _read(file: Path) -> str:
    try:
        return file.read_text("utf-8")
    except OSError:  # not Linux, or the other version of control groups
        return ""
