"""A store with three versions: 1 was champion, 2 is, and 3 was not judged yet."""

import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from example_project import problem
from starterkit.pipeline import Pipeline, Summary
from starterkit.settings import Settings, load_settings
from starterkit.tracking.registry import Version


def registered_again(pipeline: Pipeline) -> Version:
    """One more version of the first one's files."""
    first = pipeline.registry.version(1)
    told = {key: value for key, value in first.tags.items() if not key.startswith(("gate", "history", "evidence"))}
    return pipeline.registry.register(first.run, first.source.removeprefix("models:/"), told, "again")


def forget_places() -> None:
    """MLflow's client keeps where a run's artifacts are, and a copied store has the same runs elsewhere."""
    from mlflow.tracking._tracking_service import utils

    utils._artifact_repos_cache.clear()


BEGIN = """
import os, signal, sys
from pathlib import Path
from example_project import problem
from starterkit.pipeline import Pipeline
from starterkit.settings import load_settings

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

"""


@pytest.fixture(scope="session")
def killed():
    """Carries out code in a process of its own, which ends itself by SIGKILL when it calls `die`."""

    def carry_out(code, *words):
        command = [sys.executable, "-c", BEGIN + code, *map(str, words)]
        done = subprocess.run(command, capture_output=True, timeout=120)
        assert done.returncode == -signal.SIGKILL, done.stderr

    return carry_out


@pytest.fixture(scope="session")
def three_versions(first_run: tuple[Path, Summary], tmp_path_factory: pytest.TempPathFactory, hurry: Any) -> Path:
    """Read only: copy it to change it."""
    root = Path(shutil.copytree(first_run[0], tmp_path_factory.mktemp("three") / "versions"))
    forget_places()
    pipeline = Pipeline(problem, load_settings(root, {}))
    second = registered_again(pipeline)
    with hurry():
        assert pipeline.promote(pipeline.read(), second.number).decision.passed
    registered_again(pipeline)
    return root


@pytest.fixture
def moved(three_versions: Path, tmp_path: Path) -> Settings:
    """The settings of a copy."""
    forget_places()
    return load_settings(Path(shutil.copytree(three_versions, tmp_path / "three vërsions")), {})


@pytest.fixture
def pipeline(moved: Settings) -> Pipeline:
    return Pipeline(problem, moved)
