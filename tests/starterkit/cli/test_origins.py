"""`lineage` and `reproduce` as a person and a script meet them."""

import json
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from starterkit.cli import views as origins
from starterkit.contract import Lineage
from starterkit.release.provenance import compare
from starterkit.release.reproducer import Difference, Reproduction
from starterkit.tracking.registry import Version

Run = Callable[..., Any]


def git(root: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    subprocess.run(["git", "-C", str(root), *identity, *arguments], check=True, capture_output=True)


def test_lineage_is_one_screen_and_marks_what_is_other_here(run, trained, monkeypatch):
    monkeypatch.setattr(origins, "console", lambda: Console(width=80, highlight=False))
    (trained / "requirements.txt").open("a").write("# another lock\n")
    data = trained / "data" / "diabetes.csv"
    data.write_text("\n".join(data.read_text().splitlines()[:-1]) + "\n")
    (trained / ".gitignore").write_text("mlflow.db*\nmlartifacts/\n")
    git(trained, "init", "-q")
    git(trained, "add", ".")
    git(trained, "commit", "-q", "-m", "A first one")
    (trained / "new.txt").touch()
    done = run(trained, "lineage", KIT_TRAINING__SEED="3", code=0)
    lines = done.stdout.splitlines()
    assert max(map(len, lines)) <= 80
    assert len(lines) <= 40
    said = " ".join(done.stdout.split())
    for words in (
        "local.diabetes version 1 · champion", "gate passed", "stage local, by", "commit unknown (not in this clone)",
        "here: new.txt changed", "data/diabetes.csv, 442 rows", "here: 441 rows, digest", "n_estimators 20",
        "here: random_state 3", "(naive guess", "relative difference",
    ):  # fmt: skip
        assert words in said, words
    assert said.count("here: ") == 5
    assert "mlartifacts/models/" in said.replace(" ", "")


def test_lineage_for_scripts_is_json_and_complete_and_outside_of_git_reproduce_refuses_and_leaves_nothing(
    run, trained, monkeypatch
):
    found = json.loads(run(trained, "lineage", "1", "--json").stdout)
    assert (found["version"], found["alias"], found["gate"]) == (1, "champion", "passed")
    assert found["lineage"].keys() == Lineage.__dataclass_fields__.keys()
    assert found["lineage"]["parameters"]["n_estimators"] == 20
    assert found["here"] == {}
    assert found["run"]["page"] is None
    assert found["metrics"]["rmse"] < found["metrics"]["baseline_rmse"]
    scratch = trained.parent / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    done = run(trained, "reproduce", "champion", code=1)
    assert "error: local.diabetes version 1 was trained outside of git" in done.stderr
    assert list(scratch.iterdir()) == []


LINEAGE = Lineage(
    stage="local", run="r", commit="c" * 40, dirty=False, lock_digest="l", data_source="data/rows.csv",
    data_digest="d", holdout_digest="h", rows=9, parameters={"depth": 2},
)  # fmt: skip
FACTS = {"lock_digest": "l", "data_digest": "d", "holdout_digest": "h", "rows": 9, "parameters": {"depth": 2}}
VERSION = Version("local.x", 3, "r", {}, datetime.now(UTC))
SAME, OTHER = Difference(98, 0, 0.0, 0), Difference(98, 97, 1.25, 0)


def outcome(facts: dict[str, Any], difference: Difference | None, **given: Any) -> Reproduction:
    causes = compare(LINEAGE, FACTS | facts)
    return Reproduction(VERSION, LINEAGE, "this one", "the commit", causes, difference, **given)


@pytest.mark.parametrize(
    ("done", "what", "hint"),
    [
        (outcome({"data_digest": "x"}, OTHER, deterministic=True), "not the same data", "data/rows.csv"),
        (outcome({"data_digest": "x", "lock_digest": "x"}, OTHER, deterministic=True), "lock and data", "make env"),
        (outcome({}, OTHER, deterministic=False), "two trainings here differ from each other", "random_state"),
        (outcome({}, OTHER, deterministic=True), "so it is something that is not recorded", "an ignored file"),
        (outcome({}, OTHER, deterministic=True, machine="Python 3.12 then"), "machine (Python 3.12 then)", "machine"),
        (outcome({}, None, failure="the estimator refuses"), "the estimator refuses", "--keep"),
    ],
)
def test_reason_names_the_cause_and_the_hint(done, what, hint):
    said = origins.reason(done)
    assert what in said[0]
    assert said[0].startswith("local.x version 3 was not reproduced: ")
    assert hint in said[1]


@pytest.mark.parametrize(
    ("done", "said"),
    [
        (outcome({}, SAME, same_graph=True), "identical, bit for bit, over 98 held-out rows; the exported graph is"),
        (outcome({}, SAME), "is another file"),
        (outcome({}, OTHER), "97 of 98 differ, by up to 1.25"),
        (outcome({}, replace(OTHER, labels=4)), "by up to 1.25, 4 labels changed"),
        (outcome({"data_digest": "x"}, OTHER), "data DIFFERS"),
        (outcome({}, None, failure="no such file"), "none: no such file"),
    ],
)
def test_outcome_is_shown_in_80_columns(done, said, monkeypatch):
    out = StringIO()
    monkeypatch.setattr(origins, "console", lambda: Console(file=out, width=80, highlight=False))
    origins.show_reproduction(done)
    assert said in " ".join(out.getvalue().split())
    assert max(map(len, out.getvalue().splitlines())) <= 80
    assert "\x1b" not in out.getvalue()
    document = json.loads(json.dumps(origins.reproduction_as_json(done)))
    assert document["version"] == 3
    assert [set(cause) for cause in document["causes"]] == [{"name", "same", "text", "mend"}] * 4
