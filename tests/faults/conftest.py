"""Copies to spoil, and the table of what came of it."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from scratch import Scratch
from scratch import copied as copy_of

COLUMNS = ("what was done", "exit", "what was printed", "what was left", "next run", "doctor")


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory, copied: Callable[..., Path]) -> Path:
    """What a run reads, and nothing that it writes. It trains few trees: the faults are the same, and met sooner."""
    return copied(tmp_path_factory.mktemp("untouched") / "my prøject ü")


@pytest.fixture(scope="session")
def trained(untouched: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch = copy_of(untouched, tmp_path_factory.mktemp("trained") / "my prøject ü")
    outcome = scratch.run("run")
    assert outcome.code == 0, outcome.stderr
    return scratch.root


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that another user may enter. (pytest's own may not be entered by others, and it sees to that.)"""
    with TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as folder:
        Path(folder).chmod(0o755)
        yield Path(folder) / "my prøject ü"


@pytest.fixture
def fresh(untouched: Path, place: Path) -> Scratch:
    return copy_of(untouched, place)


@pytest.fixture
def scratch(trained: Path, place: Path) -> Scratch:
    return copy_of(trained, place)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[int], Path]]:
    """A real file system of so many megabytes; only root may mount one."""
    mounted = []

    def mount(megabytes: int) -> Path:
        point = tmp_path / "disk"
        point.mkdir()
        words = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(point)]
        if subprocess.run(words, capture_output=True).returncode:
            pytest.skip("not run: only root may mount a small disk")
        mounted.append(point)
        return point

    yield mount
    for point in mounted:
        subprocess.run(["umount", "--lazy", str(point)], check=True)


Tell = Callable[..., None]


@pytest.fixture
def tell(record_property: Callable[[str, Any], None]) -> Tell:
    def add(*cells: object) -> None:
        record_property("row", [str(cell) for cell in cells])

    return add


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """The table, one line a fault; also as Markdown into the file that FAULT_TABLE names."""
    rows = []
    for outcome in ("passed", "failed", "skipped"):
        for report in terminalreporter.stats.get(outcome, []):
            found = [value for key, value in report.user_properties if key == "row"]
            if not found and report.when in ("setup", "call"):
                reason = report.longrepr[2] if outcome == "skipped" else "see above"
                found = [[report.nodeid.rpartition("::")[2], *[""] * 3, f"{outcome.upper()}: {reason}", ""]]
            rows += [[*row, "" if outcome != "failed" else "FAILED"] for row in found]
    text = [" | ".join(COLUMNS), " | ".join("-" * 3 for _ in COLUMNS)]
    for *cells, failed in sorted(rows):
        line = " | ".join(cell.replace("\n", " ").replace("|", "/") for cell in cells)
        text.append(f"{line}{'  <-- FAILED' if failed else ''}")
    terminalreporter.write_line("")
    for line in text:
        terminalreporter.write_line(f"| {line} |")
    if path := os.environ.get("FAULT_TABLE"):
        Path(path).write_text("\n".join(f"| {line} |" for line in text) + "\n")
