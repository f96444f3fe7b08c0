#!/usr/bin/env bash
# skl2onnx: a random forest that was fitted with missing values sends them the wrong way, without a word.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet skl2onnx==1.20.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 protobuf==6.33.6
cd "$work"

cat >look.py <<'PY'
import sys
import warnings
from importlib.metadata import version

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestRegressor

print(*(f"{name} {version(name)}" for name in ("skl2onnx", "scikit-learn", "onnxruntime")), sep=", ")
draw = np.random.default_rng(0)
whole = draw.normal(size=(400, 4)).astype(np.float32)
target = 10 * whole[:, 0] + draw.normal(size=400)
gaps = np.where(draw.random(whole.shape) < 0.2, np.float32(np.nan), whole)


def largest(estimator, rows):
    """The largest difference between the estimator's answers and its graph's, and what was warned of."""
    estimator.fit(rows, target)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        graph = to_onnx(estimator, rows[:1]).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    answers = session.run(None, {session.get_inputs()[0].name: rows})[0].ravel()
    return abs(answers - estimator.predict(rows)).max(), len(told)


print(f"The target's standard deviation is {target.std():.1f}; the largest difference between an estimator and its graph:")
found = {}
for name, kind in (("forest", RandomForestRegressor), ("boosting", HistGradientBoostingRegressor)):
    for what, rows in (("no value missing", whole), ("a fifth missing", gaps)):
        found[name, what], told = largest(kind(random_state=0), rows)
        print(f"  {kind.__name__:30} {what:17} {found[name, what]:.2g}, warnings: {told}")
if not (found.pop(("forest", "a fifth missing")) > target.std() and max(found.values()) < 0.01):
    sys.exit("CHANGED: a forest's missing values go the right way, or others do not")
print("Why it matters: scikit-learn's forests take missing values themselves, and each split keeps the side to which they go;")
print("the converter reads it for boosting and not for forests. The kit writes the trees itself, with that side, and the proof")
print("puts missing values into its rows (docs/decisions/0005-parity.md).")
PY
venv/bin/python look.py
