"""A version of another environment, made again from its lock by the real tools."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[4]
PACKAGE = "certifi"


def with_an_older(package: str, lock: str) -> str:
    """The lock with the release before the one that is installed here."""
    found = [REPOSITORY / ".cache" / "uv" / "bin" / "uv", "uv"]
    uv = next(str(one) for one in found if Path(one).exists() or one == "uv")
    command = [uv, "pip", "compile", "-", "--generate-hashes", "--no-deps", "--no-header", "--no-annotate", "--quiet"]
    command += ["--no-emit-index-url", "--python-version", "3.11"]
    asked = f"{package}<{version(package)}\n"
    pin = subprocess.run(command, input=asked, check=True, capture_output=True, text=True).stdout
    changed, times = re.subn(rf"^{package}==[^\n]*\\\n(    --hash=[^\n]*\n)+", pin, lock, flags=re.MULTILINE)
    assert times == 1
    return changed


@pytest.mark.slow
def test_environment_is_made_from_the_commits_lock(new_project: Callable[[], Any], scratch: Path) -> None:
    project = new_project()
    lock = project.root / "requirements.txt"
    lock.write_text(with_an_older(PACKAGE, lock.read_text()))
    (project.root / ".gitignore").open("a").write("mlflow.db*\nmlartifacts/\n")
    project.commit("An older package")
    path = os.environ["PATH"] + os.pathsep + str(REPOSITORY / ".cache" / "uv" / "bin")
    base = getattr(sys, "_base_executable", sys.executable)
    environ = os.environ | {"PATH": path}
    subprocess.run([base, "tools/environment.py", ".venv"], cwd=project.root, env=environ, check=True)
    subprocess.run([".venv/bin/python", "-m", "starterkit", "run"], cwd=project.root, check=True)

    done = project.reproduce(1)
    assert done.environment == "made from the commit's lock"
    assert done.identical
    assert done.lineage.off_lock == {}
    assert [cause.name for cause in done.causes if not cause.same] == []
    assert list(scratch.iterdir()) == []
