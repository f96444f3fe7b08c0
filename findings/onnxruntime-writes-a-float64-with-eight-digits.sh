#!/usr/bin/env bash
# onnxruntime: Cast writes a float64 as a text of eight digits; different numbers become the same word.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet onnx==1.23.2 onnxruntime==1.32.0 numpy==2.4.6
cd "$work"
export ORT_DISABLE_TELEMETRY=1

cat >look.py <<'PY'
import sys
from importlib.metadata import version

import numpy as np
import onnxruntime
from onnx import TensorProto, helper

REGIONS = {100000001: "north", 100000002: "south"}


def text_of(kind, values):
    nodes = [helper.make_node("Cast", ["number"], ["text"], to=TensorProto.STRING)]
    known = {"keys_strings": [str(code) for code in REGIONS], "values_strings": list(REGIONS.values())}
    nodes.append(helper.make_node("LabelEncoder", ["text"], ["region"], domain="ai.onnx.ml", default_string="?", **known))
    outputs = [helper.make_tensor_value_info(name, TensorProto.STRING, [None]) for name in ("text", "region")]
    graph = helper.make_graph(nodes, "words", [helper.make_tensor_value_info("number", kind, [None])], outputs)
    versions = [helper.make_opsetid("", 21), helper.make_opsetid("ai.onnx.ml", 3)]
    made = helper.make_model(graph, opset_imports=versions, ir_version=10)
    session = onnxruntime.InferenceSession(made.SerializeToString(), providers=["CPUExecutionProvider"])
    return [one.tolist() for one in session.run(None, {"number": values})]


codes = np.array(list(REGIONS))
print("onnxruntime", version("onnxruntime"), "with Cast to a text, and a table of such texts behind it")
whole, floats = text_of(TensorProto.INT64, codes), text_of(TensorProto.DOUBLE, codes.astype(float))
parts, _ = text_of(TensorProto.DOUBLE, np.array([123456.789, 1 / 3]))
print(f"  {codes.tolist()} as int64:  ", *whole)
print(f"  {codes.tolist()} as float64:", *floats)
print("  [123456.789, 1/3] as float64:    ", parts)
if not (whole[1] == ["north", "south"] and floats == [["1e+08", "1e+08"], ["?", "?"]] and float(parts[0]) != 123456.789):
    sys.exit("CHANGED: the text of a float64 has more digits")
print("Why it matters: a column of codes is float64 as soon as one is missing. Then every code from 100,000,000 on is an")
print("unknown category in the graph, while Python writes the whole number. The kit's graphs compare numbers as numbers and")
print("contain no such Cast (src/starterkit/training/export/families/encoding.py).")
PY
venv/bin/python look.py
