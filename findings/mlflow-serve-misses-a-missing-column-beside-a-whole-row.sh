#!/usr/bin/env bash
# MLflow: models serve answers a record that lacks a required column, as long as another record of the request has it.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet mlflow-skinny==3.17.2 pandas==3.1.1 numpy==2.4.6
cd "$work"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_LOGGING_LEVEL=ERROR

cat >look.py <<'PY'
import json
import sys
import warnings
from importlib.metadata import version

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc.scoring_server import invocations
from mlflow.types import ColSpec, Schema

warnings.simplefilter("ignore")


class Rule(mlflow.pyfunc.PythonModel):
    """Trees ask such questions, and histogram gradient boosting has an answer for a missing value too."""

    def predict(self, context, model_input: pd.DataFrame, params=None):
        return ["high" if pressure > 140 else "normal" for pressure in model_input["pressure"]]


signature = ModelSignature(Schema([ColSpec("double", "age"), ColSpec("double", "pressure")]))
mlflow.pyfunc.save_model("model", python_model=Rule(), signature=signature, pip_requirements=[])
model = mlflow.pyfunc.load_model("model")


def asked(*records):
    body = json.dumps({"dataframe_records": records})
    try:
        answer = invocations(body, "application/json", model, model.metadata.get_input_schema())
        return answer.status, json.loads(answer.response)["predictions"]
    except MlflowException as error:
        return error.get_http_status_code(), "refused"


whole, lacking = {"age": 61.0, "pressure": 170.0}, {"age": 47.0}
print("mlflow", version("mlflow-skinny"), "with the signature", signature.inputs)
print("  the record without pressure, alone:    ", alone := asked(lacking))
print("  the same record after one that has it: ", behind := asked(whole, lacking))
if not (alone == (400, "refused") and behind == (200, ["high", "normal"])):
    sys.exit("CHANGED: a record is treated alike, alone and among others")
print("Why it matters: 'required' is asked of the request's table, not of a row. A client who forgets a field gets an error in")
print("a test of one row, and answers in production. The kit's API asks each row for its columns, and names the row that")
print("lacks one (`read_records` in src/starterkit/serving/validation.py).")
PY
venv/bin/python look.py
