"""What holds for all tests. It is read by the process that hands them out, too: nothing here takes long to import."""

import gc
import signal
from ctypes import CDLL
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def lightgbm_loads() -> bool:
    """Its library wants OpenMP's, which a bare machine lacks."""
    found = find_spec("lightgbm")
    try:
        for library in Path(found.origin).parent.rglob("lib_lightgbm.*") if found and found.origin else ():
            CDLL(str(library))
    except OSError:
        return False
    return True


WANTS_LIGHTGBM = [] if lightgbm_loads() else ["test_estimators.py", "test_scores.py", "test_trees.py"]
collect_ignore = [f"starterkit/training/export/{name}" for name in WANTS_LIGHTGBM]


def pytest_configure() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and so does all that is started from there."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.set_threshold(20_000, 50, 100)  # the libraries make objects that stay; looking through them is a tenth of all


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if WANTS_LIGHTGBM:
        mend = "apt-get install libgomp1, or brew install libomp"
        terminalreporter.write_line(f"not run: {', '.join(WANTS_LIGHTGBM)}, for LightGBM does not load ({mend})")
