"""Made-up rows: of the kind that the data holds and the schema allows, and nobody's."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from starterkit.contract import Column, ColumnType, Scalar

_MISSING_SHARE = 0.05
_UNSEEN_SHARE = 0.02
_FEW = 5
_UNSEEN = "made up, and never seen"
_PLAIN: Mapping[ColumnType, Callable[[Any], Scalar]] = {"float": float, "integer": int, "boolean": bool, "string": str}


def draw_rows(columns: tuple[Column, ...], seen: pd.DataFrame, rows: int, seed: int) -> pd.DataFrame:
    """Made-up rows with the features' names and types.

    Half of a numeric column's values are drawn from those seen, each column by itself, so that no person's row
    is kept; the others are even over the schema's bounds, or those seen where it has none. Texts that the schema does
    not list are now and then one that nobody has seen.
    """
    random = np.random.default_rng(seed)
    drawn = {column.name: _draw(column, seen[column.name], rows, random) for column in columns}
    return pd.DataFrame(drawn)


def _draw(column: Column, seen: pd.Series, rows: int, random: np.random.Generator) -> pd.Series:
    known = seen.dropna()
    values = known.sample(rows, replace=True, random_state=random).reset_index(drop=True)
    if column.type in ("float", "integer") and not column.categories:
        low = known.min() if column.minimum is None else column.minimum
        high = known.max() if column.maximum is None else column.maximum
        even = pd.Series(random.uniform(low, high, rows))
        even = even.round() if column.type == "integer" else even
        values = values.where(random.random(rows) < 0.5, even.astype(values.dtype))
    elif column.categories:
        values = pd.Series(random.choice(np.array(column.categories), rows)).astype(values.dtype)
    elif column.type == "string":
        values = values.where(random.random(rows) >= _UNSEEN_SHARE, _UNSEEN)
    if column.nullable:
        values = values.where(random.random(rows) >= _MISSING_SHARE)
    return values


def typical_row(columns: tuple[Column, ...], seen: pd.DataFrame) -> dict[str, Scalar]:
    """A row of medians and most frequent values: plausible, and nobody's.

    It stands in the contract and in the API's pages. A text that the schema does not list and few rows share could be
    somebody's, and is not shown.
    """
    row: dict[str, Scalar] = {}
    for column in columns:
        known = seen[column.name].dropna()
        numeric = column.type in ("float", "integer") and not column.categories
        value = float(f"{known.median():.12g}") if numeric else _most_frequent(column, known)  # 537.6, not 537.59999999
        row[column.name] = _PLAIN[column.type](value)
    return row


def _most_frequent(column: Column, known: pd.Series) -> Scalar:
    value = known.mode().iloc[0]
    open_text = column.type == "string" and not column.categories
    return _UNSEEN if open_text and (known == value).sum() < _FEW else value
