"""Each step is an entry point of the MLflow project, and the project runs."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

STEPS = ("run", "train", "export", "register", "promote")


def test_every_step_is_an_entry_point(repository: Path) -> None:
    declared = yaml.safe_load((repository / "MLproject").read_text())["entry_points"]
    for step in STEPS:
        assert declared[step]["command"].endswith(f"-m starterkit {step}")


@pytest.mark.slow
def test_mlflow_runs_the_project(repository: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("KIT_", "MLFLOW_TRACKING"))}
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "run", ".", "-e", "run", "--env-manager", "local"],
        cwd=repository,
        env=clean | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert "local.diabetes version 1" in done.stdout
    assert "succeeded" in done.stderr
