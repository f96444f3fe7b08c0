#!/usr/bin/env bash
# MLflow with pandas 3: pyfunc hands a model its dates in nanoseconds, whatever unit it was fitted on.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet mlflow-skinny==3.17.2 scikit-learn==1.9.1 pandas==3.1.1 numpy==2.4.6
cd "$work"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_LOGGING_LEVEL=ERROR

cat >look.py <<'PY'
import io
import sys
import warnings
from importlib.metadata import version

import mlflow
import pandas as pd
from mlflow.models import infer_signature
from sklearn.linear_model import LinearRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

text = "since,price\n" + "".join(f"2024-{month:02}-01,{10 * month}\n" for month in range(1, 13))
table = pd.read_csv(io.StringIO(text), parse_dates=["since"])
rows = table[["since"]]
model = make_pipeline(StandardScaler(), LinearRegression()).fit(rows, table["price"])
own = model.predict(rows)
signature = infer_signature(rows, own)
options = {"serialization_format": "cloudpickle", "pip_requirements": ["scikit-learn"]}
mlflow.sklearn.save_model(model, "price", signature=signature, **options)
flavour = mlflow.sklearn.load_model("price").predict(rows)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    pyfunc = mlflow.pyfunc.load_model("price").predict(rows)
print(f"mlflow {version('mlflow-skinny')}, pandas {version('pandas')}: read_csv gives the dates as {rows['since'].dtype}, the signature says {signature.inputs}")
print("  price of January to March:", table["price"][:3].tolist())
print("  the model itself:         ", own[:3].round(1))
print("  mlflow.sklearn.load_model:", flavour[:3].round(1))
print("  mlflow.pyfunc.load_model: ", pyfunc[:3].round(1), f"warnings: {len(told)}")
if told or not ((flavour == own).all() and pyfunc[0] > 1e6):
    sys.exit("CHANGED: pyfunc leaves the unit of dates as it is, or refuses")
print("Why it matters: to scikit-learn a date is a number of units since 1970. pandas 3 reads microseconds, pyfunc makes")
print("nanoseconds of them, and a model that is right in the notebook is out by a factor of 1,000 where it is served. In the")
print("kit a date is a column that orders rows, never a feature, and in microseconds everywhere (`to_dates` in")
print("src/starterkit/data/checking.py).")
PY
venv/bin/python look.py
