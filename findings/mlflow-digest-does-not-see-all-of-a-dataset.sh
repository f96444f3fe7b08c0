#!/usr/bin/env bash
# MLflow: the digest of a dataset does not see all of it; other data can have the same digest.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet mlflow-skinny==3.17.2 pandas==3.1.1 numpy==2.4.6
cd "$work"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_LOGGING_LEVEL=ERROR

cat >look.py <<'PY'
import sys
from importlib.metadata import version

import mlflow.data
import numpy as np
import pandas as pd


def digest(frame):
    return mlflow.data.from_pandas(frame).digest


def change(name, values, rows=slice(None)):
    changed = table.copy()
    changed.loc[changed.index[rows], name] = values
    assert not changed.equals(table)
    return digest(changed)


N = 20_000
table = pd.DataFrame(
    {
        "amount": np.arange(N, dtype=float),
        "is_member": [True, False] * (N // 2),
        "since": pd.date_range("2000-01-01", periods=N),
        "city": ["Bern", "Oslo"] * (N // 2),
        "country": ["CH", None] * (N // 2),
        "label": np.zeros(N),
    }
)
before = digest(table)
same = {
    "the last 10,000 labels": change("label", 1.0, slice(10_000, None)),
    "every boolean": change("is_member", ~table["is_member"]),
    "every date": change("since", table["since"] + pd.Timedelta(days=365)),
    "every text of a column with gaps": change("country", table["country"].where(table["country"].isna(), "NO")),
}
other = {
    "the first label": change("label", 1.0, slice(0, 1)),
    "every text of a column without gaps": change("city", "Rome"),
}
print(f"mlflow {version('mlflow-skinny')}, pandas {version('pandas')}: a table of {N:,} rows has the digest {before}; after a change of")
for what, found in (same | other).items():
    print(f"  {what:36}", found, "(the same)" if found == before else "")
if not all(found == before for found in same.values()) or any(found == before for found in other.values()):
    sys.exit("CHANGED: the digest sees other parts of a table now")
print("Why it matters: runs on other data show the same dataset with the same digest, which is what a run's page compares.")
print("The kit gives MLflow a digest of every value (`digest` in src/starterkit/data/dataset.py, `_dataset` in")
print("src/starterkit/tracking/runs.py).")
PY
venv/bin/python look.py
