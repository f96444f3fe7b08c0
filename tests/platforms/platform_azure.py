"""Azure ML: the files by its client's own loaders, and the entry script in its own inference server.

Nothing here was taken by Azure itself: that needs an account.
"""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pandas as pd
import pytest

from conftest import REPOSITORY, clean, run
from starterkit.serving.predictor import Predictor
from starterkit.serving.validation import read_records

CLIENT, SERVER = "azure-ai-ml==1.35.2", "azureml-inference-server-http==1.2.2"
LOAD = """
import json, sys
from azure.ai.ml import load_online_deployment, load_online_endpoint

endpoint, deployment = load_online_endpoint("endpoint.yaml"), load_online_deployment("deployment.yaml")
rest = deployment._to_rest_object("westeurope").properties
endpoint._to_rest_online_endpoint("westeurope")
print(json.dumps([type(endpoint).__name__, endpoint.name, deployment.endpoint_name, rest.instance_type,
    deployment.environment.inference_config["scoringRoute"]["path"], rest.environment_variables["KIT_STAGE"]]))
"""
START = """
from azureml_inference_server_http import amlserver, constants as c; c.DEFAULT_HOST = '127.0.0.1'; amlserver.run()
"""
ASKED = {"workspace": "ml", "group": "data", "vault": "https://kit.vault.azure.net"}
WORDS = ("deploy", "azure", "--image", "kit.azurecr.io/api:7", "--dry-run", "--to", "azure")


@pytest.fixture(scope="module")
def files(project: Path) -> Path:
    (project / "deploy").symlink_to(REPOSITORY / "deploy")
    given = [word for name, value in ASKED.items() for word in ("--set", f"{name}={value}")]
    run(sys.executable, "-m", "starterkit", *WORDS, *given, cwd=project)
    return project / "azure"


def test_its_client_takes_the_files(environment: Callable[..., Path], files: Path):
    python = environment("azure-client", CLIENT) / "python"
    kind, name, endpoint, instance, route, stage = json.loads(run(python, "-c", LOAD, cwd=files))
    assert (kind, name, instance) == ("ManagedOnlineEndpoint", endpoint, "Standard_DS2_v2")
    assert (route, stage) == ("/invocations", "local")
    misspelt = (files / "deployment.yaml").read_text().replace("instance_type:", "instance_tpe:")
    (files / "other.yaml").write_text(misspelt)
    code = LOAD.replace("deployment.yaml", "other.yaml")
    done = subprocess.run([python, "-c", code], cwd=files, env=clean(), capture_output=True, text=True, timeout=120)
    assert "instance_tpe" in done.stdout + done.stderr


@pytest.fixture(scope="module")
def address(environment: Callable[..., Path], project: Path, program: Callable[..., Any]) -> str:
    """Where Azure ML's server answers with the entry script; by its own start, but on this machine alone."""
    steps = ("--require-hashes -r requirements-serve.txt", SERVER, "--no-deps --editable .")
    python = environment("azure-server", *steps) / "python"
    command = [python, "-c", START, "--entry_script", REPOSITORY / "deploy/azure/score.py", "--port", "{port}"]
    environ = {"AZUREML_MODEL_DIR": str(project / "build"), "PATH": f"{python.parent}:/usr/bin:/bin"}
    server = program(project, project / "server.log", *command, **environ)
    server.wait(lambda: server.answers("/"))
    return f"{server.address}/score"


def rows(project: Path) -> list[dict[str, Any]]:
    return pd.read_csv(project / "data" / "diabetes.csv").drop(columns=["patient_id", "progression"]).to_dict("records")


def test_its_server_answers_as_the_champion(address: str, project: Path):
    records, predictor = rows(project), Predictor(project / "build" / "model")
    frame = pd.DataFrame(records)
    expected = predictor.predict(read_records(predictor.contract, records)).values.tolist()
    split = {"columns": [*frame], "data": frame.to_numpy().tolist()}
    for given in (records, {**split, "index": [*range(len(frame))]}):
        told = httpx.post(address, json={"input_data": given}, timeout=30)
        assert told.json() == {"predictions": [{"progression": one} for one in expected]}, told.text[:500]
    none = {"dataframe_split": {"columns": [*frame], "data": []}}
    assert httpx.post(address, json=none).json() == {"predictions": []}


def test_invalid_rows_are_refused_with_row_and_column_and_what_is_no_request_too(address: str, project: Path):
    sound, other = rows(project)[:2]
    for column, value, said in (("bmi", 7, "is below 10"), ("bmi", "much", ""), ("bmii", 7, "")):
        told = httpx.post(address, json={"input_data": [sound, other | {column: value}]})
        assert told.status_code == 400
        assert told.json()["message"].startswith(f"row 1, column '{column}': {said}"), told.text
    for body in (b"", b"{", b"[1e999]", b'{"input_data": 3}', b'{"input_data": []}', b'{"rows": []}', b"\xff"):
        told = httpx.post(address, content=body, headers={"content-type": "application/json"})
        assert told.status_code == 400, body
