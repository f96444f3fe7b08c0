"""Which code a run was made with, asked of real repositories."""

import subprocess
from pathlib import Path

import pytest

from starterkit.pipeline.provenance import commit, lock_digest


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_clean_tree_is_its_commit(checkout: Path) -> None:
    assert commit(checkout) == (git(checkout, "rev-parse", "HEAD"), False)


@pytest.mark.parametrize("name", ["code.py", "new.py"])
def test_changed_or_added_file_makes_it_dirty(checkout: Path, name: str) -> None:
    (checkout / name).write_text("2\n")
    assert commit(checkout) == (git(checkout, "rev-parse", "HEAD"), True)


def test_outside_a_repository_the_commit_is_unknown_and_dirty(tmp_path: Path) -> None:
    assert commit(tmp_path) == ("unknown", True)


def test_lock_digest_follows_the_file(tmp_path: Path) -> None:
    assert lock_digest(tmp_path) == "unknown"
    (tmp_path / "requirements.txt").write_text("numpy==2\n")
    first = lock_digest(tmp_path)
    (tmp_path / "requirements.txt").write_text("numpy==3\n")
    assert lock_digest(tmp_path) != first
