#!/usr/bin/env bash
# onnxruntime: a missing text of a numpy array becomes the word "nan" or "None", a category like any other.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6 pandas==3.1.1
cd "$work"
export ORT_DISABLE_TELEMETRY=1

cat >look.py <<'PY'
import sys
from importlib.metadata import version

import numpy as np
import onnxruntime
import pandas as pd
from onnx import TensorProto, helper

KINDS = {"Paved": 1, "Gravel": 2, "None": 3}  # of an alley; there are houses without one
known = {"keys_strings": list(KINDS), "values_int64s": list(KINDS.values()), "default_int64": -1}
graph = helper.make_graph(
    [
        helper.make_node("Identity", ["alley"], ["word"]),
        helper.make_node("LabelEncoder", ["alley"], ["code"], domain="ai.onnx.ml", **known),
    ],
    "codes",
    [helper.make_tensor_value_info("alley", TensorProto.STRING, [None])],
    [
        helper.make_tensor_value_info("word", TensorProto.STRING, [None]),
        helper.make_tensor_value_info("code", TensorProto.INT64, [None]),
    ],
)
versions = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
model = helper.make_model(graph, opset_imports=versions, ir_version=10)
session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
given = np.array(["Paved", None, np.nan, pd.NA], dtype=object)
words, codes = (one.tolist() for one in session.run(None, {"alley": given}))
print("onnxruntime", version("onnxruntime"), "with a table of", known["keys_strings"], "and the codes 1, 2, 3")
print("  given:       ", given.tolist())
print("  as the graph has them:", words)
print("  their codes: ", codes)
if not (words == ["Paved", "None", "nan", "<NA>"] and codes == [1, 3, -1, -1]):
    sys.exit("CHANGED: a missing text is refused, or is no word")
print("Why it matters: a missing text is an unknown category, or a known one, by how Python happens to spell it, while a missing")
print("number stays NaN. The kit makes it empty (`_as_input` in src/starterkit/serving/graph.py), and so does the call that a")
print("version's page shows (`_loading` in src/starterkit/release/descriptions.py).")
PY
venv/bin/python look.py
