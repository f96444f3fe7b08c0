"""A repository of one's own for each test: settings, data and an empty store, in a folder with an awkward name.

And sample problems with real data: each is a table on disk, a schema, and the way from there to an exported folder.
"""

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sqlalchemy import Engine, event

from example_project import problem
from example_project.problem import Patients
from starterkit.cli import main
from starterkit.contract import Lineage
from starterkit.data import DatasetReader
from starterkit.data.dataset import Dataset
from starterkit.pipeline import Pipeline, Summary
from starterkit.problem import Problem, feature, identifier, target
from starterkit.settings import DataSettings, ExportSettings, Settings, Stage, TrainingSettings, load_settings
from starterkit.tracking.connection import Connection, connect
from starterkit.training import TrainedModel, Trainer
from starterkit.training.export import ExportedModel, OnnxExporter

REPOSITORY = Path(__file__).parents[2]
Copied = Callable[..., Path]


@event.listens_for(Engine, "connect")
def _without_waiting_for_the_disk(connection: Any, _: object) -> None:
    """MLflow commits thousands of times, and no test loses power."""
    if isinstance(connection, sqlite3.Connection):
        connection.execute("PRAGMA synchronous = OFF").close()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory, copied: Copied) -> Path:
    """An MLflow database with its tables and nothing in them. Making one takes over a second, copying none."""
    from mlflow.store.db import utils

    # Each store asks Alembic again which revision is the newest: a twentieth of a second.
    utils._get_latest_schema_revision = cache(utils._get_latest_schema_revision)
    root = copied(tmp_path_factory.mktemp("store") / "made")
    connect(load_settings(root, {}).tracking, root)
    return root / "mlflow.db"


@pytest.fixture
def repository(tmp_path: Path, empty_store: Path, copied: Copied) -> Path:
    return copied(tmp_path / "my prøject ü", empty_store)


@pytest.fixture
def fresh_repository(tmp_path: Path, copied: Copied) -> Path:
    return copied(tmp_path / "fresh")


@pytest.fixture
def settings(repository: Path) -> Settings:
    return load_settings(repository, {})


@pytest.fixture
def connection(settings: Settings) -> Connection:
    return connect(settings.tracking, settings.root)


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory, empty_store: Path, copied: Copied) -> tuple[Path, Summary]:
    """A repository in which the pipeline ran once, and what that run said. Read only: copy it to change it."""
    root = copied(tmp_path_factory.mktemp("first") / "run", empty_store)
    return root, Pipeline(problem, load_settings(root, {})).run()


@pytest.fixture(scope="module")
def opened(first_run: tuple[Path, Summary]) -> tuple[Connection, Summary]:
    """Connected to it, for each module anew: MLflow goes to the store that was named last."""
    root, summary = first_run
    return connect(load_settings(root, {}).tracking, root), summary


@pytest.fixture
def after_a_run(first_run: tuple[Path, Summary], tmp_path: Path) -> Settings:
    return load_settings(Path(shutil.copytree(first_run[0], tmp_path / "after a rün")), {})


@contextmanager
def hurrying() -> Iterator[None]:
    """Without drawing, a third of a run and of a promotion, and long measures of costs: some tests look at both."""
    from starterkit.release import evaluation, pages

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pages, "figures_of", lambda *_: ())
        patch.setattr(pages, "_figures", lambda _: ())
        patch.setattr(evaluation, "_SECONDS", 0.02)
        yield


@pytest.fixture
def hurried() -> Iterator[None]:
    with hurrying():
        yield


@pytest.fixture(scope="session")
def hurry() -> Callable[[], AbstractContextManager[None]]:
    """The same for what a fixture makes."""
    return hurrying


Done = subprocess.CompletedProcess[str]
Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Calls a command in this process, for one of its own costs seconds: ``run(root, "train", KIT_STAGE="dev")``.

    It never shows a traceback, and ends with `code` where that is told.
    """

    def call(root: Path, *arguments: str, code: int | None = None, **environ: str) -> Done:
        with monkeypatch.context() as patch:
            patch.chdir(root)
            patch.setattr(sys, "argv", ["starterkit", *arguments])
            for name, value in environ.items():
                patch.setenv(name, value)
            capsys.readouterr()
            limits = resource.getrlimit(resource.RLIMIT_DATA)  # `serve` holds its process to less
            try:
                main()
                ended = 0
            except SystemExit as exited:
                ended = int(exited.code or 0)
            finally:
                resource.setrlimit(resource.RLIMIT_DATA, limits)
        done = Done(arguments, ended, *capsys.readouterr())
        assert "Traceback" not in done.stderr, done.stderr
        assert code in (None, ended), done
        return done

    return call


@pytest.fixture
def port(free_tcp_port: int) -> int:
    return free_tcp_port


@pytest.fixture
def new_server(empty_store: Path, mlflow_server: Callable[..., Any]) -> Iterator[Callable[[Path], Any]]:
    """Starts an MLflow server in a folder. All are ended after the test."""
    with ExitStack() as started:

        def start(folder: Path) -> Any:
            folder.mkdir(exist_ok=True)
            shutil.copy(empty_store, folder / "server.db")
            server = mlflow_server(folder)
            started.callback(server.signal, signal.SIGKILL)
            return server

        yield start


@pytest.fixture
def server(tmp_path: Path, new_server: Callable[[Path], Any]) -> Any:
    return new_server(tmp_path)


PRIVATE = "sqlite:///private.db"
NAMES = ("commit", "lock_digest", "data_digest", "holdout_digest")
LINEAGE = Lineage(**dict.fromkeys(NAMES, "x"), stage="local", run="0123", dirty=False, data_source=PRIVATE)


@dataclass(frozen=True)
class Sample:
    """A problem without an estimator: each test brings its own. What was read once is not read again."""

    root: Path
    source: str
    schema: type[pa.DataFrameModel]
    task: str
    metric: str
    known: dict[Any, Dataset] = field(default_factory=dict, compare=False)

    def problem(self, estimator: Callable[..., Any], **changes: Any) -> Problem:
        given = {"name": "sample", "title": "A sample", "task": self.task, "schema": self.schema, "metric": self.metric}
        return Problem(**{**given, **changes}, estimator=estimator)

    def dataset(self, problem: Problem, source: str | None = None) -> Dataset:
        given = DataSettings(source=source or self.source)
        key = (given.source, problem.name, problem.task, problem.schema, problem.load, problem.holdout)
        if key not in self.known:
            self.known[key] = DatasetReader(problem, given, self.root, Stage.LOCAL).read()
        return self.known[key]

    def fit(self, estimator: Any, **changes: Any) -> tuple[TrainedModel, Dataset]:
        problem = self.problem(lambda: estimator, **changes)
        dataset = self.dataset(problem)
        return Trainer(problem, TrainingSettings()).fit(dataset), dataset

    def write(self, model: TrainedModel, dataset: Dataset, folder: Path, rows: int = 500) -> ExportedModel:
        return OnnxExporter(ExportSettings(parity_rows=rows)).export(model, dataset, folder, LINEAGE)

    def export(self, estimator: Any, folder: Path, rows: int = 500, **changes: Any) -> tuple[ExportedModel, Dataset]:
        model, dataset = self.fit(estimator, **changes)
        return self.write(model, dataset, folder, rows), dataset


@pytest.fixture(scope="session")
def sample_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Sample]:
    """Makes a sample of a table, which is written as CSV and as Parquet."""

    def make(table: pd.DataFrame, schema: type[pa.DataFrameModel], task: str, metric: str) -> Sample:
        root = tmp_path_factory.mktemp(schema.__name__)
        table.to_csv(root / "table.csv", index=False)
        table.to_parquet(root / "table.parquet")
        return Sample(root, "table.csv", schema, task, metric)

    return make


@pytest.fixture(scope="session")
def diabetes() -> Sample:
    return Sample(REPOSITORY, "data/diabetes.csv", Patients, "regression", "rmse")


@pytest.fixture(scope="session")
def breast_cancer(sample_of: Callable[..., Sample]) -> Sample:
    return _measurements(sample_of, load_breast_cancer(as_frame=True), ("malignant", "benign"))


@pytest.fixture(scope="session")
def iris(sample_of: Callable[..., Sample]) -> Sample:
    return _measurements(sample_of, load_iris(as_frame=True), ("setosa", "versicolor", "virginica"))


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
def visits(sample_of: Callable[..., Sample]) -> Sample:
    """Regression over texts, booleans and numbers with missing values. Ids are 000 to 399."""
    random = np.random.default_rng(0)
    count = 400
    table = pd.DataFrame({
        "visit": [f"{number:03}" for number in range(count)],
        "city": random.choice(["Köln", "Bonn", "NA"], count),
        "ward": random.choice(["a", "b", "c"], count),
        "smoker": random.choice([True, False], count),
        "insured": random.choice([True, False], count),
        "children": random.integers(0, 9, count),
        "income": random.normal(100, 20, count).round(3),
    })  # fmt: skip
    table["cost"] = table.income * 2 + table.children * 10 + (table.city == "Bonn") * 50 + table.smoker * 30
    for name, dtype in (("ward", "str"), ("smoker", "boolean"), ("children", "Int64"), ("income", "float64")):
        table[name] = table[name].astype(dtype).where(random.random(count) > 0.1)
    return sample_of(table, Visits, "regression", "rmse")


def _measurements(sample_of: Callable[..., Sample], loaded: Any, labels: tuple[str, ...]) -> Sample:
    numbers = loaded.data.rename(columns=lambda name: name.removesuffix(" (cm)").replace(" ", "_"))
    table = numbers.assign(record=[f"T{row:04}" for row in range(len(numbers))])
    table["diagnosis"] = np.array(labels)[loaded.target]
    fields: dict[str, Any] = {name: feature(sensitivity="plain", ge=0) for name in numbers}
    fields |= {"record": identifier(), "diagnosis": target(isin=list(labels))}
    types = {**dict.fromkeys(numbers, float), "record": str, "diagnosis": str}
    schema = type("Measurements", (pa.DataFrameModel,), {**fields, "__annotations__": types})
    return sample_of(table, schema, "classification", "roc_auc")


@pytest.fixture(scope="session")
def client(environment: Callable[..., Path]) -> Callable[..., str]:
    """Runs a script, or a command, with a package that the tests do not have, in an environment of its own."""

    def run(package: str, *words: str, command: str = "python", seconds: float = 300) -> str:
        bin_ = environment(package.replace(" ", "_"), package)
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "PYTHON"))}
        called = [str(bin_ / command), *words]
        done = subprocess.run(called, capture_output=True, text=True, timeout=seconds, env=environ, cwd=bin_.parent)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run
