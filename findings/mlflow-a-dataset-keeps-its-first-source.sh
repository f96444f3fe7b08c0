#!/usr/bin/env bash
# MLflow: a data set of a known name and digest keeps the source and the context of the first time.
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

import mlflow
import mlflow.data
import pandas as pd

mlflow.set_tracking_uri("sqlite:///mlflow.db")
rows = pd.DataFrame({"age": [31.0, 47.0], "paid": [1.0, 2.0]})


def logged(*inputs):
    """What a run's page says of its inputs, each given as a source and a context."""
    with mlflow.start_run() as run:
        for source, context in inputs:
            mlflow.log_input(mlflow.data.from_pandas(rows, source=source, name="clients"), context=context)
    kept = mlflow.get_run(run.info.run_id).inputs.dataset_inputs
    return [(json.loads(one.dataset.source)["uri"], *(tag.value for tag in one.tags)) for one in kept]


first = logged(("draft.csv", "training"))
second = logged(("cleared.csv", "training"))
both = logged(("cleared.csv", "training"), ("cleared.csv", "validation"))
print("mlflow", version("mlflow-skinny"), "on SQLite, log_input of the same rows under the same name:")
print("  run 1, from draft.csv:                                ", first)
print("  run 2, from cleared.csv:                              ", second)
print("  run 3, from cleared.csv, for training and validation:", both)
if not (second == [("draft.csv", "training")] and both == second):
    sys.exit("CHANGED: a run keeps the source and the contexts that it was given")
print("Why it matters: the page of a run is asked where its rows came from, and names a file that this run never read; and rows")
print("that were taken for training and for validation too, which is a leak, are shown once. The kit gives each part of its rows")
print("a name of its own (`_record_rows` in src/starterkit/pipeline.py), and the source is the run's tag too (`Lineage` in")
print("src/starterkit/contract.py).")
PY
venv/bin/python look.py
