"""Generalising: a number becomes the middle of its band, what has no bands becomes one and the same value."""

from typing import TYPE_CHECKING

from starterkit.contract import Column, Scalar

if TYPE_CHECKING:
    import pandas as pd

_BANDS = 12


def has_bands(column: Column) -> bool:
    """Whether the schema bounds the column's numbers, so that they fall into bands."""
    bounded = column.minimum is not None and column.maximum is not None
    return bounded and column.type in ("float", "integer") and not column.categories


def generalised(column: Column, values: "pd.Series") -> "pd.Series":
    """n values as the middles of their bands, one of at most twelve between the schema's bounds.

    Types, and what is missing, stay.
    """
    if not has_bands(column):
        same = column.categories[0] if column.categories else False
        return values.mask(values.notna(), same)
    lowest, highest = float(column.minimum or 0), float(column.maximum or 0)
    bands = _BANDS
    if column.type == "integer":  # a band of a single whole number would show it
        bands = int(max(1, min(bands, (highest - lowest + 1) // 2)))
    width = (highest - lowest) / bands or 1.0
    band = ((values.astype("float64") - lowest) / width).clip(0, bands - 1) // 1
    middle = lowest + (band + 0.5) * width
    return (middle // 1 if column.type == "integer" else middle).clip(lowest, highest).astype(values.dtype)


def emptied(column: Column, values: "pd.Series") -> "pd.Series":
    """A dropped column: one value that the schema allows, so that a model finds it there and learns nothing of it."""
    import pandas as pd

    return pd.Series([_nothing(column)] * len(values), index=values.index, name=values.name).astype(values.dtype)


def _nothing(column: Column) -> Scalar:
    if column.categories:
        return column.categories[0]
    if column.type in ("float", "integer"):
        lowest, highest = column.minimum, column.maximum
        if lowest is not None and highest is not None:
            middle = (lowest + highest) / 2
            return middle // 1 if column.type == "integer" else middle
        return next((bound for bound in (lowest, highest) if bound is not None), 0.0)
    return False if column.type == "boolean" else "dropped"
