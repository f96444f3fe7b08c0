"""The frozen holdout: a row's side follows from its id alone. See docs/decisions/0004-frozen-holdout.md."""

import hashlib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.data.conversion import to_dates
from starterkit.errors import DataError
from starterkit.problem import Problem

_WHOLE = 2**64


def held_out(problem: Problem, frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Which of n checked rows are on the holdout's side.

    Raises
    ------
    DataError
        One side would be empty.
    """
    values = frame[problem.side_column.name]
    if problem.holdout.cutoff:
        cutoff = to_dates(pd.Series([problem.holdout.cutoff]))[0].iloc[0]
        side = (to_dates(values)[0] >= cutoff).to_numpy()
    else:
        salt = problem.holdout.salt or problem.name
        side = np.fromiter((_share(salt, value) < problem.holdout.fraction for value in values), bool, len(values))
    if side.all() or not side.any():
        empty = "training" if side.all() else "holdout"
        raise DataError(f"the {empty} side has none of the {len(side)} rows", "Give more rows, or another Holdout")
    return side


def _share(salt: str, identifier: object) -> float:
    """A number in [0, 1) that is spread evenly over ids and the same on every machine, in every stage."""
    digest = hashlib.sha256(f"{salt}\x00{identifier}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / _WHOLE
