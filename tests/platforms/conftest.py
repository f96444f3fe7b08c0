"""Environments of other people's packages, pinned, below build/envs; and a champion to bring to a platform.

Where a package cannot be had, what needs it is skipped and says "not run".
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
UV = shutil.which("uv") or str(REPOSITORY / ".cache" / "uv" / "bin" / "uv")
MADE_OF = ("pyproject.toml", "requirements.txt", "requirements-serve.txt", "conda.yaml")
MADE = "made"
INSTALL = [UV, "pip", "install", "--quiet", "--python"]


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
def environment() -> Callable[..., Path]:
    """Makes an environment; each argument is what one call of uv installs. The answer is its folder of commands."""

    def make(name: str, *steps: str) -> Path:
        place, bin_ = REPOSITORY / "build" / "envs" / name, REPOSITORY / "build" / "envs" / name / "bin"
        read = b"".join((REPOSITORY / file).read_bytes() for file in MADE_OF)
        stamp = hashlib.sha256(read + "\n".join(steps).encode()).hexdigest()
        if (place / MADE).is_file() and (place / MADE).read_text() == stamp:
            return bin_
        for command in (
            [UV, "venv", "--quiet", "--clear", "--python", sys.executable, str(place)],
            *([*INSTALL, str(bin_ / "python"), *step.split()] for step in steps),
        ):
            done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=600)
            if done.returncode:
                pytest.skip(f"not run: {steps[-1]} cannot be had: {done.stderr.strip()[-300:]}")
        (place / MADE).write_text(stamp)
        return bin_

    return make


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory, copied: Callable[..., Path]) -> Path:
    """A copy of the repository with a champion, and its exported folder in build/model."""
    root = copied(tmp_path_factory.mktemp("platforms") / "copy")
    kit = (sys.executable, "-m", "starterkit")
    run(*kit, "run", cwd=root)
    run(*kit, "fetch", "build/model", cwd=root)
    return root
