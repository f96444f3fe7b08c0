"""The whole way between two real MLflow servers, by the commands that a person gives: each a process of its own."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "KIT_"))} | QUIET

ANSWERS = """
import hashlib, json, sys
from pathlib import Path
import mlflow, numpy as np, pandas as pd
from starterkit.tracking.registry import ModelRegistry
from starterkit.files import scratch_folder
from starterkit.settings import load_settings
from starterkit.tracking.connection import connect
from starterkit.tracking.queries import fetch_model

settings = load_settings()
registry = ModelRegistry(connect(settings.tracking, settings.root), settings.stage, "diabetes")
version = registry.version(1)
predictor = registry.open(version)
types = {column.name: {"integer": "int64"}.get(column.type, "float64") for column in predictor.contract.columns}
frame = pd.read_csv("data/diabetes.csv")[list(types)].astype(types)
answers = predictor.predict({name: frame[name].to_numpy() for name in frame}).values
loaded = mlflow.pyfunc.load_model(f"models:/{version.model}/1").predict(frame).to_numpy()[:, 0]
assert np.allclose(answers, loaded, rtol=1e-12)  # its session has other threads, and so sums in another order
with scratch_folder() as folder:
    fetch_model(registry.connection, f"models:/{version.model}/1", folder)
    files = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
print(json.dumps({"answers": answers.tolist(), "files": files}))
"""


class Servers:
    """Two servers, each with a store and artifacts of its own, and the repository from which both are used."""

    def __init__(self, repository: Path, addresses: dict[str, str]) -> None:
        self.repository = repository
        self._addresses = addresses

    def run(self, stage: str, *command: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        given = CLEAN | {"KIT_STAGE": stage, "KIT_TRACKING__URI": self._addresses[stage]} | environ
        done = subprocess.run(
            [sys.executable, *command], cwd=self.repository, env=given, capture_output=True, text=True, check=False
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done

    def kit(self, stage: str, *words: str, code: int = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.run(stage, "-m", "starterkit", *words, code=code, **environ)


@pytest.fixture
def servers(repository: Path, tmp_path: Path, empty_store: Path) -> Iterator[Servers]:
    processes, addresses = [], {}
    try:
        for stage in ("staging", "prod"):
            address, process = _start(tmp_path / stage, empty_store)
            addresses[stage] = address
            processes.append(process)
        for address in addresses.values():
            _wait_for(address)
        yield Servers(repository, addresses)
    finally:
        for process in processes:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _start(folder: Path, empty_store: Path) -> tuple[str, subprocess.Popen[bytes]]:
    folder.mkdir()
    (folder / "store.db").write_bytes(empty_store.read_bytes())
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", f"sqlite:///{folder}/store.db", "--artifacts-destination", str(folder / "kept")]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=CLEAN, cwd=folder, start_new_session=True)
    return f"http://127.0.0.1:{port}", process


def _wait_for(address: str) -> None:
    for _ in range(240):
        try:
            urlopen(f"{address}/version", timeout=1).close()
        except OSError:
            time.sleep(0.5)
        else:
            return
    pytest.fail("an MLflow server did not answer within two minutes")


@pytest.mark.slow
def test_a_version_goes_from_one_server_to_the_other(servers: Servers) -> None:
    assert json.loads(servers.kit("staging", "run", "--json").stdout)["champion"] == 1
    made = json.loads(servers.kit("staging", "keys", "--json").stdout)
    written = json.loads(servers.kit("staging", "bundle", "to prod.zip", "--json").stdout)
    assert (written["model"], written["version"], written["key"]) == ("staging.diabetes", 1, made["key"])

    to_prod = ("promote", "--to", "prod", "--from", "to prod.zip")
    untrusted = servers.kit("prod", *to_prod, "--approver", "Ada", code=1)
    assert "promotion.trusted_keys is empty" in untrusted.stderr
    assert "Ada" not in untrusted.stderr

    config = servers.repository / "config" / "prod.yaml"
    config.write_text(config.read_text() + f"\npromotion:\n  trusted_keys: [{made['public']}]\n")
    assert "--approver" in servers.kit("prod", *to_prod, code=2).stderr
    for _ in range(2):
        moved = json.loads(servers.kit("prod", *to_prod, "--approver", "Ada", "--json").stdout)
        assert (moved["model"], moved["version"], moved["passed"]) == ("prod.diabetes", 1, True)
    acts = json.loads(servers.kit("prod", "history", "--json").stdout)["entries"]
    assert {(entry["act"], entry["version"], entry["approver"]["name"]) for entry in acts} == {("promote", 1, "Ada")}

    then, now = (json.loads(servers.run(stage, "-c", ANSWERS).stdout) for stage in ("staging", "prod"))
    assert len(then["answers"]) == 442
    assert {"MLmodel", "model.onnx", "contract.json", "parity.npz"} <= then["files"].keys()
    assert now == then
