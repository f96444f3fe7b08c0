#!/usr/bin/env bash
# MLflow: gc takes a deleted logged model's files, and its registered version stays READY and keeps its alias.
# findings/README.md says why it matters here. Takes about two minutes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet mlflow-skinny==3.17.2 sqlalchemy==2.1.9 alembic==1.20.1 \
  pandas==3.1.1
cd "$work"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_LOGGING_LEVEL=ERROR

cat >look.py <<'PY'
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import mlflow

STORE = "sqlite:///store.db"
Path("model.py").write_text(
    """
import mlflow


class Echo(mlflow.pyfunc.PythonModel):
    def predict(self, model_input: list[str]) -> list[str]:
        return model_input


mlflow.models.set_model(Echo())
"""
)
mlflow.set_tracking_uri(STORE)
client = mlflow.MlflowClient()
experiment = client.create_experiment("try", artifact_location=Path("artifacts").resolve().as_uri())
with mlflow.start_run(experiment_id=experiment):
    logged = mlflow.pyfunc.log_model(name="model", python_model="model.py", pip_requirements=[])
client.create_registered_model("model")
client.create_model_version("model", logged.model_uri, model_id=logged.model_id)
client.set_registered_model_alias("model", "champion", 1)


def state():
    found = client.get_model_version_by_alias("model", "champion")
    try:
        mlflow.pyfunc.load_model("models:/model@champion")
        loads = "loads"
    except mlflow.MlflowException as error:
        loads = f"does not load ({error})"
    return f"version {found.version}, {found.status}, {loads}"


print("mlflow", version("mlflow-skinny"), "with a store in SQLite; the alias 'champion' points at:")
print("  at first:                     ", state())
client.delete_logged_model(logged.model_id)
print("  after delete_logged_model:    ", state())
collect = [sys.executable, "-m", "mlflow", "gc", "--backend-store-uri", STORE, "--tracking-uri", STORE]
said = subprocess.run(collect, capture_output=True, text=True)
print("  after `mlflow gc`, exit code", said.returncode, end=": ")
print(after := state())
if said.returncode or "READY, does not load" not in after:
    sys.exit("CHANGED: gc spares the files of a registered version, or the version is no longer READY")
print("Why it matters: the registry's word is no proof that a version can serve. `starterkit doctor` opens the champion's")
print("files and lets them answer; the kit's `prune` deletes a version first, and its files only with the last version")
print("that has them (src/starterkit/cli/doctor.py, src/starterkit/tracking/registry.py).")
PY
venv/bin/python look.py
