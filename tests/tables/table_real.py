"""What a newcomer does with a table: `init-problem`, `run`, then the very same file through `predict`."""

import bz2
import json
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
import warnings
from collections.abc import Callable
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from real import TABLES, Table
from sklearn import datasets
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from threadpoolctl import threadpool_limits

from conftest import FILES, REPOSITORY
from starterkit.contract import Task
from starterkit.data import Dataset, DatasetReader
from starterkit.data.dataset import Rows
from starterkit.problem import Problem
from starterkit.release.gate.comparison import paired_shortfall
from starterkit.settings import load_settings
from starterkit.training import TrainedModel, Trainer, permutation_importance, predict

SECONDS = 1_200
MOST_SHUFFLED = 2_000

Tell = Callable[[str, object], None]


def file_of(table: Table, folder: Path) -> Path:
    """The package's file as it is, unpacked where it is bz2; scikit-learn's own tables as pandas writes them."""
    if table.path.startswith("sklearn:"):
        path = folder / f"{table.name}.csv"
        getattr(datasets, f"load_{table.name}")(as_frame=True).frame.to_csv(path, index=False)
        return path
    shipped = FILES / table.path
    if shipped.suffix != ".bz2":
        return Path(shutil.copy(shipped, folder))
    path = folder / shipped.stem
    path.write_bytes(bz2.decompress(shipped.read_bytes()))
    return path


def call(root: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "PYTHONPATH": str(root / "src"), "KIT_STAGE": "local", "MLFLOW_DISABLE_TELEMETRY": "true"}
    command = [sys.executable, "-m", "starterkit", *words]
    return subprocess.run(command, cwd=root, env=environ, capture_output=True, text=True, timeout=SECONDS)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    root = tmp_path / "project"
    for name in ("config", "src/example_project", "tests/example_project"):
        shutil.copytree(REPOSITORY / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "requirements.txt"):
        shutil.copy(REPOSITORY / name, root)
    installed = root / "src" / "mlflow_starter_kit-0.dist-info"  # found before the repository's own
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: mlflow-starter-kit\nVersion: 0\n")
    (installed / "entry_points.txt").write_text("[starterkit.problem]\ndiabetes = example_project:problem\n")
    place = {"url": root.as_uri(), "dir_info": {"editable": True}}
    (installed / "direct_url.json").write_text(json.dumps(place))
    return root


@pytest.mark.parametrize("table", TABLES, ids=lambda table: table.name)
def test_a_real_table(table, project, tmp_path, tell):
    began = time.monotonic()
    data = file_of(table, tmp_path)
    tell("table", table.name)
    tell("target", table.target)
    started = call(project, "init-problem", str(data), "--target", table.target, "--force")
    tell("gate", "nothing written" if started.returncode else "not asked")
    assert started.returncode == 0, last_lines(started)
    taken = re.search(r"estimator: (.+?), \w+ [-\d.e]+ in cross", started.stdout)
    tell("estimator", taken[1] if taken else "?")
    tell("left out", left_out(project) or "none")
    problem = imported(project)
    settings = load_settings(project, {"KIT_STAGE": "local"})
    dataset = DatasetReader.of(problem, settings).read()
    for name, cell in (("rows", len(dataset)), ("columns", len(problem.features)), ("task", problem.task)):
        tell(name, cell)
    with threadpool_limits(1):
        compare(Trainer(problem, settings.training).fit(dataset), dataset, tell)
    ran = call(project, "run")
    assert not [name for name in dataset.training.features if counts_rows(dataset.training.features[name])]
    if "so the gate will refuse" in started.stdout:  # the columns tell no more than a naive guess
        tell("gate", "refused, as foretold" if ran.returncode == 1 else "passed, though refusal was foretold")
        assert ran.returncode == 1, last_lines(ran)
        return
    tell("gate", "passed" if ran.returncode == 0 else f"no: {last_lines(ran)}")
    assert ran.returncode == 0, last_lines(ran)
    scored = call(project, "predict", str(data), str(tmp_path / f"scored{''.join(data.suffixes)}"))
    tell("scores", "yes" if scored.returncode == 0 else f"no: {last_lines(scored)}")
    tell("seconds", f"{time.monotonic() - began:.0f}")
    assert scored.returncode == 0, last_lines(scored)


def last_lines(done: subprocess.CompletedProcess[str]) -> str:
    """What a person is told at the end."""
    lines = [line.strip() for line in (done.stdout[-2000:] + done.stderr[-2000:]).splitlines() if line.strip()]
    told = [line for line in lines if line.startswith(("error:", "decide:", "refused", "hint:"))]
    return " ".join(told or lines[-2:])[:300]


def imported(root: Path) -> Problem:
    path = root / "src" / "example_project" / "problem.py"
    spec = spec_from_file_location(f"written_{root.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[spec.name] = module  # pandera looks the annotations up there
    spec.loader.exec_module(module)
    (name,) = tomllib.loads((root / "pyproject.toml").read_text())["project"]["entry-points"]["starterkit.problem"]
    return replace(module.problem, name=name)


def left_out(root: Path) -> str:
    text = (root / "src" / "example_project" / "problem.py").read_text("utf-8")
    block = re.search(r"^LEFT_OUT = \[\n(.*?)^\]", text, re.DOTALL | re.MULTILINE)
    found = re.findall(r"# (.*?)(?:  # noqa.*)?\n    [\"'](.*)[\"'],", block[1]) if block else []
    return "; ".join(f"{name} ({reason[:30]})" for reason, name in found)


def counts_rows(values: pd.Series) -> bool:
    """Whether it is the row's number in the file: whole, rising from row to row, nearly without holes."""
    if not pd.api.types.is_numeric_dtype(values) or values.isna().any():
        return False
    rising = (values.diff().dropna() > 0).all() and (values % 1 == 0).all()
    return bool(rising and values.max() - values.min() < 2 * len(values))


def plain(task: Task, features: pd.DataFrame) -> dict[str, Any]:
    texts = [name for name in features if features[name].dtype == "str"]
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    dense = OneHotEncoder(handle_unknown="ignore", max_categories=100, sparse_output=False)
    lines, trees = Ridge(), HistGradientBoostingRegressor(random_state=0)
    if task == "classification":
        lines, trees = LogisticRegression(max_iter=2000), HistGradientBoostingClassifier(random_state=0)
    scaled = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), texts), remainder=numbers)
    encoded = make_column_transformer((dense, texts), remainder="passthrough")
    return {"linear": make_pipeline(scaled, lines), "boosting": make_pipeline(encoded, trees)}


def compare(model: TrainedModel, dataset: Dataset, tell: Tell) -> None:
    problem, holdout = model.problem, dataset.holdout
    metric, actual = problem.deciding_metric, holdout.target.to_numpy()
    answers = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, estimator in plain(problem.task, dataset.training.features).items():
            fitted = estimator.fit(dataset.training.features, dataset.training.target)
            answers[name] = predict(fitted, problem.task, holdout.features)
        few = slice(MOST_SHUFFLED)
        importances = permutation_importance(model, Rows(holdout.features[few], holdout.target[few], ""))
    own = metric.weighted(actual, model.evaluation.prediction, model.classes)
    groups = np.arange(len(actual)) if holdout.groups is None else np.unique(holdout.groups, return_inverse=True)[1]
    interval = paired_shortfall(metric, own, lambda weights: np.zeros(len(weights)), groups, 0.025)
    figures = {name: metric.score(actual, given, model.classes) for name, given in answers.items()}
    better = min(figures, key=figures.__getitem__)
    apart = paired_shortfall(metric, own, metric.weighted(actual, answers[better], model.classes), groups, 0.025)
    figure = model.evaluation.scores[metric.name]
    tell("first fit, 95%", f"{metric.name} {figure:.4g} ({interval.low:.4g} to {interval.high:.4g})")
    for name, one in figures.items():
        tell(name, f"{one:.4g}")
    tell("naive", f"{model.baseline.scores[metric.name]:.4g}")
    surely = ", though surely worse" if apart.low > 0 else ""
    tell("as good", f"yes{surely}" if interval.low <= figures[better] else "no")
    losses = {name: max(loss, 0.0) for name, (loss, _) in importances.items()}
    strongest, total = max(losses, key=losses.__getitem__), sum(losses.values())
    tell("strongest column", f"{strongest} {losses[strongest] / total:.2f}" if total else "none")
