#!/usr/bin/env bash
# MLflow: a scoring server with an ONNX model answers 400 to JSON with texts, once pandas 3 is there.
# findings/README.md says why it matters here. Takes two minutes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet mlflow==3.17.2 pandas==3.1.1 onnx==1.23.2 onnxruntime==1.32.0 protobuf==6.33.6
cd "$work"
export MLFLOW_DISABLE_TELEMETRY=true ORT_DISABLE_TELEMETRY=1 MLFLOW_LOGGING_LEVEL=ERROR

cat >look.py <<'PY'
import json
import sys
import warnings
from importlib.metadata import version

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.pyfunc.scoring_server import invocations
from mlflow.types import ColSpec, Schema
from onnx import TensorProto, helper

print(*(f"{name} {version(name)}" for name in ("mlflow", "pandas", "onnxruntime")), sep=", ")
known = {"keys_strings": ["a"], "values_floats": [1.0], "default_float": 0.0}
graph = helper.make_graph(
    [
        helper.make_node("LabelEncoder", ["word"], ["place"], domain="ai.onnx.ml", **known),
        helper.make_node("Cast", ["place"], ["wide"], to=TensorProto.DOUBLE),
        helper.make_node("Add", ["wide", "number"], ["sum"]),
    ],
    "graph",
    [
        helper.make_tensor_value_info("word", TensorProto.STRING, [None]),
        helper.make_tensor_value_info("number", TensorProto.DOUBLE, [None]),
    ],
    [helper.make_tensor_value_info("sum", TensorProto.DOUBLE, [None])],
)
versions = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 3)]
made = helper.make_model(graph, opset_imports=versions, ir_version=10)
signature = ModelSignature(
    Schema([ColSpec("string", "word"), ColSpec("double", "number")]), Schema([ColSpec("double", "sum")])
)
mlflow.onnx.save_model(made, "model", signature=signature, onnx_execution_providers=["CPUExecutionProvider"])
model = mlflow.pyfunc.load_model("model")


def asked(content, kind):
    """The status that `mlflow models serve` answers with."""
    try:
        return invocations(content, kind, model, model.metadata.get_input_schema()).status
    except MlflowException as error:
        return error.get_http_status_code()


body = json.dumps({"dataframe_split": {"columns": ["word", "number"], "data": [["a", 1.5]]}})
as_json, as_csv = asked(body, "application/json"), asked("word,number\na,1.5\n", "text/csv")
try:
    frame = f"{model.predict(pd.DataFrame({'word': ['a'], 'number': [1.5]}))['sum'].tolist()}"
except Exception as error:
    frame = f"{type(error).__name__}: {error}"
with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # pandas will take the option away
    pd.set_option("future.infer_string", False)
older = asked(body, "application/json")
print("A graph with an input of texts and one of numbers, saved with its signature; asked for one row:")
print("  as JSON:                                     ", as_json)
print("  as CSV:                                      ", as_csv)
print("  as JSON, with pandas' future.infer_string off:", older)
print("  as a data frame:                             ", frame)
if not (as_json == 400 and as_csv == 200 and older == 200 and frame.startswith("RuntimeError")):
    sys.exit("CHANGED: texts of pandas 3 reach an ONNX model")
print("Why it matters: the flavour hands pandas' new text arrays to onnxruntime, which takes numpy's alone. The page of a")
print("version says the call that works (`_loading` in src/starterkit/release/descriptions.py); the kit's own API and files")
print("do not go through MLflow.")
PY
venv/bin/python look.py
