"""Bounds and categories are wide enough for the next file, and nobody's own value."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from starterkit.cli.init.profile import bounds, categories, look, same_values


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        ([19, 79, 40], 10, 90),
        ([0, 16], 0, 20),
        ([6.981, 28.11], 0, 40),
        ([0.05263, 0.1634], 0, 0.2),
        ([-3.2, 2.9], -4, 4),
        ([-500, -20], -600, 0),
        ([1990, 2020], 1980, 2030),
        ([7, 7], 6, 8),
    ],
)
def test_bounds_are_rounded_outwards(values: list[float], low: float, high: float) -> None:
    assert bounds(look("x", pd.Series(values))) == (low, high)


def test_no_bound_is_somebody_s_value_and_none_is_outside() -> None:
    random = np.random.default_rng(0)
    for scale in 10.0 ** np.arange(-6, 7):
        values = pd.Series(random.normal(size=50) * scale)
        low, high = bounds(look("x", values))
        assert low < values.min() < values.max() < high
        assert high - low < 4 * (values.max() - values.min())


@pytest.mark.parametrize(
    ("values", "sensitive", "listed"),
    [
        (["f", "m"] * 10, True, ("f", "m")),
        (["f"] * 20 + ["x"] * 4, True, ()),  # four people are few
        (["a"] * 20 + ["x"] * 4, False, ("a", "x")),
        ([f"value {row}" for row in range(40)], False, ()),
        (["a long way of saying it: " + "x" * 30, "b"] * 10, False, ()),
        ([f"a faith with long name {row % 2}" for row in range(40)], True, ()),
        (["a\nb", "c"] * 20, False, ()),
        ([1, 2] * 20, False, (1, 2)),
        ([1, 2, 3] * 20, False, ()),
        ([1, 2, 3] * 20, True, (1, 2, 3)),
    ],
)
def test_categories_are_few_short_and_shared(values: list[Any], sensitive: bool, listed: tuple[Any, ...]) -> None:
    assert categories(look("x", pd.Series(values)), sensitive) == listed


def test_columns_that_say_the_same_are_found_and_others_are_not() -> None:
    codes = pd.Series([1, 2, 3] * 20)
    assert same_values(codes, codes.map({1: "a", 2: "b", 3: "c"}))
    assert not same_values(codes, codes.sample(frac=1, random_state=0, ignore_index=True))
    different = pd.Series(np.random.default_rng(0).normal(size=60))
    assert same_values(different, different.copy())
    assert not same_values(different, different * 2)
    assert not same_values(codes, codes.where(codes.index > 3))
