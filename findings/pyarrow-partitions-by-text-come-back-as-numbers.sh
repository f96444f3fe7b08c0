#!/usr/bin/env bash
# pyarrow: a text column that partitions a data set comes back as numbers; 00501 is 501, while all of them look so.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet pandas==3.1.1 pyarrow==25.0.1 numpy==2.4.6
cd "$work"

cat >look.py <<'PY'
import sys
from importlib.metadata import version

import pandas as pd


def back(folder, codes):
    """The column as it comes back, and its type."""
    table = pd.DataFrame({"code": codes, "amount": range(len(codes))})
    assert pd.api.types.is_string_dtype(table["code"])
    table.to_parquet(folder, partition_cols=["code"])
    found = pd.read_parquet(folder).sort_values("amount")["code"]
    return found.tolist(), str(found.cat.categories.dtype)


print("pandas", version("pandas"), "with pyarrow", version("pyarrow"))
print("to_parquet(folder, partition_cols=['code']) with texts, and read_parquet(folder):")
print("  00501, 10001:        ", numbers := back("one", ["00501", "10001"]))
print("  00501, 10001, A0001: ", texts := back("two", ["00501", "10001", "A0001"]))
pd.DataFrame({"code": ["00501"], "amount": [0]}).to_parquet("file.parquet")
print("  00501 in one file:   ", file := pd.read_parquet("file.parquet")["code"].tolist())
if not (numbers[0] == [501, 10001] and texts[0] == ["00501", "10001", "A0001"] and file == ["00501"]):
    sys.exit("CHANGED: texts that partition a data set come back as texts")
print("Why it matters: the type of a feature follows from which values happen to be there: a category that the model knows is")
print("another one, or the day on which the first letter comes turns numbers into texts. The kit reads the folders' names as")
print("texts and lets the schema decide (`_partitions` in src/starterkit/data/sources.py).")
PY
venv/bin/python look.py
