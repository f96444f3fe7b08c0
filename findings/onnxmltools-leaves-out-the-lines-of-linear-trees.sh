#!/usr/bin/env bash
# onnxmltools: LightGBM's linear trees become trees of constants, without a word.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet onnxmltools==1.16.0 lightgbm==4.7.0 skl2onnx==1.20.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 protobuf==6.33.6
cd "$work"

cat >look.py <<'PY'
import sys
import warnings
from importlib.metadata import version

import numpy as np
import onnxruntime
from lightgbm import LGBMRegressor
from onnxmltools import convert_lightgbm
from onnxmltools.convert.common.data_types import FloatTensorType

print(*(f"{name} {version(name)}" for name in ("onnxmltools", "lightgbm", "onnxruntime")), sep=", ")
draw = np.random.default_rng(0)
rows = draw.normal(size=(400, 4)).astype(np.float32)
target = 10 * rows[:, 0] + draw.normal(size=400)
print("Fitted on a line with noise; root mean square error against the target:")
errors = {}
for linear in (False, True):
    model = LGBMRegressor(linear_tree=linear, n_estimators=20, num_leaves=4, verbose=-1).fit(rows, target)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        graph = convert_lightgbm(model, initial_types=[("x", FloatTensorType([None, 4]))]).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    answers = session.run(None, {"x": rows})[0].ravel()
    errors[linear] = [float(np.sqrt(np.mean((one - target) ** 2))) for one in (model.predict(rows), answers)]
    print(f"  linear_tree={linear!s:5}  LightGBM {errors[linear][0]:.3f}, graph {errors[linear][1]:.3f}, warnings: {len(told)}")
if not (np.isclose(*errors[False], rtol=1e-3) and errors[True][1] > 1.5 * errors[True][0]):
    sys.exit("CHANGED: the lines in the leaves are converted, or linear trees are refused")
print("Why it matters: each leaf keeps its constant and loses its line, so that answers look plausible. The kit writes the lines")
print("(`linear_leaves` in src/starterkit/training/export/families/boosting.py), and proves every export.")
PY
venv/bin/python look.py
