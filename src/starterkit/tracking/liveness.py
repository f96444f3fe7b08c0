"""Which process a run belongs to, so that a run whose process was killed can be told from one that still works.

See docs/decisions/0014-faults.md: what is not certain counts as alive.
"""

import os
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

TAG = "process"

State = Literal["alive", "dead", "unknown"]


def this_process() -> str:
    """Machine, boot and process namespace, process id and its time of start, parted by spaces."""
    return f"{socket.gethostname()} {_boot()} {os.getpid()} {_started(os.getpid()) or '-'}"


def state_of(tags: Mapping[str, str]) -> State:
    """Whether the process that a run's tags name still works.

    Only a process of this boot of this machine can be dead for certain: its id is free, or somebody else has it by
    now. Of others nothing is known.
    """
    parts = tags.get(TAG, "").split(" ")
    if len(parts) != 4 or "-" in parts[1:] or parts[:2] != [socket.gethostname(), _boot()]:
        return "unknown"
    return "alive" if _started(int(parts[2])) == parts[3] else "dead"


def _boot() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return "-"


def _started(process: int) -> str:
    """When a process started, in ticks since the boot; empty where there is none, or where it has ended."""
    try:
        words = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if words[0] in "ZX" else words[19]
