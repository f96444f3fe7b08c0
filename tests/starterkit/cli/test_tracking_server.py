"""The commands against a real MLflow server on loopback, in the stage staging."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

COMMAND = [sys.executable, "-m", "starterkit"]


@pytest.mark.slow
def test_staging_works_over_http(run: Any, repository: Path, server: Any) -> None:
    environ = {"KIT_STAGE": "staging", "KIT_TRACKING__URI": server.address}
    said = json.loads(run(repository, "run", "--json", **environ).stdout)  # nothing else is on stdout
    assert said["champion"] == 1
    assert said["promotion"]["model"] == "staging.diabetes"
    assert not (repository / "mlartifacts").exists()

    done = run(repository, "predict", "data/diabetes.csv", "out.csv", **environ)
    assert done.returncode == 0, done.stderr

    environ["KIT_SERVING__API_KEY"] = "a-key-of-enough-characters"
    found = {item["item"]: item for item in json.loads(run(repository, "doctor", "--json", **environ).stdout)}
    assert found["MLflow"]["state"] == "well"
    assert "staging.diabetes version 1 opens" in found["champion"]["text"]


@pytest.mark.slow
def test_server_that_dies_in_the_middle_is_one_line(repository: Path, server: Any) -> None:
    address = server.address
    environ = {"KIT_STAGE": "staging", "KIT_TRACKING__URI": address, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    with subprocess.Popen(
        [*COMMAND, "run"], cwd=repository, env=os.environ | environ, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "connect to MLflow" in line:
                break
        server.end()
        said = running.stderr.read()
    assert running.returncode == 1
    assert f"error: MLflow at {address} failed" in said
    assert "Traceback" not in said
