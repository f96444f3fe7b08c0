"""What holds for all tests. It is read by the process that hands them out, too: nothing here takes long to import."""

import gc
import shutil
import signal
from collections.abc import Callable
from ctypes import CDLL
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[1]
READ_BY_A_RUN = ("config", "data", "requirements.txt", "MLproject", "python_env.yaml")


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


def copy_repository(destination: Path, store: Path | None = None) -> Path:
    """What a run reads, copied to `destination`; `store` is an MLflow database to start with.

    A run is quick there: writing 200 trees and proving 100,000 rows would be most of it.
    """
    destination.mkdir(parents=True)
    for name in READ_BY_A_RUN:
        source = REPOSITORY / name
        if source.is_dir():  # a clone that is in use has prepared data
            shutil.copytree(source, destination / name, ignore=shutil.ignore_patterns("dev", "test", "staging"))
        else:
            shutil.copy(source, destination)
    base, few = destination / "config" / "base.yaml", ("n_estimators: 20\n", "learning_rate: 0.2\n")
    text = base.read_text().replace("n_estimators: 200\n", few[0]).replace("learning_rate: 0.03\n", few[1])
    assert [text.count(line) for line in few] == [1, 1]
    base.write_text(f"{text}\nexport:\n  parity_rows: 500\n")
    if store is not None:
        shutil.copy(store, destination / "mlflow.db")
    return destination


@pytest.fixture(scope="session")
def copied() -> Callable[..., Path]:
    return copy_repository
