"""A fresh clone without an environment, opened in an editor of a machine that has no uv on its path."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from editor import Editor
from workspace import Workspace

REPOSITORY = Path(__file__).parents[2]
TESTS = "tests/example_project/"  # the clone's are the example's alone
FILE = "src/example_project/problem.py"
GIT = ("git", "-c", "user.name=test", "-c", "user.email=test@example.com")


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("f5") / "my prøject ü"
    listing = [*GIT, "-c", "core.quotePath=false", "ls-files", "-co", "--exclude-standard"]
    names = subprocess.run(listing, cwd=REPOSITORY, check=True, capture_output=True, text=True).stdout.splitlines()
    for name in names:
        if (REPOSITORY / name).exists() and (name.startswith(TESTS) or not name.startswith("tests/")):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, root / name)
    base = root / "config" / "base.yaml"
    few = base.read_text().replace("n_estimators: 200", "n_estimators: 20").replace("rate: 0.03", "rate: 0.2")
    assert few.count("n_estimators: 20\n") == few.count("learning_rate: 0.2\n") == 1
    base.write_text(few + "\nexport:\n  parity_rows: 500\n")
    for words in (["init", "-q"], ["add", "."], ["commit", "-q", "-m", "A clone"]):
        subprocess.run([*GIT, *words], cwd=root, check=True)
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
