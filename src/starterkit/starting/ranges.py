"""Bounds and categories for the schema: wide enough for the next file, and nobody's own value."""

import math

import pandas as pd

from starterkit.contract import Scalar
from starterkit.starting.looking import Sight

_MOST_CATEGORIES = 20
_LONGEST_CATEGORY = 40
_LONGEST_SENSITIVE = 20
_FEWEST_ROWS_EACH = 5
"""A value that fewer rows share could point at somebody."""


def bounds(sight: Sight) -> tuple[float, float]:
    """The smallest and the largest value, a tenth of their distance further out, rounded outwards to a digit or two.

    So no bound is a row's own value. What is never negative gets no negative bound.
    """
    low, high = float(sight.known.min()), float(sight.known.max())
    span = (high - low) or abs(high) or 1.0
    exponent = math.floor(math.log10(span))
    if sight.kind == "integer":
        exponent = max(exponent, 0)
    wider = low - span / 10, high + span / 10
    lowest, highest = _down(wider[0], exponent), -_down(-wider[1], exponent)
    if low >= 0:
        lowest = max(lowest, 0.0)
    if high <= 0:
        highest = min(highest, 0.0)
    return lowest, highest


def _down(value: float, exponent: int) -> float:
    steps = math.floor(value / 10.0**exponent)
    return float(steps * 10**exponent) if exponent >= 0 else float(f"{steps}e{exponent}")


def categories(sight: Sight, sensitive: bool) -> tuple[Scalar, ...]:
    """The values of a text, or of a sensitive or two-valued whole number; empty where they are not to be listed.

    They are few and short, and several rows share each of them: a name or an address never is.
    """
    counts = sight.known.value_counts()
    if sight.kind == "integer":
        few = len(counts) == 2 or (sensitive and len(counts) <= 5)
        whole = counts.min() >= _FEWEST_ROWS_EACH and few
        return tuple(sorted(int(value) for value in counts.index)) if whole else ()
    if sight.kind != "text" or len(counts) > _MOST_CATEGORIES:
        return ()
    longest = _LONGEST_SENSITIVE if sensitive else _LONGEST_CATEGORY
    short = all(len(str(value)) <= longest and str(value).isprintable() for value in counts.index)
    shared = counts.min() >= _FEWEST_ROWS_EACH if sensitive else counts.mean() >= _FEWEST_ROWS_EACH
    return tuple(sorted(map(str, counts.index))) if short and shared else ()


def same_values(one: pd.Series, other: pd.Series) -> bool:
    """Whether two columns say the same in every row; where values repeat often, also in other words or numbers."""
    if (one.isna() != other.isna()).any():
        return False
    if one.nunique() > len(one) / 10:  # values that hardly repeat can always be translated into each other
        return one.dtype == other.dtype and bool(((one == other) | one.isna()).all())
    return bool((pd.factorize(one)[0] == pd.factorize(other)[0]).all())
