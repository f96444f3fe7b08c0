#!/usr/bin/env bash
# scikit-learn with pandas 3: a row without a text is answered otherwise alone than beside a row that has one.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet scikit-learn==1.9.1 pandas==3.1.1 numpy==2.4.6
cd "$work"

cat >look.py <<'PY'
import io
import sys
import warnings
from importlib.metadata import version

import pandas as pd
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

learnt = pd.read_csv(io.StringIO("city,paid\nBern,1\nOslo,2\n,3\n"))[["city"]]
encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False).fit(learnt)
imputer = SimpleImputer(strategy="constant", fill_value="unknown").fit(learnt)


def asked(*records):
    """What both make of the last of the records, how pandas holds it, and how many warnings there were."""
    frame = pd.DataFrame(records)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        answers = encoder.transform(frame)[-1].tolist(), imputer.transform(frame)[-1, 0]
    print(f"  {frame['city'].tolist()!s:15} {frame['city'].dtype!s:6}  encoder {answers[0]}, imputer {answers[1]!r:9}, warnings: {len(told)}")
    return answers


print("scikit-learn", version("scikit-learn"), "with pandas", version("pandas"))
print("Fitted on a CSV file; the categories are", encoder.categories_[0].tolist(), "- asked about a record without a city:")
beside = asked({"city": "Bern"}, {"city": None})
alone = asked({"city": None})
if not (beside == ([0, 0, 1], "unknown") and alone == ([0, 0, 0], None)):
    sys.exit("CHANGED: a missing text is the same alone and beside others")
print("Why it matters: pandas 3 makes NaN of a None that stands beside texts and leaves one that stands alone; scikit-learn takes")
print("NaN and None for two categories. A batch agrees with training, and a request of one row gets the answer of a city never")
print("seen. In the kit a missing value is NaN everywhere (`as_columns` in src/starterkit/data/dataset.py, `_array` in")
print("src/starterkit/serving/validation.py).")
PY
venv/bin/python look.py
