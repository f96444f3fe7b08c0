"""The record tells how many rows moved and which records were known, and nothing about a row."""

import io
import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from starterkit.data import dataset as row_record
from starterkit.data.dataset import Dataset, RowRecord, Rows
from starterkit.errors import TrackingError


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


def test_rows_that_came_and_went_are_counted_also_doubles(dataset: Any) -> None:
    record = opened(content_of(dataset))
    assert record.new_and_gone(dataset) == (0, 0)
    count = len(dataset.training)
    turned = replace(dataset, training=moved(dataset.training, np.arange(count)[::-1]))
    assert record.new_and_gone(turned) == (0, 0)
    doubled = replace(dataset, training=moved(dataset.training, [0, 0, *range(3, count)]))
    assert record.new_and_gone(doubled) == (1, 2)


def test_row_on_the_other_side_has_moved(dataset: Any) -> None:
    swapped = replace(dataset, training=dataset.holdout, holdout=dataset.training)
    assert opened(content_of(dataset)).new_and_gone(swapped) == (442, 442)


def test_changed_target_is_a_new_row(dataset: Any) -> None:
    target = dataset.holdout.target.copy()
    target.iloc[0] += 1
    changed = replace(dataset, holdout=Rows(dataset.holdout.features, target, "other"))
    assert opened(content_of(dataset)).new_and_gone(changed) == (1, 1)


def test_records_of_the_training_side_alone_are_known(dataset: Any) -> None:
    record = opened(content_of(dataset))
    assert record.trained_on(dataset.training) == len(dataset.training)
    assert record.trained_on(dataset.holdout) == 0
    assert record.trained_on(replace(dataset.holdout, keys={"other": np.array([1], np.uint64)})) is None


def test_two_files_have_nothing_in_common(dataset: Any) -> None:
    one, other = (arrays_of(content_of(dataset)) for _ in range(2))
    (key,) = dataset.training.keys
    assert sorted(one) == sorted(other) == ["fingerprints", f"keys.{key}", "salt"]
    for name in one:
        assert not set(one[name].tolist()) & set(other[name].tolist()) or name == "salt"
    assert one["salt"].tobytes() != other["salt"].tobytes()
    assert len(one["fingerprints"]) == len(dataset)
    assert len(one[f"keys.{key}"]) == len(dataset.training)


def test_neither_a_key_nor_a_place_is_kept(dataset: Any) -> None:
    arrays = arrays_of(content_of(dataset))
    ((name, keys),) = dataset.training.keys.items()
    assert not set(arrays[f"keys.{name}"].tolist()) & set(keys.tolist())
    for hashes in (arrays[f"keys.{name}"], arrays["fingerprints"]):
        assert (np.diff(hashes.astype(object)) >= 0).all()  # in order of size, so that none is known by its place


def test_too_many_rows_leave_no_fingerprints(dataset: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_record, "MOST_FINGERPRINTS", len(dataset) - 1)
    record = opened(content_of(dataset))
    assert record.new_and_gone(dataset) is None
    assert record.trained_on(dataset.training) == len(dataset.training)


def test_no_file_and_a_file_of_another_kit_say_nothing(dataset: Any) -> None:
    assert RowRecord.from_bytes(None, "run 7") is None
    earlier = io.BytesIO()
    np.savez(earlier, key=np.zeros(16, np.uint8), rows=np.zeros(3, np.uint64))
    assert RowRecord.from_bytes(earlier.getvalue(), "run 7") is None


def test_a_file_that_is_none_is_named(dataset: Any) -> None:
    single = io.BytesIO()
    np.save(single, np.zeros(3))
    for content in (b"", b"no archive", single.getvalue(), content_of(dataset)[:-400]):
        with pytest.raises(TrackingError, match=r"'rows\.npz' of run 7 cannot be read\. Train again"):
            RowRecord.from_bytes(content, "run 7")


def test_a_flipped_byte_is_named_or_changes_nothing(dataset: Any) -> None:
    content, chosen = content_of(dataset), random.Random(0)
    sound, named = opened(content), 0
    for place in [*range(60), *range(len(content) - 200, len(content)), *chosen.sample(range(len(content)), 400)]:
        spoilt = bytearray(content)
        spoilt[place] ^= chosen.randrange(1, 256)
        try:
            record = RowRecord.from_bytes(bytes(spoilt), "run 7")
        except TrackingError:
            named += 1
        else:
            assert record is None or record.salt == sound.salt
            assert record is None or record.new_and_gone(dataset) in ((0, 0), None)
    assert named > 400
