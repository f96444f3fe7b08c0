"""Fingerprints tell how many rows moved, and nothing about a row."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from starterkit.data import Rows
from starterkit.lineage import rows


@pytest.fixture
def dataset(diabetes: Any) -> Any:
    return diabetes.dataset(diabetes.problem(lambda: None))


def moved(side: Rows, order: Any) -> Rows:
    pick = [frame.iloc[order].reset_index(drop=True) for frame in (side.features, side.target)]
    return Rows(pick[0], pick[1], "other")


def test_rows_that_came_and_went_are_counted_also_doubles(dataset: Any, tmp_path: Path) -> None:
    file = tmp_path / rows.FILE
    assert rows.keep(dataset, file)
    assert rows.new_and_gone(file, dataset) == (0, 0)
    count = len(dataset.training)
    turned = replace(dataset, training=moved(dataset.training, np.arange(count)[::-1]))
    assert rows.new_and_gone(file, turned) == (0, 0)
    doubled = replace(dataset, training=moved(dataset.training, [0, 0, *range(3, count)]))
    assert rows.new_and_gone(file, doubled) == (1, 2)


def test_row_on_the_other_side_has_moved(dataset: Any, tmp_path: Path) -> None:
    file = tmp_path / rows.FILE
    rows.keep(dataset, file)
    swapped = replace(dataset, training=dataset.holdout, holdout=dataset.training)
    assert rows.new_and_gone(file, swapped) == (442, 442)


def test_changed_target_is_a_new_row(dataset: Any, tmp_path: Path) -> None:
    file = tmp_path / rows.FILE
    rows.keep(dataset, file)
    target = dataset.holdout.target.copy()
    target.iloc[0] += 1
    changed = replace(dataset, holdout=Rows(dataset.holdout.features, target, "other"))
    assert rows.new_and_gone(file, changed) == (1, 1)


def test_two_files_have_nothing_in_common(dataset: Any, tmp_path: Path) -> None:
    kept = []
    for name in ("one.npz", "two.npz"):
        rows.keep(dataset, tmp_path / name)
        with np.load(tmp_path / name) as arrays:
            assert sorted(arrays) == ["key", "rows"]
            kept.append(set(arrays["rows"].tolist()))
    assert len(kept[0]) == len(dataset)
    assert not kept[0] & kept[1]


def test_too_many_rows_leave_no_file(dataset: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rows, "MOST", 441)
    assert not rows.keep(dataset, tmp_path / rows.FILE)
    assert list(tmp_path.iterdir()) == []
