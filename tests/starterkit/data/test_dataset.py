"""A dataset's features can be trained on, or the reader says which cannot."""

import json
from typing import Any

import pandas as pd
import pytest

from starterkit.data.dataset import as_records
from starterkit.data.reader import DatasetReader
from starterkit.errors import DataError
from starterkit.settings import DataSettings, Stage


def test_a_feature_without_any_value_is_refused(visits: Any, tmp_path: Any) -> None:
    table = pd.read_csv(visits.root / "table.csv", dtype={"visit": "str"}, keep_default_na=False)
    table.assign(income="").to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(DataError, match="no value of 'income' on the training side"):
        DatasetReader(visits.problem(lambda: None), DataSettings(source="table.csv"), tmp_path, Stage.LOCAL).read()


def test_load_may_derive_columns(visits: Any) -> None:
    def load(source: Any) -> pd.DataFrame:
        table = source.read()
        return table.assign(cost=table["cost"] * 2)

    plain = visits.dataset(visits.problem(lambda: None))
    doubled = visits.dataset(visits.problem(lambda: None, load=load))
    assert (doubled.training.target == 2 * plain.training.target).all()
    assert doubled.digest != plain.digest


def test_neither_the_id_nor_the_target_is_a_feature(diabetes: Any) -> None:
    features = diabetes.dataset(diabetes.problem(lambda: None)).training.features
    assert {"patient_id", "progression"}.isdisjoint(features)
    assert features.shape == (len(features), 10)


def test_records_are_what_json_has() -> None:
    frame = pd.DataFrame({"age": [59, 48], "bmi": [32.1, None], "city": ["Graz", None], "windy": [True, False]})
    records = as_records(frame)
    assert records[0] == {"age": 59, "bmi": 32.1, "city": "Graz", "windy": True}
    assert json.dumps(records[1]) == '{"age": 48, "bmi": null, "city": null, "windy": false}'
