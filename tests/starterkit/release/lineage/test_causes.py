"""Which of the four differs, for every way in which one can."""

from dataclasses import replace
from typing import Any

import pytest

from starterkit.contract import Lineage
from starterkit.release.lineage.origin import compare, other_parameters

LINEAGE = Lineage(
    stage="local",
    run="run",
    commit="c" * 40,
    dirty=False,
    lock_digest="lock",
    data_source="data/rows.csv",
    data_digest="rows",
    holdout_digest="holdout",
    rows=1442,
    parameters={"depth": 2, "kind": None},
)
FACTS = {
    "lock_digest": "lock",
    "data_digest": "rows",
    "holdout_digest": "holdout",
    "rows": 1442,
    "parameters": {"depth": 2, "kind": None},
}
OTHER_ROWS = {"data_digest": "other", "holdout_digest": "other", "rows": 1450}


def differing(facts: dict[str, Any], **changes: Any) -> dict[str, str]:
    found = compare(replace(LINEAGE, **changes), FACTS | facts)
    assert [cause.name for cause in found] == ["commit", "lock", "data", "parameters"]
    assert all(cause.hint for cause in found if cause.same is False)
    return {cause.name: cause.text for cause in found if not cause.same}


def test_all_the_same() -> None:
    assert differing({}) == {}


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
def test_changed_lock_or_data_file_is_not_the_commits_fault(changed: dict[str, str], causes: list[str]) -> None:
    assert list(differing({}, dirty=True, changed_files=changed)) == causes


def test_changed_files_are_named_up_to_three() -> None:
    text = differing({}, dirty=True, changed_files=dict.fromkeys("abcde", "digest"))["commit"]
    assert "a, b, c and 2 more differed" in text


def test_lock_differs_by_digest_or_by_what_was_installed() -> None:
    assert "the commit has other" in differing({"lock_digest": "other"})["lock"]
    assert "numpy 2.0" in differing({}, off_lock={"numpy": "2.0"})["lock"]


def test_package_that_no_lock_names_is_the_locks_fault() -> None:
    then = {"xgboost-cpu": "3.2.0"}
    text = differing({"beside_lock": {"xgboost-cpu": "3.1.0"}}, beside_lock=then)["lock"]
    assert "does not name xgboost-cpu 3.2.0 then, 3.1.0 now" in text
    assert differing({"beside_lock": then}, beside_lock=then) == {}
    assert "xgboost-cpu, which it was trained with" in differing({}, beside_lock=then)["lock"]


def test_rows_are_counted_where_there_are_fingerprints() -> None:
    text = differing(OTHER_ROWS)["data"]
    assert "1,442 rows then, 1,450 now: how many are new is not known" in text
    assert "9 new, 1 gone" in differing(OTHER_ROWS | {"rows_new": 9, "rows_gone": 1})["data"]
    assert "another order" in differing(OTHER_ROWS | {"rows_new": 0, "rows_gone": 0})["data"]
    assert "those held out are the same" in differing(OTHER_ROWS | {"holdout_digest": "holdout"})["data"]
    dirty = {"dirty": True, "changed_files": {"data/rows.csv": "digest"}}
    assert "not committed" in differing(OTHER_ROWS, **dirty)["data"]


def test_parameters_are_compared_by_value_and_by_name() -> None:
    assert "depth 2 (the commit's code: 3)" in differing({"parameters": {"depth": 3, "kind": None}})["parameters"]
    assert "kind None (the commit's code: no such parameter)" in differing({"parameters": {"depth": 2}})["parameters"]
    assert other_parameters({"a": 1}, {"a": 1, "b": None}) == ["b"]


def test_what_nobody_got_to_is_not_called_the_same() -> None:
    found = compare(LINEAGE, {})
    assert {cause.name: cause.same for cause in found} == {
        "commit": True, "lock": None, "data": None, "parameters": None,
    }  # fmt: skip
    without_data = {"lock_digest": "lock", "parameters": {"depth": 2, "kind": None}}
    assert [cause.name for cause in compare(LINEAGE, without_data) if cause.same is False] == ["data"]
