"""Tables of a user's own, and a repository that may be written into."""

import shutil
import subprocess
from collections.abc import Callable
from functools import partial
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from starterkit.cli.init import Project, Started, start_problem
from starterkit.machine import GROUP

ROOT = Path(__file__).parents[4]


def messy_table(rows: int = 400) -> pd.DataFrame:
    """Gaps, mixed types, dates, ids, constant and repeated columns, a target with gaps, and headers of every kind."""
    random = np.random.default_rng(0)
    place = np.arange(rows)
    table = pd.DataFrame(
        {
            "Unnamed: 0": place,
            "Kunden-Nr.": [f"{number:05}" for number in random.permutation(rows)],
            "CustomerID": [f"C-{number:04}" for number in place],
            "class": random.choice(["gold", "silver", "bronze"], rows),
            'Größe "x" (cm)': random.normal(170, 10, rows).round(1),
            "income (€)": random.normal(3000, 500, rows).round(2),
            "age": random.integers(18, 90, rows),
            "gender": random.choice(["f", "m"], rows),
            "religion": [f"faith {number % 150}" for number in place],
            "E-Mail": [f"person{number}@example.org" for number in place],
            "signup": pd.date_range("2020-01-01", periods=rows).strftime("%Y-%m-%d"),
            "smoker": random.choice(["True", "False"], rows),
            "visits": random.integers(0, 9, rows),
            "hospital": "St. Mary's",
            "leer": "",
            "notes": [f"note \"{number}\", 'quoted'" for number in place],
            "plz": random.choice(["01067", "50667", "80331"], rows),
            "city, or town": random.choice(["Köln", "O'Hare", 'the "Hague"'], rows),
            "年龄": random.integers(0, 100, rows),
            "half text": np.where(place % 3 == 0, "old", place.astype(str)),
        }
    )
    cost = table['Größe "x" (cm)'] * 2 + table["visits"] * 5 + random.normal(0, 5, rows)
    table["class copy"] = table["class"].map({"gold": "Au", "silver": "Ag", "bronze": "Br"})
    table["Kosten (€)"] = cost.round(2)
    table["in dollars"] = (cost * 1.1 + random.normal(0, 0.05, rows)).round(3)
    table = table.astype(object)
    for header, value, every in (("income (€)", "n/a", 17), ("visits", "?", 19), ("gender", "", 23)):
        table.loc[place % every == 0, header] = value
    table.loc[place % 11 == 0, "Kosten (€)"] = ""
    table.loc[place == 0, "age"] = ""  # in rows without target alone
    table["visits again"] = table["visits"]
    return table


@pytest.fixture(scope="session")
def messy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("mine") / "My mess.csv"
    messy_table().to_csv(path, index=False)
    return path


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with the example's package and its tests, all committed."""
    root = tmp_path / "my prøject"
    for name in ("config", "src/example_project", "tests/example_project", "data", ".vscode"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (".gitignore", "pyproject.toml"):
        shutil.copy(ROOT / name, root)
    commit(root)
    return root


def commit(root: Path) -> None:
    who = ["-c", "user.name=A", "-c", "user.email=a@example.org", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["add", "-A"], [*who, "commit", "-qm", "as it was"]):
        subprocess.run(["git", *words], cwd=root, check=True)


@pytest.fixture
def own(project: Path) -> Project:
    """The files of `project`; the package that this process has imported is another one."""
    return Project(project, EntryPoint("diabetes", "example_project:problem", GROUP), project / "src/example_project")


@pytest.fixture
def start(own: Project) -> Callable[..., Started]:
    return partial(start_problem, own, seconds=0)
