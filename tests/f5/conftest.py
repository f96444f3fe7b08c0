"""A copy of the repository, opened in an editor whose environment lies elsewhere, as it does in the dev container."""

import os
import shutil
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from editor import Editor
from workspace import Workspace

REPOSITORY = Path(__file__).parents[2]
COPIED = (
    ".vscode", "config", "data", "src", "tools", "tests/example_project", "Makefile", "MLproject", "README.md",
    "LICENSE", "pyproject.toml", "python_env.yaml", "requirements.txt", "requirements-test.txt",
)  # fmt: skip
FILE = "src/example_project/problem.py"
STAMP = """
import sys
sys.path.insert(0, "tools")
from environment import *
write(Path(sys.argv[1]), fingerprint(TEST_LOCK))
"""


@pytest.fixture(scope="session")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a person has who just cloned the repository; it trains few trees, and its tests are the example's alone."""
    root = tmp_path_factory.mktemp("f5") / "my prøject ü"
    for name in COPIED:
        source, place = REPOSITORY / name, root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(source, place)
    base = root / "config" / "base.yaml"
    few = base.read_text().replace("n_estimators: 200", "n_estimators: 20")
    few = few.replace("learning_rate: 0.03", "learning_rate: 0.2")
    assert few.count("n_estimators: 20\n") == few.count("learning_rate: 0.2\n") == 1
    base.write_text(few + "\nexport:\n  parity_rows: 500\n")
    (root / ".env").write_text("# read by F5\nKIT_TRAINING__SEED=7\n")
    return root


@pytest.fixture(scope="session")
def environ(root: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The editor's environment. Its VENV has this one's packages, and is one that `make env-test` would have made."""
    venv = tmp_path_factory.mktemp("elsewhere") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    (packages,) = venv.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(f"{root / 'src'}\n{sysconfig.get_path('purelib')}\n")
    subprocess.run([venv / "bin" / "python", "-c", STAMP, venv / "kit-environment"], cwd=root, check=True)
    ours = ("KIT_", "MLFLOW_", "PYTEST_", "PYTHON", "VIRTUAL_ENV", "MAKE", "MFLAGS", "ARGS")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return clean | {"VENV": str(venv), "KIT_SERVING__PORT": str(port), "TMPDIR": str(tmp_path_factory.mktemp("tmp"))}


@pytest.fixture
def editor(root: Path, environ: dict[str, str]) -> Iterator[Editor]:
    editor = Editor(Workspace(root, environ, root / FILE))
    yield editor
    editor.close()


@pytest.fixture
def trained(root: Path, environ: dict[str, str]) -> None:
    """See that there is a champion: F5 on the first configuration makes one, unless a test was picked."""
    if not (root / "mlflow.db").exists():
        command = [f"{environ['VENV']}/bin/python", "-m", "starterkit", "run"]
        subprocess.run(command, cwd=root, env=environ, check=True, capture_output=True)
