#!/usr/bin/env bash
# skl2onnx: with protobuf 7, which pip takes by itself, histogram gradient boosting is no longer converted.
# findings/README.md says why it matters here. Takes about two minutes.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet skl2onnx==1.20.0 scikit-learn==1.9.1 onnx==1.23.2 numpy==2.4.6 \
  protobuf==7.36.2
cd "$work"

cat >look.py <<'PY'
import sys
from importlib.metadata import requires, version

import numpy as np
from skl2onnx import to_onnx
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge


def outcome(estimator):
    """Whether it is converted, or the error at the bottom of the one that is raised, and how long that one is."""
    try:
        to_onnx(estimator.fit(rows, rows[:, 0]), rows[:1])
    except Exception as error:
        cause = error.__cause__ or error
        return f"{type(cause).__name__}: {cause} (in a message of {len(str(error).splitlines()):,} lines)"
    return "converted"


rows = np.random.default_rng(0).uniform(size=(400, 2)).astype(np.float32)
print("With", *(f"{name} {version(name)}" for name in ("skl2onnx", "onnx", "protobuf")))
print("  Ridge:                        ", ridge := outcome(Ridge()))
print("  HistGradientBoostingRegressor:", trees := outcome(HistGradientBoostingRegressor()))
needs = [need for name in ("skl2onnx", "onnx") for need in requires(name)]
print("What skl2onnx and onnx ask for:  ", *(need for need in needs if need.startswith("protobuf")))
if not (ridge == "converted" and "got a boolean" in trees):
    sys.exit(f"CHANGED: with protobuf {version('protobuf')} both are converted, or neither")
print("Why it matters: a fresh resolution breaks a conversion while nothing in the project has changed. The kit writes")
print("this estimator's nodes itself, leaves others to skl2onnx, and so holds protobuf below 7, with the reason beside")
print("it in pyproject.toml (docs/decisions/0002-hash-pinned-locks.md).")
PY
venv/bin/python look.py
