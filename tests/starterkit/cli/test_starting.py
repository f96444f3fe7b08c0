"""`init-problem` as a person meets it. What it writes is tested in init/."""

import shutil
import subprocess
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from starterkit.cli.init.starter import Project
from starterkit.machine import GROUP

Run = Callable[..., Any]
ROOT = Path(__file__).parents[3]


@pytest.fixture
def mine(repository: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository whose package is its own, with all that is in it committed."""
    folder = repository / "src" / "example_project"
    folder.mkdir(parents=True)
    (folder / "problem.py").write_text("")
    shutil.copy(ROOT / "pyproject.toml", repository)
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "as it was"]):
        subprocess.run(["git", *words], cwd=repository, check=True)
    own = Project(repository, EntryPoint("diabetes", "example_project:problem", GROUP), folder)
    monkeypatch.setattr(Project, "of", lambda root: own)
    return repository


@pytest.fixture
def data(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    x = random.normal(size=80)
    table = pd.DataFrame({"x": x, "age": random.integers(18, 90, 80), "cost": x * 3 + random.normal(size=80)})
    table.to_csv(tmp_path / "bills.csv", index=False)
    return tmp_path / "bills.csv"


def test_it_says_what_it_wrote_what_to_review_and_what_to_do_next(run, mine, data):
    done = run(mine, "init-problem", str(data), "--target", "cost", code=0)
    told = ("src/example_project/problem.py", "data/bills.csv", "rmse", "naive guess", "Review", "age", "make run")
    assert [words for words in told if words not in done.stdout] == []
    assert (mine / "src/example_project/problem.py").read_text().startswith('"""Bills: cost from 2 columns')


def test_what_cannot_be_is_one_line_and_what_to_decide_a_line_each(run, mine, data, tmp_path):
    done = run(mine, "init-problem", str(data), "--target", "costs", code=2)
    assert "error: bills.csv has no column 'costs'." in done.stderr
    assert "Did you mean 'cost'" in done.stderr
    done = run(mine, "init-problem", str(data), "--target", "cost", KIT_STAGE="dev")  # which does not read rows raw
    assert (done.returncode, "KIT_STAGE=local" in done.stderr) == (2, True)
    pd.DataFrame({"a": "same", "y": ["x"] * 55 + ["z"] * 5}).to_csv(tmp_path / "a.csv", index=False)
    done = run(mine, "init-problem", str(tmp_path / "a.csv"), "--target", "y", code=1)
    assert len([line for line in done.stderr.splitlines() if line.startswith("decide: ")]) == 2
    assert "2 things to decide, and nothing was written" in done.stderr


def test_the_package_of_another_repository_is_not_written_into(run, repository, data):
    before = (ROOT / "src/example_project/problem.py").read_bytes()
    done = run(repository, "init-problem", str(data), "--target", "cost")
    assert (done.returncode, "is not in this repository" in done.stderr) == (2, True)
    assert (ROOT / "src/example_project/problem.py").read_bytes() == before
