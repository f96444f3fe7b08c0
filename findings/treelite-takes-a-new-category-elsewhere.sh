#!/usr/bin/env bash
# treelite: a category that scikit-learn takes for a missing value goes another way, and has another answer.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet treelite==4.8.1 scikit-learn==1.9.1 numpy==2.4.6
cd "$work"

cat >look.py <<'PY'
import sys
from importlib.metadata import version

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor
from treelite import gtil
from treelite.sklearn import import_model

draw = np.random.default_rng(0)
shops = draw.integers(0, 6, 600).astype(float)
size = draw.normal(size=600)
shops[::20] = np.nan
sales = 5.0 * np.isin(shops, [1, 3, 4]) + 3.0 * np.isnan(shops) + size
model = HistGradientBoostingRegressor(categorical_features=[0]).fit(np.column_stack([shops, size]), sales)
converted = import_model(model)
off = {}
print(f"treelite {version('treelite')}, scikit-learn {version('scikit-learn')}: HistGradientBoostingRegressor(categorical_features=[0])")
for name, shop in {"a known shop": 3.0, "a missing one": np.nan, "a new one": 9.0}.items():
    row = np.array([[shop, 0.0]])
    own, other = model.predict(row)[0], gtil.predict(converted, row).ravel()[0]
    off[name] = abs(own - other)
    print(f"  {name:13} {shop:4}: scikit-learn {own:5.2f}, treelite {other:5.2f}")
if max(off["a known shop"], off["a missing one"]) > 0.001 or off["a new one"] < 1:
    sys.exit("CHANGED: a new category is a missing value to both, or is refused")
print("Why it matters: what is compared on the rows of training agrees to the last digit, and the first new shop has the answer")
print("of the other branch. The kit puts texts never seen into the rows of its proof (docs/decisions/0005-parity.md).")
PY
venv/bin/python look.py
