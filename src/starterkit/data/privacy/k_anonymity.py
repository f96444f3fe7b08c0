"""What masking did to the rows: how alone a person is among them, and how far the columns moved."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from starterkit.contract import Column
from starterkit.data.dataset import Table
from starterkit.data.privacy.policy import Policy
from starterkit.errors import Refused
from starterkit.problem import Problem


@dataclass(frozen=True)
class KAnonymity:
    """How many rows share their values: the smallest group (k), the number of groups, the groups of one row.

    k says how many people an outsider who knows these columns cannot tell apart (Sweeney, 2002).
    """

    smallest: int
    groups: int
    alone: int


def k_anonymity(frame: pd.DataFrame, names: Sequence[str], people: pd.Series | None = None) -> KAnonymity:
    """The groups of rows with the same values in these columns; `people` says which rows are the same person's."""
    if not names:
        return KAnonymity(len(frame), 1, 0)
    by = [frame[name].astype("str").fillna("") for name in names]
    groups = frame.index.to_series().groupby(by, sort=False)
    sizes = groups.size() if people is None else people.groupby(by, sort=False).nunique()
    return KAnonymity(int(sizes.min()), len(sizes), int((sizes == 1).sum()))


@dataclass(frozen=True)
class Shift:
    """How far a column's distribution moved, from 0 (not at all) to 1 (nothing in common)."""

    measure: str
    value: float


def shift(column: Column, before: pd.Series, after: pd.Series) -> Shift:
    """The Kolmogorov-Smirnov statistic of numbers, the total variation distance of anything else."""
    if column.type in ("float", "integer") and not column.categories:
        from scipy.stats import ks_2samp

        known = [values.dropna().to_numpy(np.float64) for values in (before, after)]
        if all(map(len, known)):
            return Shift("Kolmogorov-Smirnov", float(ks_2samp(*known).statistic))
    shares = [values.astype("str").fillna("").value_counts(normalize=True) for values in (before, after)]
    difference = shares[0].sub(shares[1], fill_value=0).abs().sum() / 2
    return Shift("total variation", float(difference))


def overlap(raw: pd.Series, table: pd.DataFrame) -> int:
    """How many cells of a masked table still hold one of the raw identifiers."""
    known = set(raw.astype("str"))
    texts = [table[name] for name in table if not pd.api.types.is_numeric_dtype(table[name])]
    return sum(int(text.astype("str").isin(known).sum()) for text in texts)


# --- As the proof and the report tell it.


def measure(problem: Problem, raw: pd.DataFrame, after: Table, table: pd.DataFrame, policy: Policy) -> dict[str, Any]:
    """How alone people are, what is left of hidden identifiers in `table`, which is written, and how columns moved.

    Raises
    ------
    Refused
        A raw value of a hidden identifier is still there.
    """
    hidden = [c.name for c in problem.columns if c.sensitivity == "identifier" and policy.treatments[c.name] != "raw"]
    found = {name: overlap(raw[name], table) for name in hidden}
    for name, count in found.items():
        if count:
            what = f"{count} values of '{name}' are still in the data"
            raise Refused(what, "Look for a feature that repeats the identifier, and leave it out of the schema")
    return {
        "crowds": _crowds(problem, raw, after.frame),
        "overlap": found,
        "shifts": {
            column.name: asdict(shift(column, raw[column.name], after.frame[column.name]))
            for column in (*problem.features, problem.target)
        },
    }


def _crowds(problem: Problem, before: pd.DataFrame, after: pd.DataFrame) -> list[dict[str, Any]]:
    """k over the sensitive features, and with the target: who knows the answer, too, may find more."""
    features = [column.name for column in problem.features if column.sensitivity == "sensitive"]
    asked = [(features, False)] if features else []
    if problem.target.sensitivity == "sensitive":
        asked.append(([*features, problem.target.name], True))
    people = before[problem.group.name] if problem.group else None
    return [
        {
            "columns": names,
            "with_target": with_target,
            "before": asdict(k_anonymity(before, names, people)),
            "after": asdict(k_anonymity(after, names, people)),
        }
        for names, with_target in asked
    ]
