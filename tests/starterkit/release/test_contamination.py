"""What a run's record of its rows says about a holdout."""

from typing import Any

import numpy as np
import pandas as pd
import pandera.pandas as pa
import pytest

from starterkit.data.dataset import Dataset, RowRecord
from starterkit.data.reader import DatasetReader
from starterkit.problem import Holdout, Problem, feature, group, identifier, target, time
from starterkit.release.evaluation import contamination_of
from starterkit.settings import DataSettings, Stage


class Measures(pa.DataFrameModel):
    record: str = identifier()
    size: float = feature(sensitivity="plain")
    answer: float = target()


class Repeated(Measures):
    patient: int = group()


class Dated(Measures):
    day: pd.Timestamp = time()


class DatedAndRepeated(Dated):
    patient: int = group()


@pytest.fixture
def read(tmp_path: Any) -> Any:
    """Reads 300 rows of 60 patients on 100 days, with some rows and a holdout of one's own."""
    random = np.random.default_rng(0)
    table = pd.DataFrame({"record": [f"R{row}" for row in range(300)], "size": random.normal(0, 1, 300), "answer": 1.0})
    table["patient"] = np.arange(300) % 60
    table["day"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(300) // 3, unit="D")

    def reading(schema: type[pa.DataFrameModel], rows: Any = slice(None), **holdout: Any) -> Dataset:
        problem = Problem(
            name="m", title="", task="regression", schema=schema, estimator=lambda: None, metric="rmse",  # type: ignore[arg-type,return-value]
            holdout=Holdout(**holdout),
        )  # fmt: skip
        kept = [column.name for column in problem.columns]
        table.loc[rows, kept].to_parquet(tmp_path / "table.parquet")
        return DatasetReader(problem, DataSettings(source="table.parquet"), tmp_path, Stage.LOCAL).read()

    return reading


def seen(trained: Dataset, judged: Dataset) -> int | None:
    return contamination_of(RowRecord.of(trained), judged).trained_on


CUT = {"cutoff": "2026-03-01"}


@pytest.mark.parametrize(("schema", "holdout"), [(Measures, {}), (Repeated, {}), (Dated, CUT), (DatedAndRepeated, CUT)])
def test_the_same_split_shares_nothing(read: Any, schema: Any, holdout: Any) -> None:
    dataset = read(schema, **holdout)
    assert seen(dataset, dataset) == 0


@pytest.mark.parametrize(
    ("schema", "own", "others"),
    [
        (Measures, {}, {"salt": "another"}),
        (Measures, {}, {"fraction": 0.01}),
        (Repeated, {}, {"salt": "another"}),
        (Dated, CUT, {"cutoff": "2026-03-20"}),
    ],
)
def test_anothers_split_is_found_out(read: Any, schema: Any, own: Any, others: Any) -> None:
    judged, trained = read(schema, **own), read(schema, **others)
    known = set(trained.training.features["size"])
    shared = int(judged.holdout.features["size"].isin(known).sum())
    assert shared > 0
    assert seen(trained, judged) == shared or (schema is Repeated and seen(trained, judged) > 0)


def test_another_row_of_a_patient_of_the_holdout_is_found_out(read: Any) -> None:
    judged = read(Repeated)
    trained = read(Repeated, rows=slice(0, 200), salt="another")
    others = read(Repeated, rows=slice(200, 300))
    assert seen(trained, others) > 0
    assert not set(trained.training.features["size"]) & set(others.holdout.features["size"])
    assert seen(trained, judged) > 0


def test_a_run_that_says_nothing_about_these_columns_is_unknown(read: Any) -> None:
    judged = read(Repeated)
    assert contamination_of(None, judged).trained_on is None
    assert seen(read(Measures), judged) is None


def test_rows_with_the_same_features_are_counted(read: Any) -> None:
    dataset = read(Measures)
    dataset.holdout.features.loc[:2, "size"] = dataset.training.features.loc[:2, "size"].to_numpy()
    assert contamination_of(RowRecord.of(dataset), dataset).alike == 3


def test_copies_under_another_id_are_counted_beside_what_is_usual(read: Any) -> None:
    dataset = read(Measures)
    training, holdout = dataset.training, dataset.holdout
    copies = range(len(holdout))
    training.features.loc[copies, "size"] = holdout.features["size"].to_numpy()
    found = contamination_of(RowRecord.of(dataset), dataset)
    assert (found.trained_on, found.copied, found.usual) == (0, len(holdout), 0.0)
    training.target.iloc[:4] = 2.0
    assert contamination_of(RowRecord.of(dataset), dataset).copied == len(holdout) - 4
    training.features.loc[10:19, "size"] = 7.0
    found = contamination_of(RowRecord.of(dataset), dataset)
    assert found.usual == pytest.approx(10 / len(training))
