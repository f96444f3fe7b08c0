#!/usr/bin/env bash
# skl2onnx: HistGradientBoostingRegressor with loss="poisson" or "gamma" becomes a graph that answers the logarithm.
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
from importlib.metadata import version

import numpy as np
import onnxruntime
from skl2onnx import to_onnx
from sklearn.ensemble import HistGradientBoostingRegressor

print(*(f"{name} {version(name)}" for name in ("skl2onnx", "scikit-learn", "onnxruntime")), sep=", ")
draw = np.random.default_rng(0)
rows = draw.uniform(0, 4, (400, 2)).astype(np.float32)
counts = 1.0 + draw.poisson(np.exp(rows[:, 0] / 2))


def both(loss):
    """What scikit-learn answers, and what the converted model answers."""
    fitted = HistGradientBoostingRegressor(loss=loss, random_state=0).fit(rows, counts)
    converted = to_onnx(fitted, rows[:1]).SerializeToString()
    session = onnxruntime.InferenceSession(converted, providers=["CPUExecutionProvider"])
    return fitted.predict(rows), session.run(None, {session.get_inputs()[0].name: rows})[0].ravel()


holds = True
for loss in ("squared_error", "poisson", "gamma"):
    own, graph = both(loss)
    print(f"{loss:13}  scikit-learn: {own[:3].round(3)}  graph: {graph[:3].astype(float).round(3)}")
    plain, raised = abs(graph - own).max(), abs(np.exp(graph) - own).max()
    print(f"{'':13}  largest |graph - own|: {plain:.2g},  |exp(graph) - own|: {raised:.2g}")
    holds &= np.allclose(graph if loss == "squared_error" else np.exp(graph), own, rtol=1e-4)
if not holds:
    sys.exit("CHANGED: the graphs no longer lack just the exponential")
print("Why it matters: there is no error and no warning, and the answers look plausible. The kit writes this estimator's")
print("graph itself, with the exponential (src/starterkit/training/export/families/scikit.py), and proves every export")
print("against the estimator before it writes a folder (docs/decisions/0005-parity.md).")
PY
venv/bin/python look.py
