"""Which estimator a table begins with, and that each of them is written, fitted and exported exactly."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from starterkit.cli.init import trial
from starterkit.cli.init.decisions import plan_for, read_table
from starterkit.cli.init.draft import Plan
from starterkit.cli.init.trial import CHOICES, imported, read, select, texts_of_many_values, try_out
from starterkit.contract import Lineage
from starterkit.data.dataset import Dataset
from starterkit.settings import ExportSettings, TrainingSettings
from starterkit.training import Trainer
from starterkit.training.export import OnnxExporter

EMPTY = dict.fromkeys(("stage", "run", "commit", "lock_digest", "data_source", "data_digest", "holdout_digest"), "")
LINEAGE = Lineage(**EMPTY, dirty=False)

Drafted = tuple[Plan, Dataset]


def drafted(frame: pd.DataFrame, folder: Path) -> Drafted:
    path = folder / "mine.csv"
    frame.to_csv(path, index=False)
    plan = plan_for(read_table(path), path.name, "y", "mine", None)
    with imported(plan) as problem:
        dataset = read(problem, path)
    return replace(plan, many=texts_of_many_values(plan, dataset)), dataset


def table(made: str, rows: int = 700) -> pd.DataFrame:
    random = np.random.default_rng(0)
    a, b, noise = random.normal(size=(3, rows))
    y = {
        "a line": a + b + noise / 5,
        "a corner": np.where((a > 0) & (b > 0), 3.0, 0.0) + noise / 5,
        "noisy classes": np.where(a + b + 2 * noise > 0, "yes", "no"),
        "classes by a corner": np.where((a > 0) != (b > 0), "yes", "no"),
    }[made]
    return pd.DataFrame({"a": a, "b": b, "y": y})


TREES = {"boosting", "forest"}
TAKEN = {"a line": {"linear"}, "a corner": TREES, "noisy classes": {"linear"}, "classes by a corner": TREES}
SLOWER = "a corner", "noisy classes"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fewer trees, so that each is fitted soon."""
    fewer = {"boosting": {"max_iter": 60, "learning_rate": 0.2}, "forest": {"n_estimators": 15}}
    few = (replace(one, parameters=one.parameters | fewer.get(one.kind, {})) for one in CHOICES)
    monkeypatch.setattr(trial, "CHOICES", tuple(few))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize(
    "made", ["a line", "classes by a corner", *(pytest.param(one, marks=pytest.mark.slow) for one in SLOWER)]
)
def test_the_better_estimator_is_taken_and_said_with_its_figures(made, tmp_path):
    plan, dataset = drafted(table(made), tmp_path)
    selection = select(plan, dataset)
    assert selection.choice.kind in TAKEN[made]
    said = [choice.name for choice in CHOICES if choice.name in selection.line]
    assert len(said) == len(CHOICES)
    assert ", 95%)" in selection.line


def test_without_time_it_is_a_linear_model(tmp_path):
    plan, dataset = drafted(table("a corner"), tmp_path)
    selection = select(plan, dataset, seconds=0)
    assert selection == select(plan, dataset, seconds=0)
    assert selection.choice == CHOICES[0]
    assert "no time for others" in selection.line


@pytest.mark.usefixtures("quick")
def test_rows_of_one_group_share_a_fold(tmp_path):
    """A forest would know each patient again; in folds by rows it would win by far."""
    random = np.random.default_rng(0)
    patient = np.arange(700) // 7
    signs = random.normal(size=(100, 3))[patient]
    y = random.normal(size=100)[patient] + random.normal(0, 0.1, 700)
    frame = pd.DataFrame({"patient_id": [f"P{number:03}" for number in patient], "y": y})
    frame[["a", "b", "c"]] = signs
    plan, dataset = drafted(frame, tmp_path)
    assert plan.key is not None
    assert select(plan, dataset).choice.kind == "linear"


@pytest.mark.usefixtures("quick")
def test_what_comes_later_is_asked_of_models_that_saw_what_came_before(tmp_path):
    """A level that drifts: in folds by rows, trees know each month's level from its other days."""
    random = np.random.default_rng(0)
    day = np.arange(400)
    level = 0.05 * day + random.normal(0, 0.1, 400)
    frame = pd.DataFrame({"a": day + random.normal(0, 0.5, 400), "y": level})
    plan, dataset = drafted(frame, tmp_path)
    times = pd.Series(pd.date_range("2020-01-01", periods=len(dataset.training)).strftime("%Y-%m-%d"))
    by_rows, forward = (float(select(plan, dataset, given).line.split()[-1]) for given in (None, times))
    assert forward > 3 * by_rows


def mixed(task: str, rows: int = 400) -> pd.DataFrame:
    random = np.random.default_rng(0)
    place, number = random.integers(0, 45, rows), random.normal(size=rows)
    frame = pd.DataFrame({"place": [f"place {one}" for one in place], "number": number.round(3)})
    frame["colour"] = random.choice(["red", "blue", "green", "rare"], rows, p=[0.4, 0.3, 0.295, 0.005])
    frame.loc[::7, "number"] = np.nan
    frame.loc[::11, "colour"] = None
    score = np.nan_to_num(frame["number"]) + (place % 5) + random.normal(0, 0.5, rows)
    frame["y"] = score if task == "regression" else np.where(score > 2, "high", "low")
    return frame


@pytest.mark.parametrize("task", ["regression", "classification"])
@pytest.mark.parametrize(
    "choice",
    [pytest.param(one, marks=[pytest.mark.slow] * (one.kind == "forest"), id=one.kind) for one in CHOICES[::2]],
)
def test_each_is_exported_exactly_with_rare_and_many_texts(choice, task, tmp_path):
    plan, dataset = drafted(mixed(task), tmp_path)
    with imported(replace(plan, choice=choice, many=("colour",))) as problem:
        assert try_out(problem, dataset).learnt
        model = Trainer(problem, TrainingSettings()).fit(dataset)
        OnnxExporter(ExportSettings(parity_rows=200)).export(model, dataset, tmp_path / "exported", LINEAGE)
