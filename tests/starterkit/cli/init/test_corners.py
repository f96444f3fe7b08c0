"""Small tables with one odd thing each: all lead to code that is clean, fits its rows and can be fitted."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from starterkit.cli.init.decisions import plan_for, read_table
from starterkit.cli.init.rendering import problem_source
from starterkit.cli.init.trial import imported, read, try_out

ROOT = Path(__file__).parents[4]
ROWS = 120
RANDOM = np.random.default_rng(0)
X = RANDOM.normal(size=ROWS)


def one_of(*values: object) -> list[object]:
    return [values[place] for place in RANDOM.integers(0, len(values), ROWS)]


def table(**more: object) -> pd.DataFrame:
    return pd.DataFrame({"x": X, "y": X + RANDOM.normal(size=ROWS) * 0.2, **more})


OWN_WORDS = "pd pa load problem estimator frame record self cls lambda None match type _ __init__ feature columns index"
CORNERS = {
    "true or false alone": pd.DataFrame({"a": one_of(True, False), "y": one_of(True, False)}),
    "true or false with gaps": pd.DataFrame({"a": one_of(True, False, None), "y": one_of("p", "q")}),
    "texts alone": pd.DataFrame({"a": one_of("u", "v", None), "y": one_of("p", "q")}),
    "columns called as the code's own words": table(**{word: RANDOM.normal(size=ROWS) for word in OWN_WORDS.split()}),
    "the same rows twice": pd.concat([table().head(60)] * 2),
    "hardly any different rows": pd.DataFrame({"a": one_of("u", "v"), "y": RANDOM.normal(size=ROWS)}),
    "labels with a line break": table().assign(y=one_of("a\nb", "c")),
    "whole numbers beyond a float": table(h=RANDOM.integers(2**60, 2**62, ROWS)),
    "infinities": table(h=np.r_[np.inf, -np.inf, X[2:]]),
    "very small ones": table(h=RANDOM.normal(size=ROWS) * 1e-30),
    "exponents": table(h=[f"{value:.3e}" for value in X * 1e9]),
    "spaces around numbers": table(h=[f" {value} " for value in RANDOM.integers(0, 9, ROWS)]),
    "classes with a fraction of nothing": table().assign(y=one_of(0.0, 1.0, None)),
    "a number that is a name": table(ward_id=one_of(1, 2, 3)),
    "a name that is written with spaces and signs": table(ward_id=one_of(" 1", "+2", "3")),
    "whole numbers beyond 64 bits": table(h=[str(10**20 + number) for number in range(ROWS)]),
    "ids beyond a float": table(id=10**18 + np.arange(ROWS)),
    "blanks among numbers": table(h=one_of("1", "2", "3.5", " ", "  ")),
    "blanks among texts": table(h=one_of("u", "v", " ", "")).assign(y=one_of("p", "q", " ")),
    "blanks around true and false": table(h=one_of(" True", "False")),
    "a postcode": table(zip=[f"{number:05}" for number in range(ROWS)]),
    "a column called as the kit's own": table(split=one_of("u", "v")),
}


TYPED = ("true or false with gaps", "whole numbers beyond a float", "ids beyond a float")
"""What a Parquet file holds in types of its own."""
CASES = [*((corner, "csv") for corner in CORNERS), *((corner, "parquet") for corner in TYPED)]


@pytest.mark.parametrize(("corner", "kind"), CASES)
def test_a_corner_leads_to_a_problem_that_can_be_fitted(corner, kind, tmp_path):
    path = tmp_path / f"corner.{kind}"
    frame = CORNERS[corner].reset_index(drop=True)
    frame.to_csv(path, index=False) if kind == "csv" else frame.to_parquet(path)
    plan = plan_for(read_table(path), path.name, "y", "corner", None)
    with imported(plan) as problem:
        dataset = read(problem, path)
        tried = try_out(problem, dataset)
    assert len(dataset) == (frame["y"].notna() & (frame["y"] != " ")).sum()
    assert all(np.isfinite(figure) for _, figure in tried.limits.values())
    assert max(map(len, problem_source(plan).splitlines())) <= 120
    if {"id", "zip"} & {*frame}:  # a float would round the one, and the other is none
        assert (plan.key and plan.key.name) == ("id" if "id" in frame else None)


@pytest.mark.slow
def test_the_type_checker_finds_nothing_in_what_is_written(messy, tmp_path):
    """A project's own `make test` asks it."""
    written = [(messy, "Kosten (€)")]
    for place, frame in enumerate(CORNERS.values()):
        written.append((tmp_path / f"corner_{place}.csv", "y"))
        frame.to_csv(written[-1][0], index=False)
    for path, target in written:
        plan = plan_for(read_table(path), path.name, target, "corner", None)
        (tmp_path / f"{path.stem.replace(' ', '_')}.py").write_text(problem_source(plan), "utf-8")
    command = [sys.executable, "-m", "pyrefly", "check", "--config", str(ROOT / "pyproject.toml")]
    command += ["--python-interpreter-path", sys.executable, *map(str, tmp_path.glob("*.py"))]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout
