"""A git repository with the kit's own code, in which a version was trained."""

import os
import shutil
import subprocess
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from example_project import problem
from starterkit.pipeline import Pipeline
from starterkit.problem import Problem
from starterkit.release.reproducer import Reproducer, Reproduction
from starterkit.settings import load_settings
from starterkit.tracking.registry import ModelRegistry

REPOSITORY = Path(__file__).parents[4]
LOCKS = ("requirements-test.txt", "requirements-uv.txt")
WITH_ITS_CODE = ("src", "tools", *LOCKS, "pyproject.toml", ".gitignore", "README.md", "LICENSE")


def git(root: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.com"]
    command = ["git", "-C", str(root), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@dataclass(frozen=True)
class Project:
    """A repository, and what one does in it. `root` may be a copy: its artifacts stay where they were made."""

    root: Path
    hurry: Callable[[], Any] = nullcontext

    def git(self, *arguments: str) -> str:
        return git(self.root, *arguments)

    def commit(self, message: str = "change") -> str:
        self.git("add", ".")
        self.git("commit", "-q", "-m", message)
        return self.git("rev-parse", "HEAD")

    def train(self, problem: Problem = problem, **environ: str) -> int:
        pipeline = Pipeline(problem, load_settings(self.root, environ))
        dataset = pipeline.read()
        with self.hurry():
            return pipeline.register(pipeline.export(pipeline.train(dataset), dataset).run).number

    def registry(self, **environ: str) -> ModelRegistry:
        return ModelRegistry.of(load_settings(self.root, environ), "diabetes")

    def reproduce(self, number: int, **environ: str) -> Reproduction:
        registry, settings = self.registry(**environ), load_settings(self.root, environ)
        return Reproducer(registry, settings, problem.columns).reproduce(registry.find(str(number)))

    def files(self) -> dict[str, bytes]:
        """Everything that is there, git's own files too."""
        return {str(path): path.read_bytes() for path in sorted(self.root.rglob("*")) if path.is_file()}


@pytest.fixture(scope="session")
def new_project(
    tmp_path_factory: pytest.TempPathFactory, empty_store: Path, copied: Callable[..., Path], hurry: Callable[[], Any]
) -> Callable[[], Project]:
    def make() -> Project:
        root = copied(tmp_path_factory.mktemp("project") / "my prøject ü", empty_store)
        for name in WITH_ITS_CODE:
            source = REPOSITORY / name
            if source.is_dir():
                shutil.copytree(source, root / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(source, root / name)
        base = root / "config" / "base.yaml"
        base.write_text(base.read_text().replace("max: 65", "max: 90").replace("min: 0.3", "min: 0"))
        git(root, "init", "-q")
        project = Project(root, hurry)
        project.commit("A first model")
        return project

    return make


@pytest.fixture
def checkout(tmp_path: Path) -> Project:
    """A small repository with a file in a folder."""
    git(tmp_path, "init", "-q")
    (tmp_path / "sub").mkdir()
    for name in ("code.py", "sub/grün.py"):
        (tmp_path / name).write_text("1\n")
    project = Project(tmp_path)
    project.commit()
    return project


@pytest.fixture(scope="session")
def traveller(new_project: Callable[[], Project], tmp_path_factory: pytest.TempPathFactory) -> Project:
    """Version 1 had parameters of the environment's and data outside of git. The repository has moved on since.

    Read only: copy it to change it.
    """
    project = new_project()
    (project.root / "data" / "more").mkdir()
    (project.root / ".gitignore").open("a").write("data/more/\nmlflow.db*\nmlartifacts/\n")
    project.commit("Data that git does not keep")
    shutil.copy(project.root / "data" / "diabetes.csv", project.root / "data" / "more" / "rows.csv")
    made = {"KIT_DATA__SOURCE": "data/more/rows.csv", "KIT_TRAINING__PARAMS": '{"n_estimators": 30}'}
    project.train(**made, KIT_TRAINING__SEED="7")
    base = project.root / "config" / "base.yaml"
    base.write_text(base.read_text().replace("n_estimators: 20", "n_estimators: 25"))
    (project.root / "src" / "example_project" / "problem.py").write_text("raise RuntimeError\n")
    (project.root / "requirements.txt").open("a").write("# a later lock\n")
    project.commit("Other parameters, another lock, and code that does not run")
    return project


@pytest.fixture
def copy(traveller: Project, tmp_path: Path) -> Project:
    return Project(Path(shutil.copytree(traveller.root, tmp_path / "copy", symlinks=True)))


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where scratch folders are made, to see what is left of them."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    monkeypatch.setitem(os.environ, "TMPDIR", str(folder))
    return folder
