#!/usr/bin/env bash
# pandera: with coerce=True a schema changes values before it looks; -0.5 passes ge(0) as 0 and "no" is True.
# findings/README.md says why it matters here. Takes about a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet pandera==0.35.0 pandas==3.1.1 numpy==2.4.6
cd "$work"

cat >look.py <<'PY'
import sys
from importlib.metadata import version

import pandas as pd
import pandera.pandas as pa
from pandera.errors import SchemaError, SchemaErrors

given = pd.DataFrame({"children": [-0.5, 1.9], "smoker": ["no", "False"]})


def checked(children, smoker):
    """The rows that the schema lets pass."""
    columns = {"children": pa.Column(children, pa.Check.ge(0)), "smoker": pa.Column(smoker)}
    try:
        return pa.DataFrameSchema(columns, coerce=True).validate(given, lazy=True).to_dict("list")
    except (SchemaError, SchemaErrors) as error:
        return f"refused: {', '.join(sorted(set(error.failure_cases['column'])))}"


print("pandera", version("pandera"), "with pandas", version("pandas"), "of", given.to_dict("list"))
print('  int, bool, with children ge(0): ', plain := checked(int, bool))
print('  "Int64", "boolean", the same:   ', nullable := checked("Int64", "boolean"))
if not (plain == {"children": [0, 1], "smoker": [True, True]} and isinstance(nullable, str)):
    sys.exit("CHANGED: a coercion that changes a value is refused")
print("Why it matters: the step that is there to find bad rows makes good ones of them, and every text is True. The kit converts")
print("a table by its own rules first, names what is no whole number or no flag, and gives pandera the outcome (`convert` in")
print("src/starterkit/data/checking.py).")
PY
venv/bin/python look.py
