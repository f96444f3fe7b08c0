"""The interval itself, on figures that are known beforehand."""

from typing import Any

import numpy as np
import pytest

from starterkit.metrics import METRICS
from starterkit.release.gate import comparison as bootstrap
from starterkit.release.gate.comparison import Shortfall, paired_shortfall

ROWS = np.arange(40)


class Counted:
    """A figure that only counts the resamples: 0, 1, 2 and so on. The first `missing` ones have none."""

    def __init__(self, missing: int = 0) -> None:
        self.seen = 0
        self._missing = missing

    def __call__(self, weights: Any) -> Any:
        numbers = np.arange(self.seen, self.seen + len(weights), dtype=float)
        self.seen += len(weights)
        return np.where(numbers < self._missing, np.nan, numbers)


def nothing(weights: Any) -> Any:
    return np.zeros(len(weights))


def mean_of(values: Any) -> Any:
    return lambda weights: (weights * values).sum(axis=1) / weights.sum(axis=1)


@pytest.mark.parametrize(
    ("metric", "low", "high"),
    [("rmse", 0.1 * 1999, 0.9 * 1999), ("r2", -0.9 * 1999, -0.1 * 1999)],
)
def test_the_bounds_are_quantiles_of_two_thousand_resamples(metric: str, low: float, high: float) -> None:
    counted = Counted()
    found = paired_shortfall(METRICS[metric], counted, nothing, ROWS, 0.1)
    assert counted.seen == 2000
    assert (found.low, found.high, found.units) == (pytest.approx(low), pytest.approx(high), 40)


@pytest.mark.parametrize(("missing", "defined"), [(20, True), (21, False)])
def test_one_resample_in_a_hundred_may_be_without_a_figure(missing: int, defined: bool) -> None:
    found = paired_shortfall(METRICS["rmse"], Counted(missing), nothing, ROWS, 0.0)
    assert np.isfinite([found.low, found.high]).tolist() == [defined, defined]
    if defined:
        assert (found.low, found.high) == (missing, 1999)


def test_the_champions_figure_is_taken_off() -> None:
    values = np.random.default_rng(0).normal(size=40)
    found = paired_shortfall(METRICS["rmse"], mean_of(values + 3), mean_of(values), ROWS, 0.05)
    assert (found.low, found.high) == (pytest.approx(3), pytest.approx(3))


def test_the_interval_is_that_of_the_textbook() -> None:
    """A mean of 400 values with a deviation of one: plus and minus 1.645 / √400 around it."""
    values = np.random.default_rng(0).normal(size=400)
    values = (values - values.mean()) / values.std()
    found = paired_shortfall(METRICS["rmse"], mean_of(values), nothing, np.arange(400), 0.05)
    assert (found.low, found.high) == (pytest.approx(-0.0822, abs=0.005), pytest.approx(0.0822, abs=0.005))


def test_memory_is_bounded_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    values, heights = np.random.default_rng(0).integers(0, 1000, 40), []  # whole numbers add up the same in any order

    def watched(weights: Any) -> Any:
        heights.append(len(weights))
        return mean_of(values)(weights)

    def interval() -> Shortfall:
        heights.clear()
        return paired_shortfall(METRICS["rmse"], watched, nothing, ROWS, 0.05)

    at_once = interval()
    assert heights == [2000]
    monkeypatch.setattr(bootstrap, "_CELLS", 40 * 300)
    assert interval() == at_once
    assert heights == [300] * 6 + [200]
    monkeypatch.setattr(bootstrap, "_CELLS", 39)  # not even one resample fits: it is drawn all the same
    assert interval() == at_once
    assert heights == [1] * 2000


def test_rows_of_a_group_are_drawn_together() -> None:
    groups, drawn = np.array([0, 1, 1, 2, 2, 2]), []

    def watched(weights: Any) -> Any:
        drawn.append(weights)
        return np.zeros(len(weights))

    assert paired_shortfall(METRICS["rmse"], watched, nothing, groups, 0.05).units == 3
    weights = np.concatenate(drawn)
    assert weights.shape == (2000, 6)
    assert weights.dtype == np.float64
    np.testing.assert_array_equal(weights, weights[:, [0, 1, 1, 3, 3, 3]])
    once = weights[:, [0, 1, 3]]
    assert (once.sum(axis=1) == 3).all()
    assert len(np.unique(once, axis=0)) == 10  # every way to draw three of three
    np.testing.assert_allclose(once.mean(axis=0), 1, atol=0.06)
