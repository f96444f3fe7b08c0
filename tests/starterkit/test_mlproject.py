"""The MLflow project runs. What its entry points are called, tests/test_repository.py sees."""

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow
def test_mlflow_runs_the_project(repository: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KIT_", "MLFLOW_TRACKING"))}
    command = [sys.executable, "-m", "mlflow", "run", ".", "-e", "run", "--env-manager", "local"]
    environ = clean | {"PATH": path}
    done = subprocess.run(command, cwd=repository, env=environ, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert "local.diabetes version 1" in done.stdout
    assert "succeeded" in done.stderr
