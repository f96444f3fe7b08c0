#!/usr/bin/env bash
# skl2onnx: histogram gradient boosting with categorical_features converts without a word, and answers otherwise.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet skl2onnx==1.20.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0 \
  numpy==2.4.6 protobuf==6.33.6
cd "$work"

cat >look.py <<'PY'
import sys
import warnings
from importlib.metadata import version

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from sklearn.ensemble import HistGradientBoostingClassifier

print(*(f"{name} {version(name)}" for name in ("skl2onnx", "scikit-learn", "onnxruntime")), sep=", ")
draw = np.random.default_rng(0)
rows = np.column_stack([draw.integers(0, 6, 400), draw.uniform(0, 1, 400)]).astype(np.float32)
labels = np.isin(rows[:, 0], [1, 3, 5]).astype(int)


def agreement(**options):
    """The share of rows to which the estimator and the converted model give the same label, and what was warned of."""
    fitted = HistGradientBoostingClassifier(random_state=0, **options).fit(rows, labels)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        graph = to_onnx(fitted, rows[:1]).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    answers = session.run(None, {session.get_inputs()[0].name: rows})[0]
    return (answers == fitted.predict(rows)).mean(), [str(one.message) for one in told]


as_number, _ = agreement()
as_category, told = agreement(categorical_features=[0])
print("The first column is one of 0 to 5; the label is 1 for 1, 3 and 5. Rows with the same label in both:")
print(f"  the column as a number:         {as_number:.0%}")
print(f"  categorical_features=[0]:       {as_category:.0%}, warnings: {told or 'none'}")
if not (as_number == 1 and as_category < 0.9 and not told):
    sys.exit("CHANGED: splits by category are converted rightly now, or refused")
print("Why it matters: a model that was right on every row is wrong on most, and nothing says so. The kit writes such trees")
print("itself (src/starterkit/training/export/families/scikit.py), and proves every export.")
PY
venv/bin/python look.py
