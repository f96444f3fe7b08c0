"""Commands called in this process: one of its own costs seconds of imports. And what they work on."""

import resource
import shutil
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from starterkit.cli import main
from starterkit.pipeline import Summary
from starterkit.settings import load_settings
from starterkit.tracking.connection import connect


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls a command in a repository: ``run(root, "train", KIT_STAGE="dev")``."""

    def call(root: Path, *arguments: str, **environ: str) -> Done:
        with monkeypatch.context() as patch:
            patch.chdir(root)
            patch.setattr(sys, "argv", ["starterkit", *arguments])
            for name, value in environ.items():
                patch.setenv(name, value)
            capsys.readouterr()
            limits = resource.getrlimit(resource.RLIMIT_DATA)  # `serve` holds its process to less
            try:
                main()
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
            finally:
                resource.setrlimit(resource.RLIMIT_DATA, limits)
        return Done(code, *capsys.readouterr())

    return call


@pytest.fixture
def trained(first_run: tuple[Path, Summary], tmp_path: Path) -> Path:
    """A repository with a champion, whose artifacts are its own."""
    root = Path(shutil.copytree(first_run[0], tmp_path / "my prøject"))
    connect(load_settings(root, {}).tracking, root)
    return root


@pytest.fixture(scope="session")
def unchanged(first_run: tuple[Path, Summary]) -> Path:
    """The same without a copy, for commands that change nothing."""
    root = first_run[0]
    connect(load_settings(root, {}).tracking, root)
    return root


@pytest.fixture
def port() -> int:
    """One that nobody has."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]
