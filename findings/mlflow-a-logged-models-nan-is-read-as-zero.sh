#!/usr/bin/env bash
# MLflow: a search takes a logged model whose metric is NaN for one whose metric is 0.0, the best of all losses.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet mlflow-skinny==3.17.2 sqlalchemy==2.1.9 alembic==1.20.1 \
  pandas==3.1.1 numpy==2.4.6
cd "$work"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_LOGGING_LEVEL=ERROR

cat >look.py <<'PY'
import sys
from importlib.metadata import version
from pathlib import Path

import mlflow

mlflow.set_tracking_uri("sqlite:///store.db")
client = mlflow.MlflowClient()
experiment = client.create_experiment("try", artifact_location=Path("artifacts").resolve().as_uri())
for name, loss in (("good", 0.3), ("bad", 0.9), ("diverged", float("nan"))):
    with mlflow.start_run(experiment_id=experiment, run_name=name) as run:
        model = mlflow.create_external_model(name=name)
        client.log_metric(run.info.run_id, "loss", loss, model_id=model.model_id)


def models(condition=None):
    by_loss = [{"field_name": "metrics.loss", "ascending": True}]
    found = client.search_logged_models([experiment], condition, order_by=by_loss)
    return [(one.name, one.metrics[0].value) for one in found]


def runs(condition=""):
    found = client.search_runs([experiment], condition, order_by=["metrics.loss ASC"])
    return [(one.info.run_name, one.data.metrics["loss"]) for one in found]


print("mlflow", version("mlflow-skinny"), "with a store in SQLite; three models with a loss of 0.3, 0.9 and NaN, each in a run")
print("  search_logged_models, best first:  ", ordered := models())
print("  search_logged_models, loss < 0.5:  ", filtered := models("metrics.loss < 0.5"))
print("  search_runs, best first:           ", runs())
print("  search_runs, loss < 0.5:           ", by_run := runs("metrics.loss < 0.5"))
if not (ordered[0] == ("diverged", 0.0) and ("diverged", 0.0) in filtered and by_run == [("good", 0.3)]):
    sys.exit("CHANGED: a NaN of a logged model is no longer 0.0")
print("Why it matters: who takes the model with the smallest loss takes the one that diverged; a search of runs does not.")
print("The kit refuses a metric that gives NaN (`Metric.score` in src/starterkit/metrics.py), and its gate computes each")
print("figure from the holdout's rows (src/starterkit/release/gate/quality.py).")
PY
venv/bin/python look.py
