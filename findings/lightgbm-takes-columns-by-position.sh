#!/usr/bin/env bash
# LightGBM: a data frame with its columns in another order is answered by position, although the model knows the names.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet lightgbm==4.7.0 xgboost-cpu==3.2.0 catboost==1.2.10 scikit-learn==1.9.1 pandas==3.1.1 numpy==2.4.6
cd "$work"

cat >look.py <<'PY'
import sys
import warnings
from importlib.metadata import version

import numpy as np
import pandas as pd
from catboost import CatBoostRegressor
from lightgbm import LGBMRegressor
from sklearn.ensemble import HistGradientBoostingRegressor
from xgboost import XGBRegressor

draw = np.random.default_rng(0)
rows = pd.DataFrame(draw.normal(size=(300, 3)), columns=["age", "weight", "height"])
target = 5 * rows["age"] - rows["weight"]
models = {
    "lightgbm": LGBMRegressor(verbose=-1),
    "xgboost-cpu": XGBRegressor(n_estimators=20),
    "catboost": CatBoostRegressor(iterations=50, verbose=0, allow_writing_files=False),
    "scikit-learn": HistGradientBoostingRegressor(),
}
print("Fitted on age, weight, height; asked with height, weight, age:")
outcomes = {}
for name, model in models.items():
    model.fit(rows, target)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            other = np.abs(model.predict(rows[["height", "weight", "age"]]) - model.predict(rows)).max()
            outcomes[name] = f"other by up to {other:.1f}" if other else "the same"
        except ValueError as error:
            outcomes[name] = f"{type(error).__name__}: {str(error).splitlines()[0]}"
    print(f"  {name} {version(name):8} {outcomes[name]}, warnings: {len(told)}")
print("LightGBM knows", models["lightgbm"].feature_names_in_.tolist())
if not outcomes["lightgbm"].startswith("other by") or any("other by" in outcomes[name] for name in list(models)[1:]):
    sys.exit("CHANGED: LightGBM minds names, or another one does not")
print("Why it matters: who changes one of these for another loses a guard without a word, and a SELECT that was reordered is")
print("answered. `predict(..., validate_features=True)` asks for it. The kit's API and files go by name, in the")
print("contract's order (`read_records` in src/starterkit/serving/validation.py).")
PY
venv/bin/python look.py
