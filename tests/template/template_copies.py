"""Copies as their users have them: run, tested, begun anew with data of one's own, updated.

All take their turn in one folder, so that one environment serves them. It is brought up to date by each copy's own
`make`, as between two versions of one project. `make test-template ARGS=--whole` also runs those that are tested alone.
This file's name comes first, for it takes longest.
"""

import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from workshop import COMBINATIONS, REPOSITORY, Folder

STAGE_TEST = {"KIT_SERVING__API_KEY": "a-key-that-nobody-else-has", "KIT_TRACKING__URI": "http://127.0.0.1:9"}
READ = """
from starterkit.data import DatasetReader
from starterkit.problem import find_problem
from starterkit.settings import load_settings
settings = load_settings()
dataset = DatasetReader(find_problem(), settings.data, settings.root, settings.stage, settings.privacy).read()
print(settings.stage, len(dataset))
"""
Timed = Callable[[str], object]


class Turn:
    """A folder with an environment, and whoever has its turn there."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def take(self, make: Callable[[Path], Folder]) -> Folder:
        aside = self.place.with_name("aside")
        aside.mkdir(exist_ok=True)
        for name in (".venv", ".cache"):
            if (self.place / name).exists():
                (self.place / name).rename(aside / name)
        if self.place.exists():
            shutil.rmtree(self.place)
        project = make(self.place)
        for path in aside.iterdir():
            path.rename(self.place / path.name)
        return project


@pytest.fixture(scope="session")
def turn(tmp_path_factory: pytest.TempPathFactory) -> Turn:
    return Turn(tmp_path_factory.mktemp("turn") / "my prøject ü")


@pytest.fixture
def timed(record_property: Callable[[str, str], None]) -> Timed:
    """Says at the end how long something took."""

    @contextmanager
    def measure(what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        record_property(what, f"{time.monotonic() - began:.1f} s")

    return measure


def test_it_runs_and_passes_its_own_tests_at_once(repository, turn, timed):
    with timed("make new"):
        project = turn.take(lambda place: repository.copy("all parts", place))
    model = f"local.{COMBINATIONS['all parts'][0].replace('_', '-')}"
    with timed("the first make run, with the environment"):
        assert f"Gate  {model} version 1: passed" in project.make("run")
    with timed("the first make test, with its tools"):
        project.make("test")
    assert project.changes == ""
    assert not (project.root / ".git" / "shallow").exists()


def test_data_of_ones_own_leads_to_a_model_that_the_gate_passed(repository, turn, timed, tmp_path):
    """In a copy without containers, whose name comes behind the kit's."""
    from sklearn.datasets import load_breast_cancer  # here, for the other worker does without

    load_breast_cancer(as_frame=True).frame.to_csv(tmp_path / "breast_cancer.csv", index=False)
    with timed("from make new to a gated model of one's own, the environment there already"):
        project = turn.take(lambda place: repository.copy("no containers", place))
        project.make("env")
        project.call(".venv/bin/starterkit", "init-problem", str(tmp_path / "breast_cancer.csv"), "--target", "target")
        with timed("make run on data of one's own"):
            said = project.make("run")
    assert "Gate  local.breast-cancer version 1: passed" in said
    assert re.findall("^ +refuse.*", said, re.MULTILINE) == []
    with timed("make test on data of one's own"):
        project.make("test")
    name = COMBINATIONS["no containers"][0]
    assert {line[3:] for line in project.changes.splitlines()} == {
        ".vscode/launch.json", "config/base.yaml", "config/test.yaml", "data/breast-cancer.csv", "pyproject.toml",
        f"src/{name}/problem.py", f"tests/{name}/test_example_problem.py", f"tests/{name}/test_problem.py",
    }  # fmt: skip
    project.call(".venv/bin/starterkit", "data", "prepare", "--for", "test", KIT_STAGE="local")
    assert "test 569\n" in project.call(".venv/bin/python", "-c", READ, KIT_STAGE="test", **STAGE_TEST)
    project.commit()

    newer = Folder(tmp_path / "newer")
    repository.git("clone", "-q", str(repository.root), str(newer.root))
    newer.edit("src/example_project/problem.py", '"rmse"', '"mae"')
    newer.edit(".vscode/launch.json", '"default": "local"', '"default": "dev"')
    before = project.read(f"src/{name}/problem.py")
    project.make("update", f"TEMPLATE={newer.root}")
    assert project.read(f"src/{name}/problem.py") == before
    launch = project.read(".vscode/launch.json")
    assert ('"default": "dev"' in launch, '"default": "data/breast-cancer.csv"' in launch) == (True, True)


def test_without_any_part_it_passes_its_own_tests(repository, turn, timed, request):
    whole = request.config.getoption("--whole")
    for combination in (["no containers"] if whole else []) + ["no parts"]:
        project = turn.take(lambda place, chosen=combination: repository.copy(chosen, place))
        if whole:
            project.make("run")
        with timed(f"make test with {combination}"):
            project.make("test")
        assert project.changes == ""


def test_a_project_of_the_oldest_version_takes_todays(repository, turn, timed, tmp_path):
    """The changelog names that version by its commit. What comes of the update passes its own tests."""
    named = re.search(r"from commit ([0-9a-f]{7,40})", (REPOSITORY / "CHANGELOG.md").read_text("utf-8"))
    assert named
    oldest = Folder(tmp_path / "oldest")
    Folder(REPOSITORY).git("clone", "-q", "--no-checkout", f"file://{REPOSITORY}", str(oldest.root))
    oldest.git("checkout", "-q", named[1])

    def made(place: Path) -> Folder:  # by its machinery, which took no name from within the template, such as ../churn
        told = oldest.new("churn", place)
        assert told.code == 0, told.said
        return Folder(place)

    with timed("make new of the oldest version"):
        project = turn.take(made)
    assert named[1] in project.read(".starterkit.json")
    project.edit("src/churn/problem.py", "n_estimators: int = 200", "n_estimators: int = 150")
    project.edit("tools/stack.py", "The database first: what", "The database first. What")
    project.commit("Mine")
    with timed("make update"):
        project.make("update", f"TEMPLATE={repository.root}")
    assert "n_estimators: int = 150" in project.read("src/churn/problem.py")
    assert "The database first. What" in project.read("tools/stack.py")
    with timed("make test after the update"):
        project.make("test")


def test_a_project_from_before_the_move_passes_its_own_tests_with_todays_kit(before_the_move, turn, timed, request):
    """Its own tests are of then. What the update makes of its files, template_whole.py looks at."""
    if not request.config.getoption("--whole"):
        pytest.skip("not run: ARGS=--whole asks for it")
    project = turn.take(before_the_move)
    project.make("update")
    with timed("make test of a project from before the move"):
        project.make("test")
    assert "Gate  local.diabetes version 1: passed" in project.make("run")
