"""The packages that ship the tables, laid out as files, and the table of what came of each."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
LOCK = REPOSITORY / "requirements-tables.txt"
FILES = REPOSITORY / "build" / "tables"
COLUMNS = (
    "table", "rows", "columns", "target", "task", "estimator", "left out", "gate", "first fit, 95%", "linear",
    "boosting", "naive", "as good", "strongest column", "scores", "seconds",
)  # fmt: skip
NEEDED = 23 / 25
"""The share of first fits that are at least as good as the better of a linear model and a boosting with defaults."""


def pytest_configure(config: pytest.Config) -> None:
    """Nothing of the packages is imported, so they need no environment: only their files, once for all workers."""
    stamp = FILES / "made-from"
    made_from = hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if hasattr(config, "workerinput") or (stamp.is_file() and stamp.read_text() == made_from):
        return
    sys.path.insert(0, str(REPOSITORY / "tools"))
    from environment import find_uv

    uv = find_uv().absolute()  # it looks for the project's own in the folder where make is
    words = ["pip", "install", "--quiet", "--target", str(FILES), "--no-deps", "--require-hashes", "-r", str(LOCK)]
    subprocess.run([str(uv), *words], check=True, env={**os.environ, "UV_PYTHON_DOWNLOADS": "never"})
    stamp.write_text(made_from)


@pytest.fixture
def tell(record_property: Callable[[str, Any], None]) -> Callable[[str, object], None]:
    return lambda column, cell: record_property(column, str(cell).replace("|", "/").replace("\n", " "))


@pytest.hookimpl(trylast=True)
def pytest_runtest_logreport(report: Any) -> None:
    """A line as each table is done: the whole takes minutes."""
    cells = dict(report.user_properties)
    if report.when == "call" and "PYTEST_XDIST_WORKER" not in os.environ:
        shown = [f"{name}: {cells[name]}" for name in COLUMNS[5:] if name in cells and name != "left out"]
        sys.stdout.write(f"\n{cells.get('table')}: {'; '.join(shown)}\n")


def _rows(reporter: Any) -> list[dict[str, str]]:
    reports = [one for outcome in ("passed", "failed") for one in reporter.stats.get(outcome, []) if one.when == "call"]
    return sorted((dict(one.user_properties) for one in reports), key=lambda row: row.get("table", ""))


def _enough(rows: list[dict[str, str]]) -> bool:
    good = sum(row.get("as good", "").startswith("yes") for row in rows)
    return good >= NEEDED * len(rows)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    rows = _rows(terminalreporter)
    lines = [COLUMNS, ["---"] * len(COLUMNS), *([row.get(name, "") for name in COLUMNS] for row in rows)]
    terminalreporter.write_line("")
    for cells in lines:
        terminalreporter.write_line(f"| {' | '.join(cells)} |")
    counts = {
        "as good as the better of the two": [row.get("as good", "") for row in rows],
        "past the gate": [row.get("gate", "") for row in rows],
        "scored from the very same file": [row.get("scores", "") for row in rows],
    }
    for what, cells in counts.items():
        terminalreporter.write_line(f"{what}: {sum(cell[:3] in ('yes', 'pas') for cell in cells)} of {len(rows)}")


def pytest_sessionfinish(session: pytest.Session) -> None:
    """A single table may be noise; too many of them fail the whole."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not hasattr(session.config, "workerinput") and reporter and (rows := _rows(reporter)) and not _enough(rows):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
