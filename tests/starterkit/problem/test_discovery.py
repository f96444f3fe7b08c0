"""The project's entry point is found, its name is the problem's, and what is wrong with it is said in one line."""

import json
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import Distribution, EntryPoint
from pathlib import Path

import pytest

from starterkit.entry import GROUP, project_entry, stated_name
from starterkit.errors import ProblemError
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
        monkeypatch.setattr("starterkit.entry.entry_points", lambda group: [entry])

    return call


# --- One project, whose code can be imported.


def test_a_second_project_is_refused(project: Path) -> None:
    installed = project / "second-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: second\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[{GROUP}]\nsecond = second:problem\n")
    with pytest.raises(ProblemError, match="second:problem"):
        find_problem()


def test_no_project_is_refused_with_what_to_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("starterkit.entry.entry_points", lambda group: [])
    with pytest.raises(ProblemError, match=r'finds none.*entry-points\."starterkit\.problem"'):
        find_problem()


@pytest.mark.parametrize(
    ("code", "named"),
    [
        ("problem = 7", "is a int"),
        ("problem = 1 / 0", "ZeroDivisionError"),
        ("import nowhere_at_all.inside", "there is no module 'nowhere_at_all'"),
        ("x = 1\nproblem = (", "SyntaxError"),
        ("other = 1", "AttributeError"),
        ("from starterkit.problem import feature\nage = feature(ge=0)", "argument: 'sensitivity'"),
    ],
)
def test_code_that_fails_is_named_with_its_line(declare: Declare, code: str, named: str) -> None:
    declare(code)
    module = f"declared_{abs(hash(code))}"
    with pytest.raises(ProblemError) as refusal:
        find_problem()
    assert named in refusal.value.what
    if named not in ("is a int", "AttributeError"):
        assert f"{module}.py, line" in refusal.value.what
        assert refusal.value.what.count(f"{module}.py") == 1


def test_a_missing_package_is_added_by_its_name(declare: Declare) -> None:
    declare("import nowhere_at_all.inside", module="wanting")
    with pytest.raises(ProblemError, match="make add PKG=nowhere_at_all"):
        find_problem()


# --- The entry point's name is the problem's.


def test_the_name_is_known_without_importing_the_project() -> None:
    code = "import sys, starterkit.entry as e; print(e.stated_name(), {'pandas', 'example_project'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "diabetes set()\n"


def test_a_problem_that_says_no_name_has_the_entry_point_s(declare: Declare) -> None:
    declare(PROBLEM.format(said=""), "houses", module="nameless")
    assert (find_problem().name, stated_name()) == ("houses", "houses")


def test_a_project_from_before_says_its_name_itself(declare: Declare) -> None:
    declare(PROBLEM.format(said=', name="flats"'), "default", module="older")
    assert (find_problem().name, stated_name()) == ("flats", None)


def test_two_names_for_one_problem_are_refused(declare: Declare) -> None:
    declare(PROBLEM.format(said=', name="flats"'), "flats", module="twice")
    assert find_problem().name == "flats"
    declare(PROBLEM.format(said=', name="flats"'), "houses", module="twice")
    with pytest.raises(ProblemError, match=r"calls the problem 'houses', and twice:problem says name='flats'\. Leave"):
        find_problem()


def test_an_entry_point_that_no_model_could_be_called_is_refused(declare: Declare) -> None:
    declare(PROBLEM.format(said=""), "House prices", module="misnamed")
    with pytest.raises(ProblemError, match="'House prices' has other signs"):
        find_problem()


@pytest.mark.parametrize(
    ("written", "editable", "name"),
    [
        ('[project.entry-points."starterkit.problem"]\nchurn = "kit:problem"\n', True, "churn"),
        ('[project.entry-points."starterkit.problem"]\nchurn = "kit:problem"\n', False, "installed"),
        ("[project", True, "installed"),
        ("[project]\n", True, "installed"),
        (None, True, "installed"),
    ],
)
def test_a_renamed_problem_is_known_before_the_environment_is_made_anew(
    project: Path, monkeypatch: pytest.MonkeyPatch, written: str | None, editable: bool, name: str
) -> None:
    root, installed = project / "my prøject", project / "kit-1.dist-info"
    for folder in (root, installed):
        folder.mkdir()
    if written is not None:
        (root / "pyproject.toml").write_text(written)
    (installed / "entry_points.txt").write_text(f"[{GROUP}]\ninstalled = kit:problem\n")
    (installed / "direct_url.json").write_text(json.dumps({"url": root.as_uri(), "dir_info": {"editable": editable}}))
    entries = Distribution.at(installed).entry_points
    monkeypatch.setattr("starterkit.entry.entry_points", lambda group: entries)
    assert project_entry().name == name
