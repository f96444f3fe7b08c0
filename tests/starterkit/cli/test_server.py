"""The commands against a real MLflow server on loopback, in the stage staging."""

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

COMMAND = [sys.executable, "-m", "starterkit"]


@pytest.fixture
def server(tmp_path: Path, empty_store: Path) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """An MLflow server with a store and artifacts of its own, ended after the test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = tmp_path / "server.db"
    store.write_bytes(empty_store.read_bytes())
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{store}", "--artifacts-destination", str(tmp_path / "artifacts")]
    quiet = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    with (tmp_path / "server.log").open("wb") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, env=clean | quiet, cwd=tmp_path, start_new_session=True
        )
    address = f"http://127.0.0.1:{port}"
    try:
        _wait_for(address)
        yield address, process
    finally:
        _end(process)


def _wait_for(address: str) -> None:
    for _ in range(120):
        try:
            urlopen(f"{address}/version", timeout=1).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    pytest.fail("the MLflow server did not answer within a minute")


def _end(process: subprocess.Popen[bytes]) -> None:
    """The server and its workers, which are a process group of their own."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait()


def test_staging_works_over_http(run: Any, repository: Path, server: tuple[str, Any]) -> None:
    environ = {"KIT_STAGE": "staging", "KIT_TRACKING__URI": server[0]}
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
def test_server_that_dies_in_the_middle_is_one_line(repository: Path, server: tuple[str, Any]) -> None:
    address, process = server
    environ = {"KIT_STAGE": "staging", "KIT_TRACKING__URI": address, "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1"}
    with subprocess.Popen(
        [*COMMAND, "run"], cwd=repository, env=os.environ | environ, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stderr is not None
        for line in running.stderr:
            if "connect to MLflow" in line:
                break
        _end(process)
        said = running.stderr.read()
    assert running.returncode == 1
    assert f"error: MLflow at {address} failed" in said
    assert "Traceback" not in said
