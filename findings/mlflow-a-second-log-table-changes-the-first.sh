#!/usr/bin/env bash
# MLflow: a second log_table to a file reads the first as numbers, and writes 00501 back as 501.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet mlflow-skinny==3.17.2 sqlalchemy==2.1.9 alembic==1.20.1 pandas==3.1.1 numpy==2.4.6
cd "$work"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_LOGGING_LEVEL=ERROR

cat >look.py <<'PY'
import json
import sys
from importlib.metadata import version
from pathlib import Path

import mlflow
import pandas as pd

mlflow.set_tracking_uri("sqlite:///mlflow.db")
first = {"zip": ["00501", "10001"], "code": ["1e3", "7"], "day": ["2020-01", "2020-02"]}
second = {"zip": ["00777"], "code": ["n/a"], "day": ["none"]}


def stored():
    """The first two rows as they are in the run's artifact."""
    file = mlflow.artifacts.download_artifacts(run_id=run.info.run_id, artifact_path="answers.json")
    return json.loads(Path(file).read_text("utf-8"))["data"][:2]


with mlflow.start_run() as run:
    mlflow.log_table(pd.DataFrame(first), "answers.json")
    before = stored()
    read = mlflow.load_table("answers.json", run_ids=[run.info.run_id]).to_numpy().tolist()
    mlflow.log_table(pd.DataFrame(second), "answers.json")
    after = stored()
print("mlflow", version("mlflow-skinny"), "with pandas", version("pandas"), "- two rows of texts in a run's table:")
print("  stored by the first log_table:              ", before)
print("  as load_table reads them:                   ", read)
print("  stored after another log_table added a row:", after)
if not (before == [["00501", "1e3", "2020-01"], ["10001", "7", "2020-02"]] and after[0][:2] == [501, 1000.0]):
    sys.exit("CHANGED: what was logged stays as it was logged")
print("Why it matters: a run is meant to be the record. Zip codes, article numbers and texts such as 1e3 in a table of answers")
print("are changed in the store itself by adding a row, and join nothing any more. The kit keeps files as files (`log_file` in")
print("src/starterkit/tracking/runs.py), and answers in a database with columns of types (src/starterkit/feedback/tables.py).")
PY
venv/bin/python look.py
