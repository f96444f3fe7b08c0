"""Parts of the holdout that are looked at by themselves."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.contract import Column
from starterkit.data.dataset import Dataset
from starterkit.problem import Problem

_PARTS = ("low", "middle", "high")


def slices_of(problem: Problem, dataset: Dataset) -> dict[str, NDArray[np.bool_]]:
    """By name, which of the holdout's n rows belong to each part that the problem's `slices` ask for.

    A column with categories has a part for each, another number three of about equal size, cut at quantiles of the
    training side; missing values are a part of their own. A part without rows is left out.
    """
    chosen = {column.name: column for column in problem.features if column.name in problem.slices}
    parts: dict[str, NDArray[np.bool_]] = {}
    for name, column in chosen.items():
        parts |= dict(_parts(column, dataset.training.features[name], dataset.holdout.features[name]))
    return {name: rows for name, rows in parts.items() if rows.any()}


def _parts(column: Column, training: pd.Series, holdout: pd.Series) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    if column.categories or column.type == "boolean":
        for value in column.categories or (False, True):
            yield f"{column.name}={value}", (holdout == value).to_numpy()
    else:
        # The cuts are not shown: each could be one person's value.
        cuts = np.quantile(training.dropna(), [1 / 3, 2 / 3])
        part = np.searchsorted(cuts, holdout.to_numpy(dtype=np.float64), side="left")
        for place, word in enumerate(_PARTS):
            yield f"{column.name} {word}", (part == place) & holdout.notna().to_numpy()
    yield f"{column.name} missing", holdout.isna().to_numpy()
