"""A share of the rows that looks like all of them, and that a larger share contains."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.data.holdout import hashed, held_out
from starterkit.problem import Problem

_BINS = 5


def sampled(problem: Problem, frame: pd.DataFrame, fraction: float) -> NDArray[np.bool_]:
    """Which of n checked rows belong to a sample of about this fraction.

    Each record, or group, has its place in an order that follows from its id alone, by the holdout's hash with a salt
    of its own; the first of each stratum are taken, so that of one source a smaller sample is part of a larger one.
    A stratum is a side of the holdout and a class, or a fifth of a regression's target.
    """
    if fraction >= 1:
        return np.ones(len(frame), dtype=bool)
    salt = f"{problem.holdout.salt or problem.name}/sample"
    names = [column.name for column in problem.key_columns if column.role == "identifier"]
    unit = frame[problem.group.name if problem.group else names[0]] if problem.group or names else _rows(frame)
    units = pd.DataFrame(
        {
            "unit": unit.astype("str").to_numpy(),
            "place": hashed(salt, unit),
            "side": held_out(problem, frame),
            "class": _classes(problem, frame[problem.target.name]).to_numpy(),
        }
    ).drop_duplicates("unit")  # a group is where its first row is
    order = units.sort_values("place").groupby(["side", "class"], sort=False).cumcount()
    sizes = units.groupby(["side", "class"], sort=False)["unit"].transform("size")
    taken = units[order.reindex(units.index) < np.maximum(1, np.rint(sizes * fraction))]
    return unit.astype("str").isin(set(taken["unit"])).to_numpy()


def _classes(problem: Problem, target: pd.Series) -> pd.Series:
    if problem.task == "classification":
        return target.astype("str")
    return pd.qcut(target.rank(method="first"), min(_BINS, len(target)), labels=False)


def _rows(frame: pd.DataFrame) -> pd.Series:
    """Where the schema has neither id nor group, a row is known by all that it holds."""
    return pd.util.hash_pandas_object(frame, index=False)
