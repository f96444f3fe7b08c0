#!/usr/bin/env bash
# MLflow: models serve casts by force what pyfunc refuses; 1.5 becomes 1, 3000000000 negative and "False" true.
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


class Echo(mlflow.pyfunc.PythonModel):
    """Answers what it was given."""

    def predict(self, context, model_input: pd.DataFrame, params=None):
        return model_input.iloc[:, 0].tolist()


def both(kind, value):
    """What the scoring server answers for a column of this type, and what pyfunc does in process."""
    signature = ModelSignature(Schema([ColSpec(kind, "x")]))
    folder = f"{kind}-{value}"
    mlflow.pyfunc.save_model(folder, python_model=Echo(), signature=signature, pip_requirements=[])
    model = mlflow.pyfunc.load_model(folder)
    body = json.dumps({"dataframe_records": [{"x": value}]})
    try:
        answer = invocations(body, "application/json", model, model.metadata.get_input_schema())
        served = answer.status, json.loads(answer.response)["predictions"][0]
    except MlflowException as error:
        served = error.get_http_status_code(), "refused"
    try:
        return served, model.predict(pd.DataFrame({"x": [value]}))[0]
    except MlflowException:
        return served, "refused"


print("mlflow", version("mlflow-skinny"), "with a model that answers what it gets; a request of one row as JSON")
holds = True
for kind, value, wrong in (("long", 1.5, 1), ("integer", 3_000_000_000, -1294967296), ("boolean", "False", True)):
    served, in_process = both(kind, value)
    print(f"  {kind:7} {json.dumps(value):10}  served: {served[0]}, the model gets {served[1]!r:11}  pyfunc: {in_process}")
    holds &= served == (200, wrong) and in_process == "refused"
if not holds:
    sys.exit("CHANGED: the server refuses such values, or pyfunc takes them")
print("Why it matters: a signature says what a model takes, and tests by pyfunc show that it is kept; behind the server it is")
print("not, and the answer is that of another row. The kit's API names the row and the column that is no whole number or no")
print("boolean (`requirements` in src/starterkit/serving/validation.py), and its whole numbers have 64 bits.")
PY
venv/bin/python look.py
