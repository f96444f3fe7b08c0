"""Which code a run was made with, asked of real repositories; and what is written down holds no secret."""

import hashlib
import os
import subprocess
from functools import partial
from pathlib import Path

import pytest

from starterkit.release.lineage.provenance import WorkingTree, hidden, lock_digest, plain, working_tree


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    (tmp_path / "code.py").write_text("1\n")
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "grün.py").write_text("1\n")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-q", "-m", "first")
    return tmp_path


def test_clean_tree_is_its_commit(checkout: Path) -> None:
    tree = working_tree(checkout)
    assert tree == WorkingTree(git(checkout, "rev-parse", "HEAD"), {})
    assert not tree.dirty


@pytest.mark.parametrize("name", ["code.py", "new.py", "sub/grün.py", "new folder/a.py"])
@pytest.mark.parametrize("seen_from", [".", "sub"])
def test_changed_or_added_file_makes_it_dirty_and_is_named(checkout: Path, name: str, seen_from: str) -> None:
    (checkout / name).parent.mkdir(exist_ok=True)
    (checkout / name).write_text("password = 2\n")
    tree = working_tree(checkout / seen_from)
    assert tree.dirty
    assert tree.changed == {name: hashlib.sha256(b"password = 2\n").hexdigest()}


@pytest.mark.parametrize("how", ["--assume-unchanged", "--skip-worktree"])
@pytest.mark.parametrize("seen_from", [".", "sub"])
def test_change_that_git_was_told_to_hide_is_named(checkout: Path, how: str, seen_from: str) -> None:
    git(checkout, "update-index", how, "code.py", "sub/grün.py")
    assert not working_tree(checkout).dirty
    (checkout / "sub" / "grün.py").write_text("2\n")
    tree = working_tree(checkout / seen_from)
    assert tree.dirty
    assert tree.changed == {"sub/grün.py": hashlib.sha256(b"2\n").hexdigest()}


def test_file_that_a_sparse_checkout_leaves_away_is_no_change(checkout: Path) -> None:
    git(checkout, "sparse-checkout", "set", "--no-cone", "/code.py")
    assert not (checkout / "sub").exists()
    assert not working_tree(checkout).dirty


def test_deleted_file_is_gone_and_a_renamed_one_is_two(checkout: Path) -> None:
    (checkout / "sub" / "grün.py").unlink()
    git(checkout, "mv", "code.py", "moved.py")
    changed = working_tree(checkout).changed
    assert changed == {"sub/grün.py": "gone", "code.py": "gone", "moved.py": hashlib.sha256(b"1\n").hexdigest()}


def test_more_files_than_a_tag_holds_are_counted(checkout: Path) -> None:
    for number in range(200):
        (checkout / f"{number:03}").touch()
    changed = dict(working_tree(checkout).changed)
    assert int(changed.pop("further files")) + len(changed) == 200
    assert sum(len(name) + len(digest) for name, digest in changed.items()) < 8000


def test_asking_writes_nothing_into_the_repository(checkout: Path) -> None:
    os.utime(checkout / "code.py", (1, 1))  # the same, but of another time than git's index knows
    before = (checkout / ".git" / "index").read_bytes()
    assert not working_tree(checkout).dirty
    assert (checkout / ".git" / "index").read_bytes() == before


def test_outside_a_repository_the_commit_is_unknown_and_dirty(tmp_path: Path) -> None:
    tree = working_tree(tmp_path)
    assert (tree.commit, tree.dirty) == ("unknown", True)


def test_lock_digest_follows_the_file(tmp_path: Path) -> None:
    assert lock_digest(tmp_path) == "unknown"
    (tmp_path / "requirements.txt").write_text("numpy==2\n")
    first = lock_digest(tmp_path)
    (tmp_path / "requirements.txt").write_text("numpy==3\n")
    assert lock_digest(tmp_path) != first


def test_scalars_are_kept_and_the_rest_is_its_type() -> None:
    given = {"depth": 2, "kind": None, "share": 0.5, "how": "fast", "call": partial(print, token="hunter2")}
    assert plain(given) == {"depth": 2, "kind": None, "share": 0.5, "how": "fast", "call": "functools.partial"}


def test_secrets_are_hidden_by_their_name() -> None:
    given = {"db_password": "a", "TOKEN": "b", "clientSecret": "c", "api_key": 4, "no_token": None, "layer": "hidden"}
    shown = plain(given)
    assert [name for name, value in shown.items() if value == "hidden"] == [*list(given)[:4], "layer"]
    assert shown["no_token"] is None
    assert hidden(shown) == list(given)[:4]
