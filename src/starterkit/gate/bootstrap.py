"""How sure a difference between two versions is, when both answered the same rows."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from starterkit.metrics import Metric, WeightedFigure

_RESAMPLES = 2000
_CELLS = 2_000_000
"""Weights held at once: 16 MB, however many rows there are."""
_SEED = 7919
_LEAST_DEFINED = 0.99


@dataclass(frozen=True)
class Shortfall:
    """Between which bounds one version is worse than another, in the metric's own unit; negative where it is better.

    `units` counts what is independent: rows, or groups. The bounds are NaN where too many resamples have no figure,
    such as those that lack a class.
    """

    low: float
    high: float
    units: int


def paired_shortfall(
    metric: Metric,
    challenger: WeightedFigure,
    champion: WeightedFigure,
    groups: NDArray[np.integer],
    error_rate: float,
) -> Shortfall:
    """The shortfall of the challenger over n rows, with the percentile bootstrap's interval.

    Each resample draws rows with replacement, the same for both, so that what is hard for both cancels out. Rows of
    one group are drawn together, for they are not independent. The same rows give the same interval, always.

    Parameters
    ----------
    groups
        For each of n rows the number of its group, from 0. Where rows are independent, each has its own.
    error_rate
        The chance of each bound to be on the wrong side: 0.05 gives the two bounds of a 90% interval.

    Notes
    -----
    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 8 and 13.
    """
    sign = -1 if metric.greater_is_better else 1
    drawn = [sign * (challenger(weights) - champion(weights)) for weights in _resamples(groups)]
    differences = np.concatenate(drawn)
    defined = differences[np.isfinite(differences)]
    low = high = float("nan")
    if len(defined) >= _LEAST_DEFINED * len(differences):
        low, high = np.quantile(defined, [error_rate, 1 - error_rate])
    return Shortfall(float(low), float(high), _count(groups))


def _resamples(groups: NDArray[np.integer]) -> Iterator[NDArray[np.float64]]:
    """Weights for some resamples at a time, b × n."""
    random, units = np.random.default_rng(_SEED), _count(groups)
    at_once = max(1, _CELLS // len(groups))
    for begin in range(0, _RESAMPLES, at_once):
        count = min(at_once, _RESAMPLES - begin)
        draws = random.integers(0, units, (count, units)) + units * np.arange(count)[:, None]
        times = np.bincount(draws.ravel(), minlength=count * units).reshape(count, units)
        yield times[:, groups].astype(np.float64)


def _count(groups: NDArray[np.integer]) -> int:
    return int(groups.max()) + 1
