#!/usr/bin/env bash
# skl2onnx: SimpleImputer(add_indicator=True) becomes a graph without them, and a classifier behind it answers other labels.
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
from sklearn.datasets import load_iris
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

rows = np.array([[1, 5], [np.nan, 7], [3, 9]], dtype=np.float32)
answers = {}
print("skl2onnx", version("skl2onnx"), "of scikit-learn", version("scikit-learn"), "- the row", rows[1].tolist())
for indicator in (False, True):
    imputer = SimpleImputer(add_indicator=indicator).fit(rows)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        graph = to_onnx(imputer, rows[:1]).SerializeToString()
    session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
    answers[indicator] = imputer.transform(rows)[1].tolist(), session.run(None, {"X": rows})[0][1].tolist()
    print(f"  add_indicator={indicator!s:5} scikit-learn {answers[indicator][0]}, graph {answers[indicator][1]}, warnings: {len(told)}")
flowers, species = load_iris(return_X_y=True)
flowers[::4, 0] = np.nan
flowers = flowers.astype(np.float32)
model = make_pipeline(SimpleImputer(add_indicator=True), LogisticRegression(max_iter=1000)).fit(flowers, species)
session = onnxruntime.InferenceSession(to_onnx(model, flowers[:1]).SerializeToString(), providers=["CPUExecutionProvider"])
own, exported = model.score(flowers, species), (session.run(None, {"X": flowers})[0] == species).mean()
print(f"  a LogisticRegression behind it, on iris with gaps: right are scikit-learn {own:.2f}, graph {exported:.2f}")
if told or exported > own - 0.1 or not (answers[False] == ([2, 7], [2, 7]) and answers[True] == ([2, 7, 1], [2, 7])):
    sys.exit("CHANGED: the indicators are in the graph, or the conversion is refused")
print("Why it matters: the classifier's numbers are laid over fewer columns than it was fitted on, and nothing says so. The")
print("kit writes the indicators (`Imputation` in src/starterkit/training/export/families/preprocessing.py), and proves every")
print("export.")
PY
venv/bin/python look.py
