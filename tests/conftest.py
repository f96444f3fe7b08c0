"""Sample problems with real data. Each is a table on disk, a schema, and the way from there to an exported folder."""

import gc
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn.datasets import load_breast_cancer, load_iris

from example_project.problem import Patients
from starterkit.contract import Lineage
from starterkit.data import Dataset, DatasetReader
from starterkit.export import ExportedModel, OnnxExporter
from starterkit.problem import Problem, feature, identifier, target
from starterkit.settings import DataSettings, ExportSettings, Stage, TrainingSettings
from starterkit.training import TrainedModel, Trainer

ROOT = Path(__file__).parents[1]

try:
    import lightgbm  # noqa: F401
except OSError:  # its library wants OpenMP's, which a bare machine lacks
    WANTS_LIGHTGBM = ["test_estimators.py", "test_scores.py", "test_trees.py"]
else:
    WANTS_LIGHTGBM = []
collect_ignore = [f"starterkit/export/{name}" for name in WANTS_LIGHTGBM]


def pytest_configure() -> None:
    """A shell lets what it starts in the background ignore Ctrl-C, and so does all that is started from there."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.set_threshold(20_000, 50, 100)  # the libraries make objects that stay; looking through them is a tenth of all


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if WANTS_LIGHTGBM:
        mend = "apt-get install libgomp1, or brew install libomp"
        terminalreporter.write_line(f"not run: {', '.join(WANTS_LIGHTGBM)}, for LightGBM does not load ({mend})")


LINEAGE = Lineage(
    stage="local",
    run="0123",
    commit="abc",
    dirty=False,
    lock_digest="lock",
    data_source="data",
    data_digest="digest",
    holdout_digest="holdout",
)


@dataclass(frozen=True)
class Sample:
    """A problem without an estimator: each test brings its own."""

    root: Path
    source: str
    schema: type[pa.DataFrameModel]
    task: str
    metric: str

    def problem(self, estimator: Callable[..., Any], **changes: Any) -> Problem:
        given = {"name": "sample", "title": "A sample", "task": self.task, "schema": self.schema, "metric": self.metric}
        return Problem(**{**given, **changes}, estimator=estimator)

    def dataset(self, problem: Problem, source: str | None = None) -> Dataset:
        return DatasetReader(problem, DataSettings(source=source or self.source), self.root, Stage.LOCAL).read()

    def fit(self, estimator: Any, **changes: Any) -> tuple[TrainedModel, Dataset]:
        problem = self.problem(lambda: estimator, **changes)
        dataset = self.dataset(problem)
        return Trainer(problem, TrainingSettings()).fit(dataset), dataset

    def write(self, model: TrainedModel, dataset: Dataset, folder: Path, rows: int = 2000) -> ExportedModel:
        return OnnxExporter(ExportSettings(parity_rows=rows)).export(model, dataset, folder, LINEAGE)

    def export(self, estimator: Any, folder: Path, rows: int = 2000, **changes: Any) -> tuple[ExportedModel, Dataset]:
        model, dataset = self.fit(estimator, **changes)
        return self.write(model, dataset, folder, rows), dataset


@pytest.fixture(scope="session")
def diabetes() -> Sample:
    """Regression, ten numbers."""
    return Sample(ROOT, "data/diabetes.csv", Patients, "regression", "rmse")


@pytest.fixture(scope="session")
def breast_cancer(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Classification with two texts as labels, thirty numbers, as CSV and as Parquet."""
    loaded = load_breast_cancer(as_frame=True)
    return _measurements(tmp_path_factory.mktemp("breast"), loaded, ("malignant", "benign"))


@pytest.fixture(scope="session")
def iris(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Classification with three classes, four numbers."""
    return _measurements(
        tmp_path_factory.mktemp("iris"), load_iris(as_frame=True), ("setosa", "versicolor", "virginica")
    )


class Visits(pa.DataFrameModel):
    """Every type that the kit carries, with values missing in those that may."""

    visit: str = identifier()
    city: str = feature(sensitivity="sensitive", isin=["Köln", "Bonn", "NA"])
    ward: str = feature(sensitivity="plain", isin=["a", "b", "c"], nullable=True)
    smoker: bool = feature(sensitivity="sensitive", nullable=True)
    insured: bool = feature(sensitivity="plain")
    children: int = feature(sensitivity="sensitive", ge=0, le=9, nullable=True)
    income: float = feature(sensitivity="sensitive", ge=0, le=250, nullable=True)
    cost: float = target(unit="€")


@pytest.fixture(scope="session")
def visits(tmp_path_factory: pytest.TempPathFactory) -> Sample:
    """Regression over texts, booleans and numbers with missing values, as CSV and as Parquet. Ids are 000 to 399."""
    random = np.random.default_rng(0)
    count = 400
    table = pd.DataFrame(
        {
            "visit": [f"{number:03}" for number in range(count)],
            "city": random.choice(["Köln", "Bonn", "NA"], count),
            "ward": random.choice(["a", "b", "c"], count),
            "smoker": random.choice([True, False], count),
            "insured": random.choice([True, False], count),
            "children": random.integers(0, 9, count),
            "income": random.normal(100, 20, count).round(3),
        }
    )
    table["cost"] = table.income * 2 + table.children * 10 + (table.city == "Bonn") * 50 + table.smoker * 30
    for name, dtype in (("ward", "str"), ("smoker", "boolean"), ("children", "Int64"), ("income", "float64")):
        table[name] = table[name].astype(dtype).where(random.random(count) > 0.1)
    root = tmp_path_factory.mktemp("visits")
    table.to_csv(root / "table.csv", index=False)
    table.to_parquet(root / "table.parquet")
    return Sample(root, "table.csv", Visits, "regression", "rmse")


def _measurements(root: Path, loaded: Any, labels: tuple[str, ...]) -> Sample:
    numbers = loaded.data.rename(columns=lambda name: name.removesuffix(" (cm)").replace(" ", "_"))
    table = numbers.assign(record=[f"T{row:04}" for row in range(len(numbers))])
    table["diagnosis"] = np.array(labels)[loaded.target]
    table.to_csv(root / "table.csv", index=False)
    table.to_parquet(root / "table.parquet")
    fields: dict[str, Any] = {name: feature(sensitivity="plain", ge=0) for name in numbers}
    fields |= {"record": identifier(), "diagnosis": target(isin=list(labels))}
    types = {**dict.fromkeys(numbers, float), "record": str, "diagnosis": str}
    schema = type("Measurements", (pa.DataFrameModel,), {**fields, "__annotations__": types})
    return Sample(root, "table.csv", schema, "classification", "roc_auc")
