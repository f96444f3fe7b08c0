"""How much memory a process that answers may have."""

import sys

from starterkit.errors import SettingsError
from starterkit.machine import this_machine

_MEGABYTE = 2**20


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

    there = this_machine().memory // _MEGABYTE
    if megabytes > there:
        what = f"serving.memory_mb is {megabytes}, and this machine or container has {there}"
        raise SettingsError(what, "Give it less, or the machine more")
    # The address space would be the wrong measure: allocators reserve far more of it than they use.
    resource.setrlimit(resource.RLIMIT_DATA, (megabytes * _MEGABYTE, resource.getrlimit(resource.RLIMIT_DATA)[1]))
    return True
