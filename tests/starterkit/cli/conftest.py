"""Commands called in this process: one of its own costs seconds of imports."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from starterkit.cli import main


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
            try:
                main()
                code = 0
            except SystemExit as ended:
                code = int(ended.code or 0)
        return Done(code, *capsys.readouterr())

    return call
