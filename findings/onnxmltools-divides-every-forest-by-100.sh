#!/usr/bin/env bash
# onnxmltools: LightGBM's random forest is divided by 100, whatever the number of its trees.
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
target = 50 + 10 * rows[:, 0] + draw.normal(size=400)
print('LGBMRegressor(boosting_type="rf"), and its graph:')
ratios = {}
for trees in (50, 100, 200):
    forest = LGBMRegressor(boosting_type="rf", n_estimators=trees, bagging_freq=1, bagging_fraction=0.8, verbose=-1)
    own = forest.fit(rows, target).predict(rows)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        graph = convert_lightgbm(forest, initial_types=[("x", FloatTensorType([None, 4]))]).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    answers = session.run(None, {"x": rows})[0].ravel().astype(float)
    ratios[trees] = np.median(answers / own)
    print(f"  {trees:3} trees: LightGBM {own[:3].round(2)}, graph {answers[:3].round(2)}, graph / own {ratios[trees]:.3f}, warnings: {len(told)}")
if not all(np.isclose(ratio, trees / 100, rtol=1e-3) for trees, ratio in ratios.items()):
    sys.exit("CHANGED: the sum is divided by the number of trees, or the forest is refused")
print("Why it matters: 100 is the number of trees that LightGBM makes by itself, so a first try agrees, and the next setting")
print("halves or doubles every answer. The kit divides by the number of trees that it finds in the model (`LightGBM.describe`")
print("in src/starterkit/training/export/families/boosting.py), and proves every export.")
PY
venv/bin/python look.py
