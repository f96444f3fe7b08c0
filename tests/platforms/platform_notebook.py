"""Where there is no clone: a wheel in an empty environment and an empty folder, as in a cloud's notebook."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

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


def test_nothing_comes_from_the_clone_and_all_versions_are_the_locks(bin_: Path, folder: Path):
    code = "import example_project, numpy; print(example_project.__file__, numpy.__version__)"
    place, locked = run(bin_ / "python", "-c", code, cwd=folder).split()
    assert Path(place).is_relative_to(bin_.parent)
    assert f"numpy=={locked}" in (REPOSITORY / "requirements.txt").read_text()


def test_what_is_there_already_is_not_written_over(bin_: Path, folder: Path):
    done = subprocess.run([bin_ / "starterkit", "unpack"], cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.splitlines()[0]) == (2, "error: config/base.yaml exists already.")
    clone = [sys.executable, "-m", "starterkit", "unpack"]
    done = subprocess.run(clone, cwd=folder, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "the kit here brings no files" in done.stderr) == (2, True)
