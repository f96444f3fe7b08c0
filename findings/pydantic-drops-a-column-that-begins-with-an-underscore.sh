#!/usr/bin/env bash
# pydantic.create_model: a field whose name begins with an underscore is no field, and nothing says so.
# findings/README.md says why it matters here. Takes half a minute.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/python" -m pip install --quiet pydantic==2.14.3
cd "$work"

cat >look.py <<'PY'
import sys
import warnings
from importlib.metadata import version

from pydantic import ConfigDict, ValidationError, create_model

columns = {"age": (float, ...), "_x": (float, ...)}
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    lenient = create_model("Row", **columns)
    strict = create_model("Row", __config__=ConfigDict(extra="forbid"), **columns)


def answer(model, row):
    try:
        return f"accepted: {model.model_validate(row)!r}"
    except ValidationError as error:
        return "; ".join(f"refused: {'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())


print("pydantic", version("pydantic"))
print("Asked for the required fields:       ", *columns)
print("Fields of the model:                 ", *lenient.model_fields)
print("Properties of its JSON Schema:       ", *lenient.model_json_schema()["properties"])
print("Warnings:                            ", [str(one.message) for one in told] or "none")
print("{'age': 1}, _x is missing:           ", missing := answer(lenient, {"age": 1}))
print("{'age': 1, '_x': 'x'}, no number:    ", wrong := answer(lenient, {"age": 1, "_x": "x"}))
print("{'age': 1, '_x': 2}, extra='forbid': ", right := answer(strict, {"age": 1, "_x": 2}))
silent = list(lenient.model_fields) == ["age"] and not told
if not (silent and missing.startswith("accepted") and wrong.startswith("accepted") and right.startswith("refused")):
    sys.exit("CHANGED: such a field is a field now, or it is refused")
print("Why it matters: a model of a row that is made of a table's column names loses such a column, or refuses the rows that")
print("have it. The kit reads and describes the rows of a request by its own one check of a value against its column")
print("(docs/decisions/0021-one-check.md), by the columns' names.")
PY
venv/bin/python look.py
