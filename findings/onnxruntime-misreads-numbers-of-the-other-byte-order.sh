#!/usr/bin/env bash
# onnxruntime: an array of the other byte order is taken as if it were of the machine's own, without an error.
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
doubled = helper.make_tensor_value_info("doubled", TensorProto.DOUBLE, [None])
graph = helper.make_graph([helper.make_node("Add", ["given", "given"], ["doubled"])], "double", [given], [doubled])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

own = np.array([1.0, 2.0, 3.0])
other = own.astype(own.dtype.newbyteorder())
right = session.run(None, {"given": own})[0]
wrong = session.run(None, {"given": other})[0]
print("onnxruntime", version("onnxruntime"), "with a graph that doubles its input")
print(f"numpy finds both arrays equal: {np.array_equal(own, other)}; their types are {own.dtype.str} and {other.dtype.str}")
print("  doubled, own byte order:   ", right.tolist())
print("  doubled, other byte order: ", wrong.tolist())
if not (np.array_equal(right, 2 * own) and not np.allclose(wrong, 2 * own)):
    sys.exit("CHANGED: onnxruntime minds an array's byte order, or refuses the other one")
print("Why it matters: such arrays come from files of instruments and of other machines, are right in numpy, and get a")
print("plausible answer of a model. The kit gives a graph only what it has made float64, int64 or bool of this machine")
print("before (`feed` and `_as_input` in src/starterkit/serving/graph.py).")
PY
venv/bin/python look.py
