#!/usr/bin/env bash
# onnxmltools: XGBoost's random forest of three classes becomes a graph whose trees vote for the wrong ones.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet onnxmltools==1.16.0 xgboost-cpu==3.2.0 skl2onnx==1.20.0 scikit-learn==1.9.1 onnx==1.23.2 onnxruntime==1.32.0 pandas==3.1.1 numpy==2.4.6 protobuf==6.33.6
cd "$work"

cat >look.py <<'PY'
import sys
import warnings
from importlib.metadata import version

import numpy as np
import onnxruntime
from onnxmltools import convert_xgboost
from onnxmltools.convert.common.data_types import FloatTensorType
from sklearn.datasets import load_iris
from xgboost import XGBRFClassifier

rows, species = load_iris(return_X_y=True)
rows = rows.astype(np.float32)


def compare(trees, labels):
    """How often XGBoost and the graph are right, and by how much their probabilities differ."""
    forest = XGBRFClassifier(n_estimators=trees, random_state=0).fit(rows, labels)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        graph = convert_xgboost(forest, initial_types=[("x", FloatTensorType([None, 4]))]).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    said, shares = session.run(None, {"x": rows})
    own, exported = (forest.predict(rows) == labels).mean(), (said == labels).mean()
    off = np.abs(shares - forest.predict_proba(rows)).max()
    print(f"  {len(np.unique(labels))} classes, {trees:3} trees: right are XGBoost {own:.2f}, graph {exported:.2f}; probabilities off by {off:.6f}, warnings: {len(told)}")
    return off


print(*(f"{name} {version(name)}" for name in ("onnxmltools", "xgboost-cpu", "onnxruntime")), sep=", ", end=": XGBRFClassifier\n")
right = [compare(100, (species == 2).astype(int)), compare(1, species)]
wrong = [compare(trees, species) for trees in (3, 10, 100)]
if max(right) > 1e-5 or min(wrong) < 0.1:
    sys.exit("CHANGED: forests of several classes agree, or are refused")
print("Why it matters: two classes agree, and so does gradient boosting; the graph of three loads, answers and warns of nothing.")
print("The kit reads the class of each tree from the model (`tree_info` in")
print("src/starterkit/training/export/families/boosting.py), and proves every export.")
PY
venv/bin/python look.py
