"""`Dataset`: checked rows on their two sides, and the digests that say exactly which rows they were."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.contract import Treatment
from starterkit.errors import DataError
from starterkit.problem import Problem

Hashes = NDArray[np.uint64]


@dataclass(frozen=True)
class Rows:
    """n rows: the features in the problem's order (n × p), the target (n) and a digest of both.

    `keys` holds a 64-bit hash of each row's identifier, and of what decides its side, by column: enough to see that
    two sides share a record, also where somebody else took them apart, and without the record's name. `groups` says
    which rows belong to the same patient or machine; it is None where each row stands alone.
    """

    features: pd.DataFrame
    target: pd.Series
    digest: str
    keys: Mapping[str, Hashes] = field(default_factory=dict)
    groups: Hashes | None = None

    def __len__(self) -> int:
        return len(self.features)

    @property
    def table(self) -> pd.DataFrame:
        """The features and, as the last column, the target. Not `assign`: a target may be called ``self``."""
        return pd.concat([self.features, self.target], axis="columns")

    @property
    def columns(self) -> dict[str, NDArray[Any]]:
        """The features as a graph takes them."""
        return as_columns(self.features)


@dataclass(frozen=True)
class Dataset:
    """A problem's data as a stage sees it. `digest` covers every column of every row, in order.

    `policy` says what became of each column that the stage may not see raw.
    """

    source: str
    digest: str
    training: Rows
    holdout: Rows
    policy: Mapping[str, Treatment] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.training) + len(self.holdout)


@dataclass(frozen=True)
class Table:
    """n rows as a stage may see them, before the sides are taken apart.

    `side` says which are held out, `keys` and `groups` are those of `Rows`, `policy` is that of `Dataset`.
    """

    frame: pd.DataFrame
    side: NDArray[np.bool_]
    keys: Mapping[str, Hashes]
    groups: Hashes | None
    policy: Mapping[str, Treatment]

    def apart(self, problem: Problem, where: str) -> Dataset:
        """The two sides.

        Raises
        ------
        DataError
            A feature has no value on the training side.
        """
        training = self.frame[~self.side]
        empty = [column.name for column in problem.features if training[column.name].isna().all()]
        if empty:
            mend = "Leave the column out of the schema, or give rows that have it"
            raise DataError(f"{where} has no value of '{empty[0]}' on the training side", mend)
        sides = (self._rows(problem, side) for side in (~self.side, self.side))
        return Dataset(where, digest(self.frame), *sides, policy=self.policy)

    def _rows(self, problem: Problem, side: NDArray[np.bool_]) -> Rows:
        frame = self.frame[side]
        return Rows(
            features=frame[[column.name for column in problem.features]].reset_index(drop=True),
            target=frame[problem.target.name].reset_index(drop=True),
            digest=digest(frame),
            keys={name: hashes[side] for name, hashes in self.keys.items()},
            groups=None if self.groups is None else self.groups[side],
        )


def as_columns(frame: pd.DataFrame) -> dict[str, NDArray[Any]]:
    """One array a column: float64 for numbers, objects for texts. A missing value is NaN in both."""
    return {
        str(name): frame[name].to_numpy(dtype=object if frame[name].dtype == "str" else np.float64) for name in frame
    }


def as_records(frame: pd.DataFrame) -> list[dict[str, Any]]:
    """One mapping a row, as JSON has it: a missing value is None."""
    rows = frame.astype(object).to_dict("records")
    return [{str(name): None if pd.isna(value) else value for name, value in row.items()} for row in rows]


def digest(frame: pd.DataFrame) -> str:
    """SHA-256 over column names and values, the same for a CSV file, a Parquet file and a query with the same rows."""
    total = hashlib.sha256()
    for name in frame:
        total.update(f"{name}\x00".encode())
        total.update(pd.util.hash_pandas_object(frame[name], index=False).to_numpy().tobytes())
    return total.hexdigest()
