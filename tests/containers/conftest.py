"""Docker, or a line that says why not; and what was measured, at the end."""

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from compose import REPOSITORY
from engine import Docker

FIGURES = pytest.StashKey[dict[str, str]]()


def pytest_configure(config: pytest.Config) -> None:
    config.stash[FIGURES] = {}


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> dict[str, str]:
    """What a test measures and does not judge: seconds depend on the machine."""
    return pytestconfig.stash[FIGURES]


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    for what, figure in config.stash[FIGURES].items():
        terminalreporter.write_line(f"  {what:<44} {figure}")


@pytest.fixture(scope="session")
def docker() -> Iterator[Docker]:
    made = Docker()
    try:
        done = made.ask("version", "--format", "{{.Server.Version}}")
    except FileNotFoundError:
        pytest.fail("not run: Docker is not installed", pytrace=False)
    if done.returncode:
        pytest.fail(f"not run: Docker does not answer: {done.stderr.strip().splitlines()[-1]}", pytrace=False)
    yield made
    made.remove_all()


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, copied: Callable[..., Path]) -> Path:
    """What a client works in, with few trees and few rows to prove."""
    root = copied(tmp_path_factory.mktemp("client") / "my prøject ü")
    shutil.copy(REPOSITORY / "docker-compose.yml", root)
    return root


Until = Callable[..., float]


@pytest.fixture(scope="session")
def until() -> Until:
    """Wait for something that comes about by itself; the seconds it took. The limit is for what never comes."""

    def wait(happened: Callable[[], bool], what: str, seconds: float = 120, container: Any = None) -> float:
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if happened():
                return time.monotonic() - began
            if container and not container.state["Running"]:
                break
            time.sleep(0.02)
        pytest.fail(f"not {what} within {seconds} s; the container says:\n{container.said() if container else '-'}")

    return wait
