"""The frozen holdout, by what a row is known again, and the slices that are looked at by themselves."""

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.contract import Column
from starterkit.data.checking import to_dates
from starterkit.data.dataset import Dataset, Hashes
from starterkit.data.privacy.masking import StageKey, row_keys
from starterkit.data.privacy.policy import Policy
from starterkit.errors import DataError
from starterkit.problem import Problem

# --- The frozen holdout: a row's side follows from its id alone. See docs/decisions/0004-frozen-holdout.md.

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


# --- By what a row is known again: hashes of its identifier, of its group, and of what decides its side.


def hashes_of(problem: Problem, frame: pd.DataFrame, policy: Policy, key: StageKey | None) -> dict[str, Hashes]:
    """A 64-bit hash a row, by column.

    Where the stage may not see identifiers the hash is keyed: from a plain one, every id could be tried.
    """
    asked = {column.name for column in (*problem.key_columns, problem.group) if column}
    if not policy.hides_identifiers or key is None:
        return {name: hashed(problem.name, frame[name]) for name in asked}
    purpose = "made-up row" if policy.mocks else "row"
    return {name: row_keys(frame[name], key, purpose) for name in asked}


def keys_among(problem: Problem, hashes: Mapping[str, Hashes], policy: Policy, fingerprint: str) -> dict[str, Hashes]:
    """The hashes that are the rows' keys. A keyed one's name says with which key: two have nothing in common."""
    suffix = f"@{fingerprint[:8]}" if policy.hides_identifiers else ""
    return {f"{column.name}{suffix}": hashes[column.name] for column in problem.key_columns}


# --- Parts of the holdout that are looked at by themselves.

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
