"""How closely two predictions agree. See docs/decisions/0005-parity.md for the measures and their limits."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from starterkit.contract import Parity, Prediction

_TIE = 1e-12
"""Two probabilities that differ by less are equal but for the order in which the same numbers were summed."""


def compare(expected: Prediction, answered: Prediction, *, allowed: float, scale: float) -> Parity:
    """The largest difference over n rows.

    Parameters
    ----------
    expected, answered
        What the estimator said, and what the graph says, for the same rows.
    allowed
        The largest difference that still counts as the same answer.
    scale
        Regression: the target's standard deviation; a difference is |a − b| / max(|b|, scale).
        Probabilities are compared absolutely, for a small one may differ by half of itself and mean nothing.
    """
    if expected.probabilities is None or answered.probabilities is None:
        difference = _difference(expected.values, answered.values) / np.maximum(np.abs(expected.values), scale)
        return Parity(
            rows=len(expected.values),
            measure="relative difference",
            largest=_largest(difference),
            allowed=allowed,
            scale=scale,
        )
    difference = _difference(expected.probabilities, answered.probabilities)
    ordered = np.sort(expected.probabilities, axis=1)
    tied = ordered[:, -1] - ordered[:, -2] <= _TIE
    return Parity(
        rows=len(expected.values),
        measure="difference in probability",
        largest=_largest(difference),
        allowed=allowed,
        scale=scale,
        flipped_labels=int(np.sum((answered.values != expected.values) & ~tied)),
        ties=int(np.sum(tied)),
    )


def _difference(expected: NDArray[Any], answered: NDArray[Any]) -> NDArray[np.float64]:
    """Absolute differences; infinite ones where the answers don't even have the same shape."""
    if expected.shape != answered.shape:
        return np.full(len(expected), np.inf)
    return np.abs(answered - expected)


def _largest(difference: np.ndarray) -> float:
    """The maximum, where an answer that is not a number counts as infinitely wrong."""
    return float(np.nan_to_num(difference, nan=np.inf, posinf=np.inf).max(initial=0.0))
