#!/usr/bin/env bash
# skl2onnx: TunedThresholdClassifierCV becomes a graph with its classifier and without its threshold.
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
from sklearn.datasets import make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import recall_score
from sklearn.model_selection import FixedThresholdClassifier, TunedThresholdClassifierCV

rows, fraud = make_classification(4000, 8, weights=[0.95], flip_y=0.05, random_state=0)
rows = rows.astype(np.float32)
tuned = TunedThresholdClassifierCV(LogisticRegression(), scoring="balanced_accuracy", random_state=0).fit(rows, fraud)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    graph = to_onnx(tuned, rows[:1]).SerializeToString()
session = onnxruntime.InferenceSession(graph, providers=["CPUExecutionProvider"])
labels, probabilities = session.run(None, {"X": rows})
plain = tuned.estimator_.predict(rows)
own = recall_score(fraud, tuned.predict(rows))
exported = recall_score(fraud, labels)
try:
    to_onnx(FixedThresholdClassifier(LogisticRegression(), threshold=tuned.best_threshold_).fit(rows, fraud), rows[:1])
    fixed = "converted"
except Exception as error:
    fixed = type(error).__name__
print("skl2onnx", version("skl2onnx"), "of scikit-learn", version("scikit-learn"), "- the tuned threshold is", round(tuned.best_threshold_, 3))
print(f"  scikit-learn: {tuned.predict(rows).sum()} rows are positive, recall {own:.2f}")
print(f"  the graph:    {labels.sum()} rows are positive, recall {exported:.2f}, warnings: {len(told)}")
print("  the graph's labels are those of a threshold of 0.5:", bool((labels == plain).all()))
print(f"  probabilities agree to {np.abs(probabilities - tuned.predict_proba(rows)).max():.0e}")
print(f"  FixedThresholdClassifier with the same threshold: {fixed}")
if told or not ((labels == plain).all() and exported < own - 0.2):
    sys.exit("CHANGED: the threshold is in the graph, or the conversion says that it is not")
print("Why it matters: the step that was added so that fewer positives are missed is the one that is lost, and who compares")
print("probabilities finds nothing. The kit writes the comparison with the threshold, and the proof compares labels too")
print("(`Thresholds` in src/starterkit/training/export/families/composition.py).")
PY
venv/bin/python look.py
