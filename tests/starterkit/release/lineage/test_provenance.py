"""Which code a run was made with, asked of real repositories; and what is written down holds no secret."""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
from sklearn.linear_model import LinearRegression

from starterkit.contract import Lineage
from starterkit.release import provenance


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_clean_tree_is_its_commit_and_asking_writes_nothing(checkout):
    tree = provenance.working_tree(checkout.root)
    assert (tree, tree.dirty) == (provenance.WorkingTree(checkout.git("rev-parse", "HEAD"), {}), False)
    os.utime(checkout.root / "code.py", (1, 1))  # the same, but of another time than git's index knows
    before = (checkout.root / ".git" / "index").read_bytes()
    assert not provenance.working_tree(checkout.root).dirty
    assert (checkout.root / ".git" / "index").read_bytes() == before


@pytest.mark.parametrize("name", ["code.py", "new.py", "sub/grün.py", "new folder/a.py"])
@pytest.mark.parametrize("seen_from", [".", "sub"])
def test_changed_or_added_file_makes_it_dirty_and_is_named(checkout, name, seen_from):
    (checkout.root / name).parent.mkdir(exist_ok=True)
    (checkout.root / name).write_text("password = 2\n")
    tree = provenance.working_tree(checkout.root / seen_from)
    assert (tree.dirty, tree.changed) == (True, {name: digest("password = 2\n")})


@pytest.mark.parametrize("how", ["--assume-unchanged", "--skip-worktree"])
@pytest.mark.parametrize("seen_from", [".", "sub"])
def test_change_that_git_was_told_to_hide_is_named(checkout, how, seen_from):
    checkout.git("update-index", how, "code.py", "sub/grün.py")
    assert not provenance.working_tree(checkout.root).dirty
    (checkout.root / "sub" / "grün.py").write_text("2\n")
    tree = provenance.working_tree(checkout.root / seen_from)
    assert (tree.dirty, tree.changed) == (True, {"sub/grün.py": digest("2\n")})


def test_a_deleted_file_is_gone_a_renamed_one_is_two_and_one_left_away_by_a_sparse_checkout_is_none(checkout):
    checkout.git("sparse-checkout", "set", "--no-cone", "/code.py")
    assert not (checkout.root / "sub").exists()
    assert not provenance.working_tree(checkout.root).dirty
    checkout.git("sparse-checkout", "disable")
    (checkout.root / "sub" / "grün.py").unlink()
    checkout.git("mv", "code.py", "moved.py")
    changed = provenance.working_tree(checkout.root).changed
    assert changed == {"sub/grün.py": "gone", "code.py": "gone", "moved.py": digest("1\n")}


def test_more_files_than_a_tag_holds_are_counted(checkout):
    for number in range(200):
        (checkout.root / f"{number:03}").touch()
    changed = dict(provenance.working_tree(checkout.root).changed)
    assert int(changed.pop("further files")) + len(changed) == 200
    assert sum(len(name) + len(digest) for name, digest in changed.items()) < 8000


def test_outside_a_repository_nothing_is_known(tmp_path):
    tree = provenance.working_tree(tmp_path)
    assert (tree.commit, tree.dirty, provenance.lock_digest(tmp_path)) == ("unknown", True, "unknown")
    (tmp_path / "requirements.txt").write_text("numpy==2\n")
    first = provenance.lock_digest(tmp_path)
    (tmp_path / "requirements.txt").write_text("numpy==3\n")
    assert provenance.lock_digest(tmp_path) != first != "unknown"


def test_scalars_are_kept_the_rest_is_its_type_and_secrets_are_hidden():
    given = {"depth": 2, "kind": None, "share": 0.5, "how": "fast", "call": partial(print, token="hunter2")}
    assert provenance.plain(given) == given | {"call": "functools.partial"}
    given = {"db_password": "a", "TOKEN": "b", "clientSecret": "c", "api_key": 4, "no_token": None, "layer": "hidden"}
    shown = provenance.plain(given)
    assert [name for name, value in shown.items() if value == "hidden"] == [*list(given)[:4], "layer"]
    assert shown["no_token"] is None
    assert provenance.hidden(shown) == list(given)[:4]


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
    assert provenance.off_lock(tmp_path / "lock.txt") == found


def test_estimators_package_that_the_lock_does_not_name_is_found(tmp_path):
    xgboost = pytest.importorskip("xgboost")
    estimator = xgboost.XGBRegressor(n_estimators=1).fit([[0.0], [1.0]], [0.0, 1.0])
    lock, found = tmp_path / "lock.txt", {"xgboost-cpu": version("xgboost-cpu")}
    assert provenance.beside_lock(lock, estimator) == found
    lock.write_text(f"numpy=={NUMPY}\n")
    assert provenance.beside_lock(lock, estimator) == found
    lock.write_text("xgboost_cpu==1\n")
    assert provenance.beside_lock(lock, estimator) == {}
    assert provenance.beside_lock(lock, LinearRegression().fit([[0.0]], [0.0])) == {}


def test_this_environment_holds_the_lock():
    assert provenance.off_lock(Path(__file__).parents[4] / "requirements.txt") == {}


FACTS: dict[str, Any] = {"lock_digest": "lock", "data_digest": "rows", "holdout_digest": "holdout", "rows": 1442}
FACTS["parameters"] = {"depth": 2, "kind": None}
LINEAGE = Lineage(stage="local", run="run", commit="c" * 40, dirty=False, data_source="data/rows.csv", **FACTS)
BESIDE = {"beside_lock": {"xgboost-cpu": "3.2"}}
OTHER_ROWS = {"data_digest": "other", "holdout_digest": "other", "rows": 1450}


def differing(facts: dict[str, Any], **changes: Any) -> dict[str, str]:
    found = provenance.compare(replace(LINEAGE, **changes), FACTS | facts)
    assert [cause.name for cause in found] == ["commit", "lock", "data", "parameters"]
    assert all(cause.hint for cause in found if cause.same is False)
    return {cause.name: cause.text for cause in found if not cause.same}


def dirty_by(files: Iterable[str]) -> dict[str, Any]:
    return {"dirty": True, "changed_files": dict.fromkeys(files, "digest")}


def test_all_the_same_is_said_only_of_what_was_got_to():
    assert differing({}) == {}
    assert differing(BESIDE, **BESIDE) == {}
    assert provenance.other_parameters({"a": 1}, {"a": 1, "b": None}) == ["b"]
    assert [cause.same for cause in provenance.compare(LINEAGE, {})] == [True, None, None, None]
    without_data = {name: FACTS[name] for name in ("lock_digest", "parameters")}
    assert [cause.name for cause in provenance.compare(LINEAGE, without_data) if cause.same is False] == ["data"]


@pytest.mark.parametrize(
    ("changed", "is_its_fault"),
    [("src/code.py", True), ("requirements.txt", False), ("models/requirements.txt", False), ("data/rows.csv", False),
     ("old-requirements.txt", True), ("data/rows.csv notes.md", True), ("", True)],
)  # fmt: skip
def test_changed_lock_or_data_file_is_not_the_commits_fault(changed, is_its_fault):
    assert list(differing({}, **dirty_by(changed.split()))) == ["commit"] * is_its_fault


@pytest.mark.parametrize(
    ("facts", "then", "cause", "said"),
    [
        ({}, dirty_by("abcde"), "commit", "a, b, c and 2 more differed"),
        ({"lock_digest": "other"}, {}, "lock", "the commit has other"),
        ({}, {"off_lock": {"numpy": "2.0"}}, "lock", "numpy 2.0"),
        ({"beside_lock": {"xgboost-cpu": "3.1"}}, BESIDE, "lock", "does not name xgboost-cpu 3.2 then, 3.1 now"),
        ({}, BESIDE, "lock", "xgboost-cpu, which it was trained with"),
        (OTHER_ROWS, {}, "data", "1,442 rows then, 1,450 now: how many are new is not known"),
        (OTHER_ROWS | {"rows_new": 9, "rows_gone": 1}, {}, "data", "9 new, 1 gone"),
        (OTHER_ROWS | {"rows_new": 0, "rows_gone": 0}, {}, "data", "another order"),
        (OTHER_ROWS | {"holdout_digest": "holdout"}, {}, "data", "those held out are the same"),
        (OTHER_ROWS, dirty_by(["data/rows.csv"]), "data", "not committed"),
        ({"parameters": {"depth": 3, "kind": None}}, {}, "parameters", "depth 2 (the commit's code: 3)"),
        ({"parameters": {"depth": 2}}, {}, "parameters", "kind None (the commit's code: no such parameter)"),
    ],
)
def test_what_differs_is_said(facts, then, cause, said):
    assert said in differing(facts, **then)[cause]
