"""What a user does: one command, then `run`, with nothing changed in between."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn import datasets

ROOT = Path(__file__).parents[4]


def call(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """A command in a process of its own, with the project's own package before the installed one."""
    environ = {**os.environ, "PYTHONPATH": str(root / "src"), "KIT_STAGE": "local", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", *words]
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=900)


@pytest.fixture
def whole(project: Path) -> Path:
    shutil.copy(ROOT / "requirements.txt", project)
    return project


def goes_all_the_way(root: Path, data: Path, target: str) -> None:
    started = call(root, "starterkit", "init-problem", str(data), "--target", target, "--force")
    assert started.returncode == 0, started.stderr
    assert "make run" in started.stdout
    done = call(root, "starterkit", "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert ": passed" in done.stdout
    tests = call(root, "pytest", "-n", "0", "-p", "no:cacheprovider", "tests/example_project")
    assert tests.returncode == 0, tests.stdout
    scored = call(root, "starterkit", "predict", str(data), str(root / "scored.csv"))
    assert scored.returncode == 0, scored.stderr
    assert "ignored: " in scored.stdout


def sales() -> pd.DataFrame:
    """A monthly series as an office writes it."""
    random, rows = np.random.default_rng(0), 240
    visits = random.integers(1000, 9000, rows)
    months = pd.date_range("2004-01-01", periods=rows, freq="MS")
    return pd.DataFrame(
        {
            "No.": np.arange(rows) + 1,
            "Month": months.strftime("%d-%b-%Y"),
            "Besuche": [f"{visit // 1000}.{visit % 1000:03}" for visit in visits],
            "Rabatt": [f"{number},5 %" for number in random.integers(0, 30, rows)],
            "Change": [f"({number}.5)" if number % 2 else f"{number}.5" for number in random.integers(0, 9, rows)],
            "Promotion": random.choice(["Y", ""], rows),
            "Region": random.choice(["North", "north ", "South"], rows),
            "Temp": [".." if place % 9 == 0 else f"{place % 30}.5" for place in range(rows)],
            "Umsatz": [f"€ {number:.2f}".replace(".", ",") for number in visits * 0.3 + random.normal(0, 300, rows)],
        }
    )


@pytest.mark.slow
@pytest.mark.parametrize("name", ["iris", "digits", "sales", "messy"])
def test_a_table_passes_the_gate_without_a_line_changed(name: str, whole: Path, messy: Path, tmp_path: Path) -> None:
    """scikit-learn's own, a series as an office writes it, and a mess; `make test-tables` has real ones."""
    if name == "sales":
        sales().to_csv(tmp_path / "sales.csv", index=False, sep=";")
    elif name != "messy":
        getattr(datasets, f"load_{name}")(as_frame=True).frame.to_csv(tmp_path / f"{name}.csv", index=False)
    data = messy if name == "messy" else tmp_path / f"{name}.csv"
    goes_all_the_way(whole, data, {"sales": "Umsatz", "messy": "Kosten (€)"}.get(name, "target"))
