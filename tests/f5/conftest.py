"""A fresh clone without an environment, opened in an editor of a machine that has no uv on its path."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from editor import Editor
from workspace import Workspace

FILE = "src/example_project/problem.py"


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory, cloned: Callable[..., Path]) -> Path:
    root = cloned(tmp_path_factory.mktemp("f5") / "my prøject ü", "tests/example_project/")
    (root / ".env").write_text("# read by F5\nKIT_TRAINING__SEED=7\n")
    return root


@pytest.fixture(scope="session")
def environ(tmp_path_factory: pytest.TempPathFactory, free_tcp_port_factory: Callable[[], int]) -> dict[str, str]:
    """The editor's environment: it names no environment of Python's, and the project has to fetch its own uv."""
    ours = ("KIT_", "MLFLOW_", "PYTEST_", "PYTHON", "VIRTUAL_ENV", "VENV", "MAKE", "MFLAGS", "ARGS")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    clean["PATH"] = without_uv(clean["PATH"], tmp_path_factory.mktemp("bin"))
    return clean | {"KIT_SERVING__PORT": str(free_tcp_port_factory()), "TMPDIR": str(tmp_path_factory.mktemp("tmp"))}


def without_uv(path: str, scratch: Path) -> str:
    """The path, where links to all but uv take the place of a folder that has it."""
    folders = []
    for number, folder in enumerate(map(Path, path.split(os.pathsep))):
        if not (folder / "uv").exists():
            folders.append(folder)
            continue
        folders.append(scratch / str(number))
        folders[-1].mkdir()
        for program in folder.iterdir():
            if program.name not in ("uv", "uvx"):
                (folders[-1] / program.name).symlink_to(program)
    return os.pathsep.join(map(str, folders))


@pytest.fixture
def editor(root: Path, environ: dict[str, str]) -> Iterator[Editor]:
    editor = Editor(Workspace(root, environ, root / FILE))
    yield editor
    editor.close()


@pytest.fixture
def trained(root: Path, environ: dict[str, str]) -> None:
    """See that there is a champion: F5 on the first configuration makes one, unless a test was picked."""
    if not (root / "mlflow.db").exists():
        for command in (["make", "env-test"], [".venv/bin/python", "-m", "starterkit", "run"]):
            subprocess.run(command, cwd=root, env=environ, check=True, capture_output=True)
