"""The example is what everybody reads first: short, in words of the field, and it works as it stands."""

import ast
from pathlib import Path

from example_project import problem
from starterkit.data import DatasetReader
from starterkit.problem import find_problem
from starterkit.settings import DataSettings, Stage, TrainingSettings
from starterkit.training import Trainer

ROOT = Path(__file__).parents[2]
SOURCE = (ROOT / "src/example_project/problem.py").read_text()


def test_the_example_knows_one_module_of_the_kit_and_nothing_of_its_servers():
    assert len(SOURCE.splitlines()) < 120
    imports = [node for node in ast.walk(ast.parse(SOURCE)) if isinstance(node, ast.Import | ast.ImportFrom)]
    modules = {name.name for node in imports if isinstance(node, ast.Import) for name in node.names}
    modules |= {node.module or "" for node in imports if isinstance(node, ast.ImportFrom)}
    assert {name for name in modules if name.startswith("starterkit")} == {"starterkit.problem"}
    assert {name.split(".")[0] for name in modules} <= {"starterkit", "pandas", "pandera", "sklearn", "numpy"}


def test_the_kit_finds_the_example_and_knows_what_is_sensitive():
    assert find_problem() is problem
    sensitivity = {column.name: column.sensitivity for column in problem.columns}
    assert [sensitivity[name] for name in ("age", "sex", "patient_id")] == ["sensitive", "sensitive", "identifier"]
    assert "patient_id" not in [column.name for column in problem.features]


def test_the_example_beats_a_naive_guess_by_a_fifth_and_a_heavier_patient_does_not_fare_better():
    dataset = DatasetReader(problem, DataSettings(source="data/diabetes.csv"), ROOT, Stage.LOCAL).read()
    model = Trainer(problem, TrainingSettings()).fit(dataset)
    assert len(dataset) == 442
    for metric in ("rmse", "mae"):
        assert model.evaluation.scores[metric] < 0.8 * model.baseline.scores[metric]
    features, fitted = dataset.holdout.features, model.estimator
    heavier = features.assign(bmi=features["bmi"] + 8)
    assert fitted.predict(heavier).mean() > fitted.predict(features).mean() + 5
