#!/usr/bin/env bash
# onnxruntime: Sigmoid of float64 numbers is exactly zero from about -37 on, where exp(x) is still a number.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
cd "$work"

cat >look.py <<'PY'
import sys
from importlib.metadata import version

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

given = helper.make_tensor_value_info("given", TensorProto.DOUBLE, [None])
share = helper.make_tensor_value_info("share", TensorProto.DOUBLE, [None])
graph = helper.make_graph([helper.make_node("Sigmoid", ["given"], ["share"])], "sigmoid", [given], [share])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

numbers = np.array([-30.0, -40.0, -200.0])
found, right = session.run(None, {"given": numbers})[0], 1 / (1 + np.exp(-numbers))
print("onnxruntime", version("onnxruntime"), "of", numbers.tolist())
print("  Sigmoid:          ", found.tolist())
print("  1 / (1 + exp(-x)):", right.tolist())
if found[1:].any():
    sys.exit("CHANGED: Sigmoid keeps small numbers")
print("Why it matters: where a classifier divides its classes' sigmoids by their sum, a row far from all of them gets")
print("other probabilities. The kit writes 1 / (1 + exp(-x)) (`sigmoid` in")
print("src/starterkit/training/export/families/nodes.py).")
PY
venv/bin/python look.py
