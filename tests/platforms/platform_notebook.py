"""Where there is no clone: a wheel in an empty environment, as in a cloud's notebook; and conda.yaml."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.utils.environment import _PythonEnv

from conftest import REPOSITORY, run

KERNEL = "nbclient==0.11.0 ipykernel==7.4.0"
NOTEBOOKS = sorted((REPOSITORY / "notebooks").glob("*.ipynb"))


@pytest.fixture(scope="module")
def bin_(environment: Callable[..., Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "tools/wheel.py", folder, cwd=REPOSITORY)
    (wheel,) = folder.glob("*.whl")
    return environment("notebook", f"{wheel}[locked] {KERNEL}")


@pytest.fixture(scope="module")
def folder(bin_: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("empty")
    assert "files are in" in run(bin_ / "starterkit", "unpack", cwd=folder)
    return folder


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_cells_run(bin_: Path, folder: Path, notebook: Path):
    run(bin_ / "jupyter-execute", "--output", folder / "{notebook_name}", notebook, cwd=folder)
    cells = json.loads((folder / notebook.name).read_text("utf-8"))["cells"]
    assert all(cell["execution_count"] for cell in cells if cell["cell_type"] == "code")


def test_nothing_comes_from_the_clone_and_what_is_there_is_not_written_over(bin_, folder):
    code = "import example_project, numpy; print(example_project.__file__, numpy.__version__)"
    place, locked = run(bin_ / "python", "-c", code, cwd=folder).split()
    assert Path(place).is_relative_to(bin_.parent)
    assert f"numpy=={locked}" in (REPOSITORY / "requirements.txt").read_text()
    done = subprocess.run([bin_ / "starterkit", "unpack"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: config/base.yaml exists already.")
    clone = [sys.executable, "-m", "starterkit", "unpack"]
    done = subprocess.run(clone, cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "the kit here brings no files" in done.stderr) == (2, True)


def test_what_pip_installs_of_condas_file_runs_the_projects_steps(
    environment: Callable[..., Path], tmp_path: Path, copied: Callable[..., Path], project: Path
):
    read = _PythonEnv.from_conda_yaml(str(REPOSITORY / "conda.yaml"))
    assert (read.python, read.build_dependencies[0]) == ("3.11", "pip")
    given = REPOSITORY / "build" / "envs" / "conda.txt"  # as conda writes it, and calls pip beside conda.yaml
    given.parent.mkdir(parents=True, exist_ok=True)
    given.write_text("\n".join(read.dependencies))
    bin_ = environment("conda", f"--requirement {given}")
    root = copied(tmp_path / "copy", project / "mlflow.db")  # whose tables are made
    before = (root / "mlflow.db").read_bytes()
    for name in ("conda.yaml", "conda", "src"):
        (root / name).symlink_to(REPOSITORY / name)
    words = ("run", "conda", "-e", "train", "--env-manager", "local")
    run(bin_ / "mlflow", *words, cwd=root, PATH=f"{bin_}:/usr/bin:/bin")
    assert (root / "mlflow.db").read_bytes() != before
