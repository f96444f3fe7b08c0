"""The frozen holdout: a row's side follows from its id alone. See docs/decisions/0004-frozen-holdout.md."""

import hashlib
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.data.conversion import to_dates
from starterkit.errors import DataError
from starterkit.problem import Problem

_WHOLE = 2.0**64


def held_out(problem: Problem, frame: pd.DataFrame) -> NDArray[np.bool_]:
    """Which of n checked rows are on the holdout's side.

    Raises
    ------
    DataError
        One side would be empty.
    """
    values = frame[problem.side_column.name]
    if problem.holdout.cutoff:
        # Python reads more of ISO 8601 than pandas, such as 2026-W05-1; what is no date for pandas has nobody after it.
        cutoff = to_dates(pd.Series([datetime.fromisoformat(problem.holdout.cutoff)]))[0].iloc[0]
        side = (to_dates(values)[0] >= cutoff).to_numpy()
    else:
        # A share in [0, 1) that is spread evenly over ids and the same on every machine, in every stage.
        salt = problem.holdout.salt or problem.name
        side = hashed(salt, values) / _WHOLE < problem.holdout.fraction
    if side.all() or not side.any():
        empty = "training" if side.all() else "holdout"
        raise DataError(f"the {empty} side has none of the {len(side)} rows", "Give more rows, or another Holdout")
    return side


def hashed(salt: str, values: pd.Series) -> NDArray[np.uint64]:
    """The first 64 bits of SHA-256 over the salt and each of n values."""
    digests = (hashlib.sha256(f"{salt}\x00{value}".encode()).digest()[:8] for value in values)
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)
