"""`loadtest` and `traffic`, as commands."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from starterkit.settings import load_settings
from starterkit.tracking.connection import connect

pytestmark = pytest.mark.slow


def loadtest(root: Path, *words: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """The command in a process of its own, as is the API that it starts."""
    given = os.environ | {"NO_COLOR": "1", "COLUMNS": "200"} | environ
    command = [sys.executable, "-m", "starterkit", "loadtest", "--seconds", "1", *words]
    return subprocess.run(command, cwd=root, env=given, capture_output=True, text=True, timeout=200)


def test_an_api_is_started_loaded_measured_and_ended(trained):
    done = loadtest(trained, "--json", KIT_LOADTEST__MAX_P95_MS="20000")
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["passed"]
    assert said["errors"] == 0
    assert said["requests"] > 10
    assert 0 < said["p50_ms"] <= said["p95_ms"] <= said["p99_ms"] <= said["max_ms"]
    assert said["memory_mb"] > 40
    assert said["cores"] > 0
    client = connect(load_settings(trained, {}).tracking, trained).client
    run = client.get_run(said["run"])
    assert run.info.status == "FINISHED"
    assert client.get_experiment(run.info.experiment_id).name == "local.diabetes.load"
    assert run.data.metrics["throughput"] == pytest.approx(said["throughput"])
    assert run.data.tags["served"] == "local.diabetes version 1"
    assert [file.path for file in client.list_artifacts(run.info.run_id, "figures")] == ["figures/latency.png"]


def test_a_limit_that_does_not_hold_is_refused_and_kept_and_an_api_that_cannot_start_says_why(trained):
    done = loadtest(trained, KIT_LOADTEST__MIN_THROUGHPUT="1e9")
    assert done.returncode == 1
    assert "the API does not hold the stage's limits for throughput" in done.stderr
    assert "REFUSE" in done.stdout
    assert "keep the figures" in done.stderr
    done = loadtest(trained, KIT_SERVING__REQUIRE_API_KEY="true")
    assert done.returncode == 1
    assert "the API did not start: serving.require_api_key is true and serving.api_key is not set." in done.stderr
    assert "Set KIT_SERVING__API_KEY or put it into secrets/KIT_SERVING__API_KEY." in done.stderr
    assert "Traceback" not in done.stderr


def test_an_address_where_nobody_is(run, trained, port):
    address = f"http://127.0.0.1:{port}"
    done = loadtest(trained, "--url", address)
    assert done.returncode == 1
    assert f"the API at {address} is not ready" in done.stderr
    done = run(trained, "traffic", "--wait", "0", KIT_SERVING__PORT=str(port), code=1)
    assert f"the API at {address} is not ready after 0 s: Connection refused" in done.stderr
