"""Planted rows lie where they should, and every row that ends elsewhere is counted once."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.tree import DecisionTreeRegressor

from starterkit.training.export import probe
from starterkit.training.export.conversion import Placed
from starterkit.training.export.families import family_of
from starterkit.training.export.families.trees import TreeFamily, Trees
from starterkit.training.export.probe import flipped_leaves, plant


def stumps(thresholds: list[float], columns: list[int], single: bool = False) -> Trees:
    """One tree a threshold: left where the column is at most that."""
    zeros = np.zeros(3, dtype=np.int64)
    return Trees.join(
        [
            Trees(
                roots=np.array([0]),
                feature=np.array([column, -1, -1]),
                threshold=np.array([threshold, 0.0, 0.0]),
                left=np.array([1, 0, 0]),
                right=np.array([2, 0, 0]),
                missing_left=zeros.astype(bool),
                target=zeros,
                weight=np.array([0.0, 1.0, 2.0]),
                single=single,
            )
            for threshold, column in zip(thresholds, columns, strict=True)
        ]
    )


class Library(TreeFamily):
    """Stumps at which the library itself sends rows left up to other thresholds than the graph."""

    def __init__(self, thresholds: list[float], columns: list[int]) -> None:
        self._thresholds, self._columns = thresholds, columns
        self.heights: list[int] = []

    def takes(self, kind: type) -> bool:
        return False

    def describe(self, estimator: Any) -> Any:
        raise NotImplementedError

    def leaves(self, estimator: Any, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        self.heights.append(len(rows))
        left = rows[:, self._columns] <= self._thresholds
        return np.where(left, 1, 2) + 3 * np.arange(len(self._columns))


def test_a_row_is_planted_in_the_column_of_its_threshold() -> None:
    rows = np.full((3000, 3), 0.5)
    planted = plant(rows, stumps([0.1, 0.2, 0.3], [0, 2, 2]), np.random.default_rng(0)).rows
    assert (rows == 0.5).all()  # the given rows stay as they were
    changed = planted != 0.5
    assert np.flatnonzero(changed.any(axis=1)).tolist() == list(range(0, 3000, 3))
    assert (changed.sum(axis=1) <= 1).all()
    ways = [(value, np.nextafter(value, np.inf), np.nextafter(value, -np.inf)) for value in (0.1, 0.2, 0.3)]
    assert set(planted[changed[:, 0], 0]) == set(ways[0])
    assert not changed[:, 1].any()
    assert set(planted[changed[:, 2], 2]) == {*ways[1], *ways[2]}


def test_trees_that_round_are_also_asked_right_beside_the_rounded_threshold() -> None:
    planted = plant(np.full((3000, 1), 0.5), stumps([0.1], [0], single=True), np.random.default_rng(0)).rows
    single = np.float32(0.1)
    beside = {float(np.nextafter(single, np.float32(way))) for way in (np.inf, -np.inf)}
    assert set(planted[::3, 0]) == {0.1, np.nextafter(0.1, 1), np.nextafter(0.1, 0), *beside}


def test_a_threshold_that_is_no_number_is_not_planted() -> None:
    """XGBoost and histograms split missing values from the rest at infinity."""
    planted = plant(np.zeros((300, 2)), stumps([np.inf, 0.25], [0, 1]), np.random.default_rng(0)).rows
    assert (planted[:, 0] == 0).all()
    assert 30 < (planted[::3, 1] != 0).sum() < 70  # those for which the second tree was drawn


def test_without_a_threshold_the_rows_stay() -> None:
    rows = np.zeros((9, 1))
    planted = plant(rows, stumps([np.inf], [0]), np.random.default_rng(0))
    assert (planted.rows.tolist(), planted.splits) == (rows.tolist(), 0)


@pytest.mark.parametrize(
    ("at_once", "heights"),
    [(4_000_000, [10]), (12, [4, 4, 2]), (15, [5, 5]), (2, [1] * 10)],  # leaves of three trees a row
)
def test_a_row_counts_once_however_many_leaves_and_parts(monkeypatch: Any, at_once: int, heights: list[int]) -> None:
    monkeypatch.setattr(probe, "_LEAVES_AT_ONCE", at_once)
    rows = np.column_stack([np.arange(10.0), np.arange(10.0)])
    library = Library([3.0, 6.0, 6.0], [0, 1, 1])
    placed = Placed(None, library, "rows")
    assert flipped_leaves(placed, stumps([3.0, 6.0, 6.0], [0, 1, 1]), rows) == 0
    assert library.heights == heights
    assert flipped_leaves(placed, stumps([2.0, 6.0, 6.0], [0, 1, 1]), rows) == 1
    assert flipped_leaves(placed, stumps([2.0, 4.0, 4.0], [0, 1, 1]), rows) == 3


@pytest.mark.parametrize(("single", "flipped"), [(False, 0), (True, 1)])
def test_rounding_is_part_of_the_graph_that_is_asked(single: bool, flipped: int) -> None:
    """Rounded to float32, a number that is a little larger than a half is a half."""
    rows = np.array([[0.5], [0.5 + 1e-12], [0.6]])
    assert flipped_leaves(Placed(None, Library([0.5], [0]), "rows"), stumps([0.5], [0], single), rows) == flipped


def test_a_row_with_a_missing_value_goes_the_way_that_the_trees_say() -> None:
    model = DecisionTreeRegressor(max_depth=2).fit([[0.0], [1.0], [2.0], [np.nan]], [0.0, 1.0, 2.0, 9.0])
    family = family_of(type(model))
    trees, _ = family.describe(model)
    rows = np.array([[np.nan], [1.0]])
    assert flipped_leaves(Placed(model, family, "rows"), trees, rows) == 0
    turned = replace(trees, missing_left=~trees.missing_left)
    assert flipped_leaves(Placed(model, family, "rows"), turned, rows) == 1
