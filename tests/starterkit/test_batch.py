"""Files scored by the same predictor that answers requests."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from starterkit.batch import BatchScorer
from starterkit.errors import DataError
from starterkit.inference import InvalidRecords, Predictor
from starterkit.pipeline import Summary
from starterkit.registry import ModelRegistry
from starterkit.settings import Stage, load_settings
from starterkit.tracking import connect


@pytest.fixture(scope="module")
def predictor(first_run: tuple[Path, Summary]) -> Predictor:
    root = first_run[0]
    registry = ModelRegistry(connect(load_settings(root, {}).tracking, root), Stage.LOCAL, "diabetes")
    return registry.open(registry.version(1))


@pytest.mark.parametrize(("source", "destination"), [("in.csv", "out.parquet"), ("in.parquet", "out.csv")])
def test_rows_keep_their_order_and_their_other_columns(
    predictor: Predictor, first_run: tuple[Path, Summary], tmp_path: Path, source: str, destination: str
) -> None:
    holdout = first_run[1].dataset.holdout
    rows = holdout.features.assign(remark="kept")
    rows.to_csv(tmp_path / source, index=False) if source.endswith("csv") else rows.to_parquet(tmp_path / source)
    assert BatchScorer(predictor).score(tmp_path / source, tmp_path / destination) == len(rows)
    written = tmp_path / destination
    scored = pd.read_csv(written) if destination.endswith("csv") else pd.read_parquet(written)
    np.testing.assert_allclose(scored["prediction"], predictor.predict(holdout.columns).values, rtol=1e-9)
    assert scored["remark"].eq("kept").all()
    assert scored["bmi"].tolist() == holdout.features["bmi"].tolist()


def test_bad_row_is_named_and_nothing_is_written(
    predictor: Predictor, first_run: tuple[Path, Summary], tmp_path: Path
) -> None:
    rows = first_run[1].dataset.holdout.features.copy()
    rows.loc[4, "bmi"] = 900.0
    rows.to_csv(tmp_path / "in.csv", index=False)
    (tmp_path / "out.csv").write_text("earlier")
    with pytest.raises(InvalidRecords, match="row 4, column 'bmi': is above 80"):
        BatchScorer(predictor).score(tmp_path / "in.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "earlier"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in.csv", "out.csv"]


def write_broken(folder: Path, rows: pd.DataFrame, row: int, column: int, text: str) -> None:
    lines = rows.to_csv(index=False).splitlines()
    fields = lines[row + 1].split(",")
    fields[column] = text
    lines[row + 1] = ",".join(fields)
    (folder / "in.csv").write_text("\n".join(lines) + "\n")


def test_one_bad_cell_is_the_only_one_named(
    predictor: Predictor, first_run: tuple[Path, Summary], tmp_path: Path
) -> None:
    write_broken(tmp_path, first_run[1].dataset.holdout.features, 5, 2, "heavy")
    with pytest.raises(InvalidRecords, match=r"^row 5, column 'bmi': is not a number\. Give"):
        BatchScorer(predictor).score(tmp_path / "in.csv", tmp_path / "out.csv")


def test_a_ragged_row_is_not_repeated(predictor: Predictor, first_run: tuple[Path, Summary], tmp_path: Path) -> None:
    write_broken(tmp_path, first_run[1].dataset.holdout.features, 5, 2, "12345,67890")
    with pytest.raises(DataError, match="no sound CSV") as raised:
        BatchScorer(predictor).score(tmp_path / "in.csv", tmp_path / "out.csv")
    assert "12345" not in str(raised.value)


@pytest.mark.parametrize("destination", ["in.csv", "out.xlsx", "nowhere/out.csv"])
def test_a_useless_destination_is_refused_before_any_work(
    predictor: Predictor, first_run: tuple[Path, Summary], tmp_path: Path, destination: str
) -> None:
    first_run[1].dataset.holdout.features.to_csv(tmp_path / "in.csv", index=False)
    before = (tmp_path / "in.csv").read_text()
    with pytest.raises(DataError):
        BatchScorer(predictor).score(tmp_path / "in.csv", tmp_path / destination)
    assert (tmp_path / "in.csv").read_text() == before


@pytest.mark.parametrize("content", ["", "age,bmi\n", "\x00\x01garbage"])
def test_useless_file_is_named(predictor: Predictor, tmp_path: Path, content: str) -> None:
    (tmp_path / "in.csv").write_text(content)
    with pytest.raises(DataError, match=r"in\.csv"):
        BatchScorer(predictor).score(tmp_path / "in.csv", tmp_path / "out.csv")
