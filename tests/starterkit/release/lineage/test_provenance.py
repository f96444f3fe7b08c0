"""Which code a run was made with, asked of real repositories; and what is written down holds no secret."""

import hashlib
import os
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LinearRegression

from starterkit.contract import Lineage
from starterkit.release.provenance import (
    WorkingTree,
    beside_lock,
    compare,
    hidden,
    lock_digest,
    off_lock,
    other_parameters,
    plain,
    working_tree,
)


def test_clean_tree_is_its_commit_and_asking_writes_nothing(checkout):
    tree = working_tree(checkout.root)
    assert tree == WorkingTree(checkout.git("rev-parse", "HEAD"), {})
    assert not tree.dirty
    os.utime(checkout.root / "code.py", (1, 1))  # the same, but of another time than git's index knows
    before = (checkout.root / ".git" / "index").read_bytes()
    assert not working_tree(checkout.root).dirty
    assert (checkout.root / ".git" / "index").read_bytes() == before


@pytest.mark.parametrize("name", ["code.py", "new.py", "sub/grün.py", "new folder/a.py"])
@pytest.mark.parametrize("seen_from", [".", "sub"])
def test_changed_or_added_file_makes_it_dirty_and_is_named(checkout, name, seen_from):
    (checkout.root / name).parent.mkdir(exist_ok=True)
    (checkout.root / name).write_text("password = 2\n")
    tree = working_tree(checkout.root / seen_from)
    assert tree.dirty
    assert tree.changed == {name: hashlib.sha256(b"password = 2\n").hexdigest()}


@pytest.mark.parametrize("how", ["--assume-unchanged", "--skip-worktree"])
@pytest.mark.parametrize("seen_from", [".", "sub"])
def test_change_that_git_was_told_to_hide_is_named(checkout, how, seen_from):
    checkout.git("update-index", how, "code.py", "sub/grün.py")
    assert not working_tree(checkout.root).dirty
    (checkout.root / "sub" / "grün.py").write_text("2\n")
    tree = working_tree(checkout.root / seen_from)
    assert tree.dirty
    assert tree.changed == {"sub/grün.py": hashlib.sha256(b"2\n").hexdigest()}


def test_file_that_a_sparse_checkout_leaves_away_is_no_change(checkout):
    checkout.git("sparse-checkout", "set", "--no-cone", "/code.py")
    assert not (checkout.root / "sub").exists()
    assert not working_tree(checkout.root).dirty


def test_deleted_file_is_gone_and_a_renamed_one_is_two(checkout):
    (checkout.root / "sub" / "grün.py").unlink()
    checkout.git("mv", "code.py", "moved.py")
    changed = working_tree(checkout.root).changed
    assert changed == {"sub/grün.py": "gone", "code.py": "gone", "moved.py": hashlib.sha256(b"1\n").hexdigest()}


def test_more_files_than_a_tag_holds_are_counted(checkout):
    for number in range(200):
        (checkout.root / f"{number:03}").touch()
    changed = dict(working_tree(checkout.root).changed)
    assert int(changed.pop("further files")) + len(changed) == 200
    assert sum(len(name) + len(digest) for name, digest in changed.items()) < 8000


def test_outside_a_repository_nothing_is_known(tmp_path):
    tree = working_tree(tmp_path)
    assert (tree.commit, tree.dirty, lock_digest(tmp_path)) == ("unknown", True, "unknown")
    (tmp_path / "requirements.txt").write_text("numpy==2\n")
    first = lock_digest(tmp_path)
    (tmp_path / "requirements.txt").write_text("numpy==3\n")
    assert lock_digest(tmp_path) != first != "unknown"


def test_scalars_are_kept_the_rest_is_its_type_and_secrets_are_hidden():
    given = {"depth": 2, "kind": None, "share": 0.5, "how": "fast", "call": partial(print, token="hunter2")}
    assert plain(given) == {"depth": 2, "kind": None, "share": 0.5, "how": "fast", "call": "functools.partial"}
    given = {"db_password": "a", "TOKEN": "b", "clientSecret": "c", "api_key": 4, "no_token": None, "layer": "hidden"}
    shown = plain(given)
    assert [name for name, value in shown.items() if value == "hidden"] == [*list(given)[:4], "layer"]
    assert shown["no_token"] is None
    assert hidden(shown) == list(given)[:4]


NUMPY = version("numpy")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (f"numpy=={NUMPY} \\\n    --hash=sha256:00\n    # via pandas\n", {}),
        (f"NumPy=={NUMPY}\nnot_there==1\n", {"not-there": "not there"}),
        ("numpy==0.1\n", {"numpy": NUMPY}),
        (f"numpy==0.1 ; python_full_version < '3.2'\nnumpy=={NUMPY} ; python_full_version >= '3.2'\n", {}),
        ("numpy==0.1 ; sys_platform == 'win32'\n", {"numpy": NUMPY}),
        ("not-there==1 ; sys_platform == 'win32'\n", {}),
        ("# numpy==0.1\n", {}),
    ],
)
def test_what_is_installed_is_held_against_the_lock(tmp_path, text, found):
    (tmp_path / "lock.txt").write_text(text)
    assert off_lock(tmp_path / "lock.txt") == found


def test_estimators_package_that_the_lock_does_not_name_is_found(tmp_path):
    xgboost = pytest.importorskip("xgboost")
    estimator = xgboost.XGBRegressor(n_estimators=1).fit([[0.0], [1.0]], [0.0, 1.0])
    lock, found = tmp_path / "lock.txt", {"xgboost-cpu": version("xgboost-cpu")}
    assert beside_lock(lock, estimator) == found
    lock.write_text(f"numpy=={NUMPY}\n")
    assert beside_lock(lock, estimator) == found
    lock.write_text("xgboost_cpu==1\n")
    assert beside_lock(lock, estimator) == {}
    assert beside_lock(lock, LinearRegression().fit([[0.0]], [0.0])) == {}


def test_this_environment_holds_the_lock():
    assert off_lock(Path(__file__).parents[4] / "requirements.txt") == {}


FACTS = {
    "lock_digest": "lock",
    "data_digest": "rows",
    "holdout_digest": "holdout",
    "rows": 1442,
    "parameters": {"depth": 2, "kind": None},
}
LINEAGE = Lineage(stage="local", run="run", commit="c" * 40, dirty=False, data_source="data/rows.csv", **FACTS)
BESIDE = {"beside_lock": {"xgboost-cpu": "3.2"}}
OTHER_ROWS = {"data_digest": "other", "holdout_digest": "other", "rows": 1450}


def differing(facts: dict[str, Any], **changes: Any) -> dict[str, str]:
    found = compare(replace(LINEAGE, **changes), FACTS | facts)
    assert [cause.name for cause in found] == ["commit", "lock", "data", "parameters"]
    assert all(cause.hint for cause in found if cause.same is False)
    return {cause.name: cause.text for cause in found if not cause.same}


def test_all_the_same_is_said_only_of_what_was_got_to():
    assert differing({}) == {}
    assert differing(BESIDE, **BESIDE) == {}
    assert other_parameters({"a": 1}, {"a": 1, "b": None}) == ["b"]
    found = compare(LINEAGE, {})
    assert {cause.name: cause.same for cause in found} == {
        "commit": True, "lock": None, "data": None, "parameters": None,
    }  # fmt: skip
    without_data = {"lock_digest": "lock", "parameters": {"depth": 2, "kind": None}}
    assert [cause.name for cause in compare(LINEAGE, without_data) if cause.same is False] == ["data"]


@pytest.mark.parametrize(
    ("changed", "causes"),
    [
        ({"src/code.py": "digest"}, ["commit"]),
        ({"requirements.txt": "digest"}, []),
        ({"models/requirements.txt": "digest"}, []),
        ({"old-requirements.txt": "digest"}, ["commit"]),
        ({"data/rows.csv": "digest"}, []),
        ({"data/rows.csv": "digest", "notes.md": "gone"}, ["commit"]),
        ({}, ["commit"]),
    ],
)
def test_changed_lock_or_data_file_is_not_the_commits_fault(changed, causes):
    assert list(differing({}, dirty=True, changed_files=changed)) == causes


@pytest.mark.parametrize(
    ("facts", "then", "cause", "said"),
    [
        (
            {},
            {"dirty": True, "changed_files": dict.fromkeys("abcde", "digest")},
            "commit",
            "a, b, c and 2 more differed",
        ),
        ({"lock_digest": "other"}, {}, "lock", "the commit has other"),
        ({}, {"off_lock": {"numpy": "2.0"}}, "lock", "numpy 2.0"),
        ({"beside_lock": {"xgboost-cpu": "3.1"}}, BESIDE, "lock", "does not name xgboost-cpu 3.2 then, 3.1 now"),
        ({}, BESIDE, "lock", "xgboost-cpu, which it was trained with"),
        (OTHER_ROWS, {}, "data", "1,442 rows then, 1,450 now: how many are new is not known"),
        (OTHER_ROWS | {"rows_new": 9, "rows_gone": 1}, {}, "data", "9 new, 1 gone"),
        (OTHER_ROWS | {"rows_new": 0, "rows_gone": 0}, {}, "data", "another order"),
        (OTHER_ROWS | {"holdout_digest": "holdout"}, {}, "data", "those held out are the same"),
        (OTHER_ROWS, {"dirty": True, "changed_files": {"data/rows.csv": "digest"}}, "data", "not committed"),
        ({"parameters": {"depth": 3, "kind": None}}, {}, "parameters", "depth 2 (the commit's code: 3)"),
        ({"parameters": {"depth": 2}}, {}, "parameters", "kind None (the commit's code: no such parameter)"),
    ],
)
def test_what_differs_is_said(facts, then, cause, said):
    assert said in differing(facts, **then)[cause]
