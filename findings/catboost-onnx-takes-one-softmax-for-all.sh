#!/usr/bin/env bash
# CatBoost: its own ONNX answers independent classes and labels as if exactly one of them were true.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet catboost==1.2.10 onnx==1.23.2 onnxruntime==1.32.0 pandas==3.1.1 numpy==2.4.6 protobuf==6.33.6
cd "$work"

cat >look.py <<'PY'
import sys
import warnings
from importlib.metadata import version

import numpy as np
import onnxruntime
from catboost import CatBoostClassifier

draw = np.random.default_rng(0)
rows = draw.normal(size=(600, 3)).astype(np.float32)
score = rows[:, 0] + rows[:, 1]
one_of_three = np.digitize(score, [-0.6, 0.6])
two_labels = np.column_stack([score > -1, rows[:, 1] > -1]).astype(int)


def compare(loss, target):
    """CatBoost's probabilities and its graph's, of the first row, and the largest difference of all."""
    model = CatBoostClassifier(iterations=50, loss_function=loss, verbose=0, allow_writing_files=False)
    own = model.fit(rows, target).predict_proba(rows)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        model.save_model("model.onnx", format="onnx")
    session = onnxruntime.InferenceSession("model.onnx", providers=["CPUExecutionProvider"])
    named = session.run(["probabilities"], {"features": rows})[0]
    exported = np.array([[row[key] for key in sorted(row)] for row in named])
    off = np.abs(exported - own).max()
    print(f"  {loss:18} CatBoost {own[0].round(2)}, graph {exported[0].round(2)}, off by {off:.2g}, warnings: {len(told)}")
    return off


print("catboost", version("catboost"), 'and its save_model(…, format="onnx"):')
right = compare("MultiClass", one_of_three)
wrong = compare("MultiClassOneVsAll", one_of_three), compare("MultiLogloss", two_labels)
if right > 1e-5 or min(wrong) < 0.1:
    sys.exit("CHANGED: each class has its own probability, or the export is refused")
print("Why it matters: with MultiLogloss several labels of a row can be true, and the graph makes their probabilities sum to 1;")
print("one-vs-all keeps the best class and changes how sure it is, so each threshold on it moves. The kit writes CatBoost's")
print("trees itself, with the sigmoid of each class (`_LINKS` in src/starterkit/training/export/families/catboost.py).")
PY
venv/bin/python look.py
