"""The project's entry point is found, and what is wrong with it is said in one line."""

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from starterkit.entry import GROUP
from starterkit.errors import ProblemError
from starterkit.problem import find_problem


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


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
def test_code_that_fails_is_named_with_its_line(
    project: Path, monkeypatch: pytest.MonkeyPatch, code: str, named: str
) -> None:
    module = f"broken_{abs(hash(code))}"
    (project / f"{module}.py").write_text(f"{code}\n")
    entry = EntryPoint("default", f"{module}:problem", GROUP)
    monkeypatch.setattr("starterkit.entry.entry_points", lambda group: [entry])
    with pytest.raises(ProblemError) as refusal:
        find_problem()
    assert named in refusal.value.what
    if named not in ("is a int", "AttributeError"):
        assert f"{module}.py, line" in refusal.value.what
        assert refusal.value.what.count(f"{module}.py") == 1


def test_a_missing_package_is_added_by_its_name(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "wanting.py").write_text("import nowhere_at_all.inside\n")
    entry = EntryPoint("default", "wanting:problem", GROUP)
    monkeypatch.setattr("starterkit.entry.entry_points", lambda group: [entry])
    with pytest.raises(ProblemError, match="make add PKG=nowhere_at_all"):
        find_problem()
