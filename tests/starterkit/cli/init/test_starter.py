"""From a file to files: what is refused with one line, and what is left alone."""

import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from starterkit.cli.init import Project
from starterkit.cli.init.draft import Undecided
from starterkit.errors import UserError

ROOT = Path(__file__).parents[4]
Write = Callable[..., Path]


def table(rows: int = 60) -> pd.DataFrame:
    random = np.random.default_rng(0)
    a, b = random.normal(size=(2, rows))
    return pd.DataFrame({"a": a, "b": b, "y": a + b + random.normal(0, 0.3, rows)})


def contents(root: Path) -> dict[str, bytes]:
    files = [path for path in root.rglob("*") if path.is_file() and ".git" not in path.relative_to(root).parts]
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def call(frame: pd.DataFrame, name: str = "mine.csv") -> Path:
        frame.to_csv(tmp_path / name, index=False)
        return tmp_path / name

    return call


BAD: dict[str, tuple[pd.DataFrame | bytes | None, str]] = {
    "no target": (table().drop(columns="y").assign(yy=1.5), "has no column 'y'. Did you mean 'yy'"),
    "no such column": (table().rename(columns={"y": "z"}), "has no column 'y'. Name one of 'a', 'b', 'z'"),
    "no rows": (table(0), "has no rows"),
    "one row": (table(1), "is known in one row, and at least 30"),
    "a constant target": (table().assign(y=3.5), "has one value in every row"),
    "one class": (table().assign(y="only"), "has one value in every row"),
    "no target anywhere": (table().assign(y=None), "is missing in every row"),
    "a target that is known in three": (table().assign(y=[1, 2, 3] + [None] * 57), "is known in 3 rows"),
    "too many classes": (table().assign(y=[f"c {row}" for row in range(60)]), "60 different values"),
    "units": (table().assign(y=[f"{row} {'kg' if row % 2 else 'g'}" for row in range(60)]), "numbers in several"),
    "a date": (table().assign(y=["2020-01-01", "2021-01-01"] * 30), "is a date"),
    "emails": (table().assign(y=[f"p{row}@example.org" for row in range(60)]), "says who somebody is"),
    "two columns of one name": (table().rename(columns={"b": "a"}), "has the column 'a' more than once"),
    "two targets": (table().rename(columns={"b": "y"}), "has the column 'y' more than once"),
    "one column": (table()[["y"]], "has one column"),
    "no header.csv": (table().to_csv(index=False, header=False).encode(), "has numbers where its header should be"),
    "nowhere.csv": (None, "there is no file"),
    "empty.csv": (b"", "is empty"),
    "table.xlsx": (b"PK\x03\x04", "'table.xlsx' is a data file of no known kind"),
    "make": (b"a,y\n", "'make' is a data file of no known kind"),
    "binary.csv": (b"\xff\xfe\x00\x01\x02\x03\x80", "is not text in utf-16 throughout"),
    "zipped.csv": (b"PK\x03\x04 and more", "a ZIP or Excel file and not CSV"),
    "broken.parquet": (b"PAR1", "cannot be read"),
    "ragged.csv": (b"a,y\n1,2,3\n", "more fields than its header"),
}
TO_DECIDE = {
    "a rare class": (table().assign(y=["a"] * 55 + ["b"] * 5), "one class with fewer than 10 rows"),
    "nothing to predict from": (table().assign(a="same", b=[f"note {row}, long" for row in range(60)]), "no column is"),
    "the target in every column": (table().assign(a=lambda t: t["y"] * 2, b=lambda t: 1 - t["y"]), "gives the target"),
}


@pytest.mark.parametrize("case", [*BAD, *TO_DECIDE])
def test_a_file_of_no_use_is_one_line_what_to_decide_is_listed_and_nothing_is_written(case, write, project, start):
    made, words = (BAD | TO_DECIDE)[case]
    before, path = contents(project), project.parent / case
    if isinstance(made, pd.DataFrame):
        path = write(made)
    elif made is not None:
        path.write_bytes(made)
    with pytest.raises(Undecided if case in TO_DECIDE else UserError) as refused:
        start(path, "y")
    if case in TO_DECIDE:
        assert ([words in one for one in refused.value.decisions], refused.value.exit_code) == ([True], 1)
    else:
        assert words in str(refused.value)
        assert len(str(refused.value).splitlines()) == 1
    assert contents(project) == before


def test_the_project_s_files_change_and_no_others(write, project, start):
    before = contents(project)
    started = start(write(table(), "My Table.csv"), "y")
    after = contents(project)
    assert {name for name in after if after[name] != before.get(name)} == {
        ".vscode/launch.json", "config/base.yaml", "config/test.yaml", "data/my-table.csv", "pyproject.toml",
        "src/example_project/problem.py", "tests/example_project/test_problem.py",
    }  # fmt: skip
    assert before.keys() - after.keys() == {"tests/example_project/test_example_problem.py"}
    assert {name.removesuffix(" (removed)") for name in started.written} == {
        name for name in {*before, *after} if before.get(name) != after.get(name)
    }
    settings = yaml.safe_load(after["config/base.yaml"])
    assert settings["data"]["source"] == "data/my-table.csv"
    assert started.trial.figure < settings["gate"]["limits"]["rmse"]["max"] < started.trial.naive
    for path, old, new in (
        ("config/test.yaml", "data/test/diabetes.parquet", "data/test/my-table.parquet"),
        (".vscode/launch.json", '"data/diabetes.csv"', '"data/my-table.csv"'),
    ):
        assert before[path].count(old.encode()) == 1
        assert after[path] == before[path].replace(old.encode(), new.encode())
    (left,) = [line for line in started.review if "earlier problem" in line]
    assert "data/diabetes.csv" in left
    assert "template" not in "".join(started.review)
    (project / "tests/starterkit").mkdir()
    again = start(write(table(), "third.csv"), "y", force=True)
    assert b'"data/third.csv"' in contents(project)[".vscode/launch.json"]
    assert "data/my-table.csv" in "".join(again.review)
    assert "this is the template" in again.review[-1]  # whose own tests need the example


def test_what_somebody_else_wrote_there_stays_and_ruff_s_width_is_the_project_s(write, project, start):
    mine = "data:\n  source: postgresql://host/db\n  query: SELECT\n"
    (project / "config/test.yaml").write_text(mine)
    (project / ".vscode/launch.json").unlink()
    file = project / "pyproject.toml"
    file.write_text(file.read_text().replace("line-length = 120", "line-length = 70"))
    start(write(table()), "y", force=True)
    assert (project / "config/test.yaml").read_text() == mine
    assert not (project / ".vscode/launch.json").exists()
    call = [sys.executable, "-m", "ruff", "format", "--diff", "src/example_project", "tests/example_project"]
    done = subprocess.run(call, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_what_nobody_committed_is_overwritten_by_force_alone(write, project, start):
    mine = project / "src/example_project/problem.py"
    mine.write_text("# my own work\n")
    before = contents(project)
    with pytest.raises(UserError, match="there is no file"):
        start(project / "none.csv", "y")
    with pytest.raises(UserError, match=r"src/example_project/problem\.py is not committed"):
        start(write(table()), "y")
    assert contents(project) == before
    kept = (project / ".git").rename(project.parent / "elsewhere")
    with pytest.raises(UserError, match="are not committed"):  # without git nothing is
        start(write(table()), "y")
    kept.rename(project / ".git")
    start(write(table()), "y", force=True)
    assert (project / "src/example_project/problem.py.before").read_text() == "# my own work\n"
    assert not (project / "config/base.yaml.before").exists()  # git has it
    unsaved = subprocess.run(["git", "status", "--porcelain"], cwd=project, capture_output=True, text=True).stdout
    assert ".before" not in unsaved
    assert "class Mine" in mine.read_text()


def test_data_that_is_there_already_stays(write, project, start):
    (project / "data/mine.csv").write_text("other\n")
    with pytest.raises(UserError, match=r"data/mine\.csv is there with other content"):
        start(write(table()), "y")
    assert start(write(table()), "y", name="yours").plan.name == "yours"
    assert (project / "data/mine.csv").read_text() == "other\n"
    table().to_csv(project / "data" / "Übung 1.csv", index=False)
    start(project / "data" / "Übung 1.csv", "y", force=True)
    assert yaml.safe_load((project / "config/base.yaml").read_text())["data"]["source"] == "data/Übung 1.csv"
    assert sorted(path.name for path in (project / "data").glob("*.csv")) == [
        "diabetes.csv", "mine.csv", "yours.csv", "Übung 1.csv",
    ]  # fmt: skip


@pytest.mark.parametrize("name", ["My Name", "a" * 41, "ü", "a--b", "../up"])
def test_a_name_that_will_not_do(name, write, start):
    with pytest.raises(UserError, match="will not do"):
        start(write(table()), "y", name=name)


def test_a_leak_and_columns_that_make_the_target_together_are_left_out_or_named(write, start):
    frame = table(200).assign(y=lambda t: t["a"] - t["b"], c=lambda t: t["y"] + np.arange(200) % 7)
    frame["total"] = frame["y"] * 100 + np.random.default_rng(1).normal(0, 0.01, 200)
    plan = start(write(frame), "y").plan
    assert "target in disguise" in plan.left_out["total"]
    assert plan.left_out["a"] == "with b makes the target, by a formula"
    assert [one.name for one in plan.features] == ["c"]
    frame = table(200)[["y"]].assign(twice=lambda t: t["y"] * 2, cube=lambda t: t["y"] ** 3)
    with pytest.raises(Undecided) as caught:
        start(write(frame), "y", force=True)
    assert "'y' away: twice alone removes" in caught.value.decisions[0]
    assert "; cube alone" in caught.value.decisions[0]


def test_columns_that_tell_nothing_are_said_and_whole_numbers_are_classes_unless_the_user_says_so(write, start):
    noise = table(200).assign(y=np.random.default_rng(9).normal(size=200))
    assert "naive guess" in start(write(noise), "y").review[0]
    counts = write(table(120).assign(y=lambda t: pd.qcut(t["y"], 3, labels=False)), "counts.csv")
    assert start(counts, "y", force=True).plan.target.categories == (0, 1, 2)
    plan = start(counts, "y", task="regression", force=True).plan
    assert (plan.task, plan.target.categories) == ("regression", ())


@pytest.mark.parametrize("said", ['"diabetes"', "default"])
def test_the_entry_point_is_called_as_the_problem(said, write, project, start):
    file, line = project / "pyproject.toml", 'diabetes = "example_project:problem"'
    before = file.read_text()
    assert before.count(line) == 1
    file.write_text(before.replace(line, f'{said} = "example_project:problem"'))
    start(write(table()), "y", name="my-table", force=True)
    assert file.read_text() == before.replace(line, 'my-table = "example_project:problem"')


def test_the_command_says_what_it_wrote_what_is_wrong_and_what_to_decide(run, project, own, write, monkeypatch):
    kit = ROOT / "src/example_project/problem.py"
    before, bills = kit.read_bytes(), write(table(80).rename(columns={"b": "age", "y": "cost"}), "bills.csv")

    def said(file: Path, target: str, code: int, **environ: str) -> str:
        done = run(project, "init-problem", str(file), "--target", target, code=code, **environ)
        return done.stderr if code else done.stdout

    assert "is not in this repository" in said(bills, "cost", 2)
    assert kit.read_bytes() == before
    monkeypatch.setattr(Project, "of", lambda root: own)
    assert re.search("error: bills.csv has no column 'costs'.\\s+Did you mean 'cost'", said(bills, "costs", 2))
    assert "KIT_STAGE=local" in said(bills, "cost", 2, KIT_STAGE="dev")  # no rows raw there
    two = write(pd.DataFrame({"a": "same", "y": ["x"] * 55 + ["z"] * 5}), "a.csv")
    listed = said(two, "y", 1)
    assert (listed.count("decide: "), "2 things to decide, and nothing was written" in listed) == (2, True)
    told = ("src/example_project/problem.py", "data/bills.csv", "rmse", "naive guess", "Review", "age", "make run")
    done = said(bills, "cost", 0)
    assert [words for words in told if words not in done] == []
    assert (project / "src/example_project/problem.py").read_text().startswith('"""Bills: cost from 2 columns')
