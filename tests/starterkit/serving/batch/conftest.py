"""Two small models and files for them: a regression over every type, a classifier with three classes."""

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import csv, ipc, parquet
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from starterkit.serving.batch import chunks
from starterkit.serving.predictor import Predictor


@pytest.fixture(scope="session")
def visits_predictor(visits: Any, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    chosen = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="most_frequent"), OneHotEncoder()), ["ward", "city"]),
        (make_pipeline(SimpleImputer(), StandardScaler()), ["children", "income"]),
        (SimpleImputer(strategy="most_frequent"), ["smoker", "insured"]),
    )
    exported, _ = visits.export(make_pipeline(chosen, Ridge()), tmp_path_factory.mktemp("visits-model") / "exported")
    return Predictor(exported.folder)


@pytest.fixture(scope="session")
def other_model(visits: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    chosen = make_pipeline(make_column_transformer(("passthrough", ["insured"])), Ridge())
    return visits.export(chosen, tmp_path_factory.mktemp("other-model") / "exported")[0].folder


@pytest.fixture(scope="session")
def iris_predictor(iris: Any, tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    exported, _ = iris.export(LogisticRegression(), tmp_path_factory.mktemp("iris-model") / "exported")
    return Predictor(exported.folder)


@pytest.fixture(scope="session")
def visits_rows(visits: Any) -> pa.Table:
    """400 rows: text, number and flag, each with gaps, and a column `visit` that the model does not take."""
    return pa.Table.from_pandas(pd.read_parquet(visits.root / "table.parquet"), preserve_index=False)


@pytest.fixture
def small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of about 20 rows and parts of 40, so that 400 rows are many of them."""
    monkeypatch.setattr(chunks, "CHUNK_BYTES", 800)
    monkeypatch.setattr(chunks, "CHUNK_ROWS", 20)
    monkeypatch.setattr(chunks, "FEWEST_ROWS", 20)
    monkeypatch.setattr("starterkit.serving.batch.PART_ROWS", 40)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "my földer"
    made.mkdir()
    return made


class Files:
    """Tables written and read in every kind, in a folder with an awkward name."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def write(self, table: pa.Table, name: str) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        if path.suffix == ".csv":
            csv.write_csv(table, path)
        elif path.suffix == ".parquet":
            parquet.write_table(table, path, row_group_size=150)
        else:
            make = ipc.new_stream if path.suffix == ".arrows" else ipc.new_file
            with make(path, table.schema) as writer:
                writer.write_table(table, max_chunksize=150)
        return path

    def read(self, name: str) -> pa.Table:
        path = self.folder / name
        if path.suffix == ".csv":
            return csv.read_csv(path, convert_options=csv.ConvertOptions(null_values=[""], strings_can_be_null=True))
        if path.suffix == ".parquet":
            return parquet.read_table(path)
        return (ipc.open_stream(path) if path.suffix == ".arrows" else ipc.open_file(path)).read_all()

    @property
    def names(self) -> list[str]:
        return sorted(path.name for path in self.folder.iterdir())


@pytest.fixture
def files(folder: Path) -> Files:
    return Files(folder)
