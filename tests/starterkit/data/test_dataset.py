"""A dataset, and its record: it tells how many rows moved and which were known, and nothing about a row."""

import io
import json
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest

from starterkit.data import DatasetReader
from starterkit.data import dataset as row_record
from starterkit.data.dataset import Dataset, RowRecord, Rows, as_records
from starterkit.errors import DataError, TrackingError
from starterkit.settings import DataSettings, Stage


@pytest.fixture
def dataset(diabetes: Any) -> Any:
    return diabetes.dataset(diabetes.problem(lambda: None))


def moved(side: Rows, order: Any) -> Rows:
    pick = [frame.iloc[order].reset_index(drop=True) for frame in (side.features, side.target)]
    return Rows(pick[0], pick[1], "other")


def content_of(dataset: Dataset) -> bytes:
    return RowRecord.of(dataset).to_bytes()


def opened(content: bytes | None) -> RowRecord:
    record = RowRecord.from_bytes(content, "run 7")
    assert record is not None
    return record


def arrays_of(content: bytes) -> dict[str, Any]:
    return dict(np.load(io.BytesIO(content), allow_pickle=False))


def test_rows_that_came_went_moved_and_changed_are_counted_and_those_trained_on_are_known(dataset):
    record = opened(content_of(dataset))
    assert record.new_and_gone(dataset) == (0, 0)
    count = len(dataset.training)
    turned = replace(dataset, training=moved(dataset.training, np.arange(count)[::-1]))
    assert record.new_and_gone(turned) == (0, 0)
    doubled = replace(dataset, training=moved(dataset.training, [0, 0, *range(3, count)]))
    assert record.new_and_gone(doubled) == (1, 2)
    swapped = replace(dataset, training=dataset.holdout, holdout=dataset.training)
    assert record.new_and_gone(swapped) == (442, 442)
    target = dataset.holdout.target.copy()
    target.iloc[0] += 1
    changed = replace(dataset, holdout=Rows(dataset.holdout.features, target, "other"))
    assert record.new_and_gone(changed) == (1, 1)
    assert record.trained_on(dataset.training) == len(dataset.training)
    assert record.trained_on(dataset.holdout) == 0
    assert record.trained_on(replace(dataset.holdout, keys={"other": np.array([1], np.uint64)})) is None


def test_two_files_have_nothing_in_common_and_keep_neither_a_key_nor_a_place(dataset):
    one, other = (arrays_of(content_of(dataset)) for _ in range(2))
    ((key, known),) = dataset.training.keys.items()
    assert sorted(one) == sorted(other) == ["fingerprints", f"keys.{key}", "salt"]
    assert one["salt"].tobytes() != other["salt"].tobytes()
    hashes, counts = [one["fingerprints"], one[f"keys.{key}"]], [len(dataset), len(dataset.training)]
    assert [len(each) for each in hashes] == counts
    assert not set(one[f"keys.{key}"].tolist()) & set(known.tolist())
    for mine, others in zip(hashes, (other["fingerprints"], other[f"keys.{key}"]), strict=True):
        assert not set(mine.tolist()) & set(others.tolist())
        assert (np.diff(mine.astype(object)) >= 0).all()  # in order of size, so that none is known by its place


def test_too_many_rows_leave_no_fingerprints(dataset, monkeypatch):
    monkeypatch.setattr(row_record, "MOST_FINGERPRINTS", len(dataset) - 1)
    record = opened(content_of(dataset))
    assert record.new_and_gone(dataset) is None
    assert record.trained_on(dataset.training) == len(dataset.training)


def test_no_file_and_a_file_of_another_kit_say_nothing_and_one_that_is_none_is_named(dataset):
    assert RowRecord.from_bytes(None, "run 7") is None
    earlier, single = io.BytesIO(), io.BytesIO()
    np.savez(earlier, key=np.zeros(16, np.uint8), rows=np.zeros(3, np.uint64))
    assert RowRecord.from_bytes(earlier.getvalue(), "run 7") is None
    np.save(single, np.zeros(3))
    for content in (b"", b"no archive", single.getvalue(), content_of(dataset)[:-400]):
        with pytest.raises(TrackingError, match=r"'rows\.npz' of run 7 cannot be read\. Train again"):
            RowRecord.from_bytes(content, "run 7")


def test_a_flipped_byte_is_named_or_changes_nothing(dataset):
    content, chosen = content_of(dataset), random.Random(0)
    sound, named = opened(content), 0
    for place in [*range(60), *range(len(content) - 200, len(content)), *chosen.sample(range(len(content)), 100)]:
        spoilt = bytearray(content)
        spoilt[place] ^= chosen.randrange(1, 256)
        try:
            record = RowRecord.from_bytes(bytes(spoilt), "run 7")
        except TrackingError:
            named += 1
        else:
            assert record is None or record.salt == sound.salt
            assert record is None or record.new_and_gone(dataset) in ((0, 0), None)
    assert named > 200


def test_load_may_derive_columns_and_a_feature_without_any_value_is_refused(visits, tmp_path):
    def load(source):
        table = source.read()
        return table.assign(cost=table["cost"] * 2)

    plain = visits.dataset(visits.problem(lambda: None))
    doubled = visits.dataset(visits.problem(lambda: None, load=load))
    assert (doubled.training.target == 2 * plain.training.target).all()
    assert doubled.digest != plain.digest
    table = pd.read_csv(visits.root / "table.csv", dtype={"visit": "str"}, keep_default_na=False)
    table.assign(income="").to_csv(tmp_path / "table.csv", index=False)
    with pytest.raises(DataError, match="no value of 'income' on the training side"):
        DatasetReader(visits.problem(lambda: None), DataSettings(source="table.csv"), tmp_path, Stage.LOCAL).read()


def test_records_are_what_json_has():
    frame = pd.DataFrame({"age": [59, 48], "bmi": [32.1, None], "city": ["Graz", None], "windy": [True, False]})
    records = as_records(frame)
    assert records[0] == {"age": 59, "bmi": 32.1, "city": "Graz", "windy": True}
    assert json.dumps(records[1]) == '{"age": 48, "bmi": null, "city": null, "windy": false}'
