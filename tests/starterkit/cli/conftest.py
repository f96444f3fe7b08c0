"""What the commands work on. `run`, which calls them in this process, is the folder's above."""

import shutil
from pathlib import Path

import pytest

from starterkit.pipeline import Summary
from starterkit.settings import load_settings
from starterkit.tracking.connection import connect


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
