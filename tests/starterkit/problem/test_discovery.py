"""The project's entry point is found, its name is the problem's, and what is wrong with it is said in one line."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

import pytest

from starterkit.errors import ProblemError
from starterkit.machine import GROUP, project_entry, stated_name
from starterkit.problem import find_problem

Declare = Callable[..., None]
PROBLEM = """
import pandera.pandas as pa
from starterkit.problem import Problem, feature, identifier, target

class Houses(pa.DataFrameModel):
    id: str = identifier()
    rooms: int = feature(sensitivity="plain")
    price: float = target()

problem = Problem(title="Houses", task="regression", schema=Houses, estimator=lambda: None, metric="rmse"{said})
"""


CHURN = '[project.entry-points."starterkit.problem"]\nchurn = "kit:problem"\n'


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.fixture
def declare(project: Path, monkeypatch: pytest.MonkeyPatch) -> Declare:
    """Make the only project one of this code, whose entry point has this name."""

    def call(code: str, name: str = "default", module: str | None = None) -> None:
        module = module or f"declared_{abs(hash(code))}"
        (project / f"{module}.py").write_text(f"{code}\n")
        entry = EntryPoint(name, f"{module}:problem", GROUP)
        monkeypatch.setattr("starterkit.machine._installed", lambda path: [entry])

    return call


def test_no_project_and_a_second_one_are_refused(project, monkeypatch):
    installed = project / "second-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: second\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[{GROUP}]\nsecond = second:problem\n")
    with pytest.raises(ProblemError, match="second:problem"):
        find_problem()
    monkeypatch.setattr("starterkit.machine._installed", lambda path: [])
    with pytest.raises(ProblemError, match=r'finds none.*entry-points\."starterkit\.problem"'):
        find_problem()


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("problem = 7", "is a int"),
        ("problem = 1 / 0", "ZeroDivisionError"),
        ("import nowhere_at_all.inside", "there is no module 'nowhere_at_all'"),
        ("x = 1\ny = x.nothing", "AttributeError"),
        ("x = 1\nproblem = (", "SyntaxError"),
        ("other = 1", "no attribute"),
        ("from starterkit.problem import feature\nage = feature(ge=0)", "argument: 'sensitivity'"),
    ],
)
def test_code_that_fails_is_named_with_its_line(declare, code, named):
    declare(code)
    module = f"declared_{abs(hash(code))}"
    with pytest.raises(ProblemError) as refusal:
        find_problem()
    assert named in refusal.value.what
    assert ("make add PKG=nowhere_at_all" in refusal.value.hint) == ("nowhere" in code)
    if named not in ("is a int", "no attribute"):
        assert f"{module}.py, line" in refusal.value.what
        assert refusal.value.what.count(f"{module}.py") == 1


# --- The entry point's name is the problem's.


def test_the_name_is_known_without_importing_the_project():
    code = "import sys, starterkit.machine as e; print(e.stated_name(), {'pandas', 'example_project'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "diabetes set()\n"


@pytest.mark.parametrize(
    ("entry", "said", "found", "stated"),
    [
        ("houses", "", "houses", "houses"),
        ("default", ', name="flats"', "flats", None),  # a project from before says its name itself
        ("flats", ', name="flats"', "flats", "flats"),
        ("houses", ', name="flats"', r"the problem 'houses', and named_houses1:problem says name='flats'\. Leave", ""),
        ("House prices", "", "'House prices' has other signs", ""),
    ],
)
def test_a_problem_has_the_entry_point_s_name_or_says_its_own(declare, entry, said, found, stated):
    declare(PROBLEM.format(said=said), entry, module=f"named_{entry.split()[0]}{len(said) // 14}")
    if stated == "":
        with pytest.raises(ProblemError, match=found):
            find_problem()
    else:
        assert (find_problem().name, stated_name()) == (found, stated)


@pytest.mark.parametrize(
    ("written", "editable", "name"),
    [
        (CHURN, True, "churn"), (CHURN, False, "installed"), ("[project", True, "installed"),
        ("[project]\n", True, "installed"), (None, True, "installed"),
    ],
)  # fmt: skip
def test_a_renamed_problem_is_known_before_the_environment_is_made_anew(project, monkeypatch, written, editable, name):
    root, installed = project / "my prøject", project / "kit-1.dist-info"
    for folder in (root, installed):
        folder.mkdir()
    if written is not None:
        (root / "pyproject.toml").write_text(written)
    (installed / "entry_points.txt").write_text(f"[{GROUP}]\ninstalled = kit:problem\n")
    (installed / "direct_url.json").write_text(json.dumps({"url": root.as_uri(), "dir_info": {"editable": editable}}))
    entries = Distribution.at(installed).entry_points
    monkeypatch.setattr("starterkit.machine._installed", lambda path: entries)
    assert project_entry().name == name
