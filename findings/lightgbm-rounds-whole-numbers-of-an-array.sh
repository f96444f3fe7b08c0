#!/usr/bin/env bash
# LightGBM: whole numbers in a numpy array are rounded to float32, the same numbers as floats or in a data frame are not.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet lightgbm==4.7.0 scikit-learn==1.9.1 pandas==3.1.1 numpy==2.4.6
cd "$work"

cat >look.py <<'PY'
import sys
from importlib.metadata import version

import numpy as np
import pandas as pd
from lightgbm import LGBMRegressor

draw = np.random.default_rng(0)
START = 1_780_000_000  # a time of 2026, in seconds
seconds = START + draw.integers(0, 1000, 2000)
is_busy = ((seconds - START) % 100 < 50).astype(float)
forms = {
    "int64 array": seconds[:, None],
    "float64 array": seconds[:, None].astype(float),
    "data frame of int64": pd.DataFrame({"seconds": seconds}),
}


def fitted(rows):
    return LGBMRegressor(verbose=-1, min_child_samples=5).fit(rows, is_busy)


print(*(f"{name} {version(name)}" for name in ("lightgbm", "numpy", "pandas")), sep=", ")
print("A column of seconds since 1970 that decides; r2 on the rows themselves:")
r2 = {name: fitted(rows).score(rows, is_busy) for name, rows in forms.items()}
for name, figure in r2.items():
    print(f"  fitted and asked with {name + ':':22} {figure:.3f}")
model = fitted(forms["float64 array"])
other = np.abs(model.predict(forms["int64 array"]) - model.predict(forms["float64 array"])) > 0.5
print(f"  fitted with floats, asked with int64: {other.mean():.0%} of the rows get the other answer")
if not (r2["int64 array"] < 0.5 < 0.9 < min(r2["float64 array"], r2["data frame of int64"]) and other.any()):
    sys.exit("CHANGED: whole numbers of an array are no longer rounded")
print("Why it matters: times, account numbers and amounts in cents are beyond the 24 bits of a float32, and nothing warns. A")
print("ColumnTransformer that passes whole columns on makes such an array. The kit hands an estimator a data frame, its graphs")
print("compute in float64, and what an array rounds is refused at the proof (docs/decisions/0005-parity.md).")
PY
venv/bin/python look.py
