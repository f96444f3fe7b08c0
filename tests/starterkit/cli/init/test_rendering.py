"""The written code: clean, true of the data, and without a person's value in it. Settings keep their comments."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from sklearn import datasets

from starterkit.cli.init.decisions import plan_for, read_table
from starterkit.cli.init.draft import Plan
from starterkit.cli.init.rendering import literal, problem_source, source_of_tests, with_problem
from starterkit.cli.init.trial import imported, read
from starterkit.errors import SettingsError

ROOT = Path(__file__).parents[4]


def plan_of(path: Path, target: str, **asked: Any) -> Plan:
    return plan_for(read_table(path), path.name, target, "mine", asked.get("task"))


def written(path: Path, target: str, **asked: Any) -> str:
    return problem_source(plan_of(path, target, **asked))


def ruff(source: str, name: str, root: Path = ROOT) -> str:
    """What ruff finds, with the repository's own rules, in a file of that name."""
    found = []
    for words in (["check", "--output-format=concise"], ["format", "--diff"]):
        command = [sys.executable, "-m", "ruff", *words, "--stdin-filename", str(root / name), "-"]
        done = subprocess.run(command, input=source, capture_output=True, text=True, cwd=root)
        found.append(done.stdout + done.stderr if done.returncode else "")
    return "\n".join(found).strip()


def wide_table() -> pd.DataFrame:
    """Long headers and many categories: what does not fit on a line."""
    random = np.random.default_rng(1)
    words = [f"a category with a rather long name {number}" for number in range(18)]
    table = pd.DataFrame({"what somebody called this column, at some length " + "x" * 28: random.choice(words, 300)})
    table["a header that is " + "very " * 30 + "long"] = random.normal(0, 1, 300)
    table["y" * 300] = random.normal(0, 1, 300)
    table["lots of small ones"] = random.choice(list("abcdefghijklmnopqrst"), 300)
    table["only some of them"] = random.choice(["yes", "no", None], 300)  # type: ignore[list-item]
    table["outcome"] = random.choice(["good", "bad"], 300)
    return table


SLOW = pytest.param("digits", marks=pytest.mark.slow)


@pytest.fixture(scope="session", params=["messy", "wide", "ids", "diabetes", "iris", "breast_cancer", SLOW])
def sample(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, messy: Path) -> tuple[Path, str]:
    """A file and its target."""
    if request.param == "messy":
        return messy, "Kosten (€)"
    path = tmp_path_factory.mktemp("sample") / f"{request.param}.csv"
    if request.param == "wide":
        wide_table().to_csv(path, index=False)
        return path, "outcome"
    if request.param == "ids":
        visits = np.arange(2400)
        table = pd.DataFrame({"patient_id": visits % 300, "visit_id": visits, "x": visits % 7, "ward": visits % 3})
        table.assign(ward=table["ward"].map({0: "a", 1: "b", 2: "c"}), y=visits % 7 % 2 == 0).to_csv(path, index=False)
        return path, "y"
    getattr(datasets, f"load_{request.param}")(as_frame=True).frame.to_csv(path, index=False)
    return path, "target"


def test_every_row_with_a_target_fits_the_written_schema(sample):
    path, target = sample
    table = pd.read_csv(path)
    with imported(plan_of(path, target)) as problem:
        dataset = read(problem, path)
    assert len(dataset) == table[target].notna().sum()
    assert 0.1 < len(dataset.holdout) / len(dataset) < 0.5


def test_the_written_code_is_as_ruff_would_have_it(sample):
    plan = plan_of(*sample)
    assert ruff(problem_source(plan), "src/example_project/problem.py") == ""
    tests = source_of_tests(plan, "example_project", "data/mine.csv")
    assert ruff(tests, "tests/example_project/test_problem.py") == ""


def test_the_tests_of_a_file_with_a_long_name_are_as_ruff_would_have_them(messy, tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    plan = plan_of(messy, "Kosten (€)")
    for name in ("m" * 66, "m" * 67, "m" * 110, "m" * 110 + " x"):
        (tmp_path / f"{len(name)}.py").write_text(source_of_tests(plan, "example_project", f"data/{name}.parquet"))
    for words in ("format --diff .", "check --select E501 ."):
        command = [sys.executable, "-m", "ruff", *words.split()]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("package", ["churn", "starter", "starterkits", "zoo"])
def test_the_imports_are_in_order_whatever_the_project_is_called(package, messy, tmp_path):
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    (tmp_path / "src" / package).mkdir(parents=True)
    (tmp_path / "src" / package / "__init__.py").touch()
    (tmp_path / "src" / "starterkit").symlink_to(ROOT / "src" / "starterkit")
    tests = source_of_tests(plan_of(messy, "Kosten (€)"), package, "data/mine.csv")
    assert ruff(tests, f"tests/{package}/test_problem.py", tmp_path) == ""


def test_a_sensitive_column_s_values_are_not_in_the_code(messy):
    source, table = written(messy, "Kosten (€)"), read_table(messy)
    for header in ("E-Mail", "religion", "Kunden-Nr.", "CustomerID", "notes"):
        assert not [value for value in table[header] if value in source], header


def test_the_roles_of_a_messy_table(messy):
    plan = plan_of(messy, "Kosten (€)")
    fields = {one.header: one for one in plan.fields}
    assert fields["CustomerID"].role == "identifier"  # it is called one, the other only looks like one
    sensitive = {header for header, one in fields.items() if one.sensitive}
    assert sensitive == {"income (€)", "age", "gender", "plz", "smoker"}
    assert fields["plz"].categories == ("01067", "50667", "80331")
    assert (fields["visits"].type, fields["visits"].nullable, fields["smoker"].type) == ("int", True, "bool")
    missing = {one.name: one.written.missing for one in plan.fields if one.written.missing}
    assert missing == {"income": ("n/a",), "visits": ("?",), "half_text": ("old",)}
    assert (plan.without_target, plan.rows, plan.task) == (37, 363, "regression")
    assert plan.left_out.keys() == {
        "Unnamed: 0", "Kunden-Nr.", "religion", "E-Mail", "signup", "hospital", "leer", "notes", "class copy",
        "visits again",
    }  # fmt: skip


def test_rows_that_say_the_same_are_on_one_side_whatever_their_target(tmp_path):
    random, path = np.random.default_rng(0), tmp_path / "twice.csv"
    once = pd.DataFrame({"a": random.normal(size=100), "b": random.integers(0, 5, 100)})
    twice = pd.concat([once, once]).assign(y=random.normal(size=200))
    twice.to_csv(path, index=False)
    plan = plan_of(path, "y")
    with imported(plan) as problem:
        dataset = read(problem, path)
        sides = [set(map(tuple, rows.features.to_numpy())) for rows in (dataset.training, dataset.holdout)]
        assert not sides[0] & sides[1]
        keys = dataset.holdout.keys["record"]
        # A gap makes whole numbers floats, and another order of columns changes nothing.
        more = pd.concat([twice, pd.DataFrame({"a": [0.5], "y": [1.0]})])[["y", "b", "a"]]
        more.to_csv(path, index=False)
        frame = problem.read(type("Source", (), {"read": lambda self: pd.read_csv(path)})())
    fields = [replace(one, nullable=one.role == "feature") for one in plan.fields]
    with imported(replace(plan, fields=tuple(fields))) as problem:
        again = read(problem, path).holdout.keys["record"]
    assert len(frame) == 201
    assert set(keys) <= set(again)


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("plain", '"plain"'), ("O'Hare", '"O\'Hare"'), ('the "Hague"', "'the \"Hague\"'"), (3, "3"), (True, "True"),
        ('both \' and ""', "'both \\' and \"\"'"), ("back\\slash", '"back\\\\slash"'), ("Zürich", '"Zürich"'),
        ("tab\t", '"tab\\t"'),
    ],
)  # fmt: skip
def test_a_literal_is_what_ruff_would_write(value, source):
    assert literal(value) == source
    assert eval(source) == value


BASE = (ROOT / "config" / "base.yaml").read_text("utf-8")
LIMITS = {"log_loss": ("max", 0.4), "roc_auc": ("min", 0.75)}


def test_the_three_places_change_and_the_rest_stays():
    text = with_problem(BASE, "data/churn.csv", {"regularization": 1.0}, LIMITS)
    before, after = yaml.safe_load(BASE), yaml.safe_load(text)
    assert after["data"].pop("source") == "data/churn.csv"
    assert after["training"].pop("params") == {"regularization": 1.0}
    assert after["gate"].pop("limits") == {"log_loss": {"max": 0.4}, "roc_auc": {"min": 0.75}}
    said = before["data"].pop("source"), before["training"].pop("params"), before["gate"].pop("limits")
    assert after == before
    limits = {name: next(iter(limit.items())) for name, limit in said[2].items()}
    assert with_problem(text, said[0], said[1], limits) == BASE


def test_what_stands_behind_the_old_values_stands_behind_the_new():
    text = "training:\n    params: # ours\n        a: 1 # why\n\n# next\ngate:\n    tolerance: 1\n"
    written = with_problem(text, "data/churn.csv", {"b": 2}, {})
    assert written.startswith(text.replace("a: 1 # why", "b: 2"))


FILES = (
    "", "data:\n  source: a.csv\n", "# mine\ngate:\n  tolerance: 0.1\n", "data: {source: a.csv}\ntraining:\n",
    "training:\n    seed: 3\n    params:\n        a: 1\n\n# next\ngate:\n    limits: {}\n",
    "gate:\n  limits:\n    rmse: {max: 3}\n    # why\n    r2:\n      min: 0\n  tolerance: 1\ndata:\n source: a.csv",
)  # fmt: skip


@pytest.mark.parametrize("text", FILES)
def test_whatever_the_file_said_before(text):
    written = yaml.safe_load(with_problem(text, "data/my data é.csv", {"max_iter": 5}, LIMITS))
    assert written["data"]["source"] == "data/my data é.csv"
    assert written["training"]["params"] == {"max_iter": 5}
    assert list(written["gate"]["limits"]) == ["log_loss", "roc_auc"]
    for section, values in (yaml.safe_load(text) or {}).items():
        kept = {key: value for key, value in (values or {}).items() if key not in ("source", "params", "limits")}
        assert kept.items() <= written[section].items()


@pytest.mark.parametrize("text", ["data:\n  source: sqlite:///a.db\n  query: SELECT\n", "[1", "data: 3\n", "- 1\n"])
def test_a_file_that_cannot_say_it_is_refused(text):
    with pytest.raises(SettingsError, match="cannot say where the new data is"):
        with_problem(text, "data/churn.csv", {}, LIMITS)
