"""What a process and its children use, as Linux tells it."""

import os
import sys
import time
from dataclasses import dataclass
from pathlib import Path

_PROCESSES = Path("/proc")
_MEASURABLE = sys.platform.startswith("linux")


@dataclass(frozen=True)
class Usage:
    """CPU seconds since the processes began, resident megabytes now, and when that was looked at (monotonic)."""

    seconds: float
    memory_mb: float
    at: float


def can_measure() -> bool:
    return _MEASURABLE


def usage_of(process: int) -> Usage | None:
    """A process with all its descendants; None where it is not there.

    Shared pages count once for each process, so that the memory is rather too high than too low.
    """
    parents, figures = dict[int, int](), dict[int, tuple[float, float]]()
    ticks, page = os.sysconf("SC_CLK_TCK"), os.sysconf("SC_PAGE_SIZE")
    for folder in _PROCESSES.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            # The name, which may hold anything, ends with the last bracket.
            words = (folder / "stat").read_text("utf-8", "replace").rpartition(")")[2].split()
        except OSError:  # it ended meanwhile
            continue
        if words[0] == "Z":
            continue
        parents[int(folder.name)] = int(words[1])
        figures[int(folder.name)] = ((int(words[11]) + int(words[12])) / ticks, int(words[21]) * page / 1e6)
    if process not in figures:
        return None
    tree = {process}
    while more := {child for child, parent in parents.items() if parent in tree} - tree:
        tree |= more
    return Usage(sum(figures[one][0] for one in tree), sum(figures[one][1] for one in tree), time.monotonic())
