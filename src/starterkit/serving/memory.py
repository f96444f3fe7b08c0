"""How much memory a process that answers may have."""

import os
import sys
from pathlib import Path

from starterkit.errors import SettingsError

_CGROUP = Path("/sys/fs/cgroup/memory.max")


def limit_memory(megabytes: int) -> bool:
    """Hold this process to so much data: heap, stacks and private mappings. A request beyond it fails by itself.

    Returns
    -------
    held
        False where the machine cannot do it: everywhere but on Linux.

    Raises
    ------
    SettingsError
        The machine, or the container, has less.
    """
    if not sys.platform.startswith("linux"):
        return False
    import resource

    there = memory_here()
    if megabytes > there:
        what = f"serving.memory_mb is {megabytes}, and this machine or container has {there}"
        raise SettingsError(what, "Give it less, or the machine more")
    # The address space would be the wrong measure: allocators reserve far more of it than they use.
    resource.setrlimit(resource.RLIMIT_DATA, (megabytes * 2**20, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    return True


def memory_here() -> int:
    """Megabytes that this machine, or the container's limit, has."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        told = _CGROUP.read_text(encoding="ascii").strip()
    except OSError:
        told = "max"
    return min(whole, int(told) if told.isdigit() else whole) // 2**20
