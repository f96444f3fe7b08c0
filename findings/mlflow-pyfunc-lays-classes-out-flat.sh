#!/usr/bin/env bash
# MLflow: pyfunc lays an ONNX output of several columns out flat; five rows have fifteen predictions.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet mlflow-skinny==3.17.2 pandas==3.1.1 numpy==2.4.6 onnx==1.23.2 onnxruntime==1.32.0 protobuf==6.33.6
cd "$work"
export MLFLOW_DISABLE_TELEMETRY=true MLFLOW_LOGGING_LEVEL=ERROR ORT_DISABLE_TELEMETRY=1

cat >look.py <<'PY'
import sys
from importlib.metadata import version

import mlflow
import numpy as np
import pandas as pd
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, Schema, TensorSpec
from onnx import TensorProto, helper, numpy_helper

print(*(f"{name} {version(name)}" for name in ("mlflow-skinny", "onnxruntime")), sep=", ")
graph = helper.make_graph(
    [helper.make_node("MatMul", ["rows", "weights"], ["scores"]), helper.make_node("Softmax", ["scores"], ["share"])],
    "three classes",
    [helper.make_tensor_value_info("rows", TensorProto.DOUBLE, [None, 2])],
    [helper.make_tensor_value_info("share", TensorProto.DOUBLE, [None, 3])],
    [numpy_helper.from_array(np.array([[1.0, 0.0, -1.0], [0.0, 1.0, 0.0]]), "weights")],
)
made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
rows = pd.DataFrame(np.random.default_rng(0).normal(size=(5, 2)), columns=["a", "b"])
signature = ModelSignature(
    Schema([ColSpec("double", "a"), ColSpec("double", "b")]), Schema([TensorSpec(np.dtype("float64"), (-1, 3), "share")])
)
mlflow.onnx.save_model(made, "model", signature=signature, onnx_execution_providers=["CPUExecutionProvider"])
found = mlflow.pyfunc.load_model("model").predict(rows)
print(f"A graph that gives {len(rows)} rows the shares of three classes, asked through pyfunc:")
print("  the signature's output:", *signature.outputs.inputs)
print(f"  the answer: a {type(found).__name__} of shape {found.shape}, its first three add up to {found.iloc[:3, 0].sum():.3f}")
if found.shape != (15, 1):
    sys.exit("CHANGED: pyfunc keeps an output's shape")
print("Why it matters: joined to the five rows by position, as batch jobs do, the first five numbers are those of the first")
print("two rows, and each lies between 0 and 1. The kit's graphs have one output a class, which pyfunc makes a table of")
print("(docs/decisions/0006-exported-folder.md).")
PY
venv/bin/python look.py
