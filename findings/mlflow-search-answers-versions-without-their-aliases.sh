#!/usr/bin/env bash
# MLflow: search_model_versions answers versions whose aliases are empty, though they have some.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet mlflow-skinny==3.17.2 sqlalchemy==2.1.9 alembic==1.20.1
cd "$work"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_LOGGING_LEVEL=ERROR

cat >look.py <<'PY'
import sys
from importlib.metadata import version

from mlflow import MlflowClient

client = MlflowClient("sqlite:///store.db")
client.create_registered_model("model")
for _ in range(2):
    client.create_model_version("model", "file:///models/one")
client.set_registered_model_alias("model", "champion", 1)

searched = next(one for one in client.search_model_versions("name = 'model'") if int(one.version) == 1).aliases
got = client.get_model_version("model", "1").aliases
by_model = client.search_registered_models("name = 'model'")[0].aliases
print("mlflow", version("mlflow-skinny"), "with a store in SQLite; version 1 has the alias 'champion'")
print("  search_model_versions:    version 1 has", searched)
print("  get_model_version:        version 1 has", got)
print("  search_registered_models: the model has", by_model)
if not (list(searched) == [] and list(got) == ["champion"] and dict(by_model) == {"champion": 1}):
    sys.exit("CHANGED: a search answers versions with their aliases")
print("Why it matters: whoever clears away all versions that no alias points at would delete the one that serves. The kit")
print("takes aliases from search_registered_models (`Registry.aliases` in src/starterkit/tracking/registry.py), and `prune`")
print("holds every version against those.")
PY
venv/bin/python look.py
