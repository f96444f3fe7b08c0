"""The problem's name is read from the project's source where that states it plainly, and nowhere else."""

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from starterkit.entry import GROUP, stated_name
from starterkit.problem import find_problem

PLAIN = 'from starterkit.problem import Problem\nproblem = Problem(name="houses", title="Houses")\n'
NOTHING = "from starterkit.problem import Problem\n"


@pytest.fixture
def stated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[dict[str, str]], str | None]:
    """The name that a project's files state, the first of which the entry point names."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def read(files: dict[str, str]) -> str | None:
        for name, source in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source)
        module = next(iter(files)).removesuffix(".py").replace("/", ".").removesuffix(".__init__")
        entry = EntryPoint("default", f"{module}:problem", GROUP)
        monkeypatch.setattr("starterkit.entry.entry_points", lambda group: [entry])
        return stated_name()

    return read


def test_the_installed_project_states_its_own_name() -> None:
    assert stated_name() == find_problem().name


def test_it_is_read_without_running_the_project() -> None:
    code = "import sys, starterkit.entry as e; print(e.stated_name(), {'pandas', 'example_project'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "diabetes set()\n"


@pytest.mark.parametrize(
    "files",
    [
        {"stated_a.py": PLAIN},
        {"stated_b.py": PLAIN.replace("problem =", "problem: Problem =")},
        {"stated_c/__init__.py": "from stated_c.deep.part import problem\n", "stated_c/deep/part.py": PLAIN},
        {"stated_d/__init__.py": "from .part import problem\n", "stated_d/part.py": PLAIN},
        {"stated_e/inner.py": "from . import problem\n", "stated_e/__init__.py": PLAIN},
        {"stated_f.py": "from stated_g import task as problem\n", "stated_g.py": PLAIN.replace("problem =", "task =")},
    ],
)
def test_a_plain_statement_is_followed_to_where_it_stands(
    stated: Callable[[dict[str, str]], str | None], files: dict[str, str]
) -> None:
    assert stated(files) == "houses"


@pytest.mark.parametrize(
    "source",
    [
        "",
        "problem = (",
        "problem = 7",
        "from nowhere_at_all import problem",
        "from stated_h import problem",  # a circle
        PLAIN + "problem = None",
        PLAIN + "from os import *",
        PLAIN + "def change():\n    global problem\n    problem = None",
        NOTHING + 'if True:\n    problem = Problem(name="houses")',
        NOTHING + 'NAME = "houses"\nproblem = Problem(name=NAME)',
        NOTHING + 'problem = Problem(**{"name": "houses"})',
        NOTHING + 'problem = [Problem(name="houses")][0]',
        NOTHING + 'class Problem: ...\nproblem = Problem(name="houses")',
        'from elsewhere import Problem\nproblem = Problem(name="houses")',
    ],
)
def test_what_could_be_another_name_is_left_to_the_import(
    stated: Callable[[dict[str, str]], str | None], source: str
) -> None:
    assert stated({"stated_h.py": source}) is None
