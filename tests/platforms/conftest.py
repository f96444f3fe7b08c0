"""A champion to bring to a platform, and commands without what steers them here."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


def clean(**more: str) -> dict[str, str]:
    """The machine's environment without what steers the kit, MLflow, pytest or Python."""
    ours = ("KIT_", "MLFLOW_", "PYTEST", "PYTHON", "AWS_", "AZURE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"MLFLOW_DISABLE_TELEMETRY": "true", "ORT_DISABLE_TELEMETRY": "1"} | more


def run(*words: str | Path, cwd: Path, seconds: float = 300, **more: str) -> str:
    command = [str(word) for word in words]
    done = subprocess.run(command, cwd=cwd, env=clean(**more), capture_output=True, text=True, timeout=seconds)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, copied: Callable[..., Path], kit: Callable[..., str]) -> Path:
    """A copy of the repository with a champion, and its exported folder in build/model."""
    root = copied(tmp_path_factory.mktemp("platforms") / "copy")
    kit(root, "run", code=0)
    kit(root, "fetch", "build/model", code=0)
    return root
