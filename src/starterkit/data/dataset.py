"""`Dataset`: checked rows on their two sides, and the digests that say exactly which rows they were."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.contract import Treatment
from starterkit.data.checking import check_frame
from starterkit.data.holdout import hashed, held_out
from starterkit.data.sources import open_source
from starterkit.errors import DataError
from starterkit.privacy import as_seen, require_policy
from starterkit.problem import Problem
from starterkit.settings import DataSettings, Stage, mask


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
    keys: Mapping[str, NDArray[np.uint64]] = field(default_factory=dict)
    groups: NDArray[np.uint64] | None = None

    def __len__(self) -> int:
        return len(self.features)

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


class DatasetReader:
    """Reads a stage's source, checks it against the schema and takes the two sides apart."""

    def __init__(self, problem: Problem, settings: DataSettings, root: Path, stage: Stage) -> None:
        self._problem = problem
        self._settings = settings
        self._root = root
        self._stage = stage

    def read(self) -> Dataset:
        """
        Raises
        ------
        DataError
            The stage may not see a column, or the source cannot be read, does not fit the schema, or leaves one side
            of the holdout or a feature empty.
        ProblemError
            The project's `load` fails.
        """
        where = mask(self._settings.source)  # it is logged, and an environment variable may hold a password
        require_policy(self._stage, self._problem.columns)
        source = open_source(self._settings, self._root, self._problem)
        frame = check_frame(self._problem, self._problem.read(source), where)
        side = held_out(self._problem, frame)
        frame, policy = as_seen(self._stage, self._problem.columns, frame)  # the sides are the same in every stage
        training = frame[~side]
        empty = [column.name for column in self._problem.features if training[column.name].isna().all()]
        if empty:
            mend = "Leave the column out of the schema, or give rows that have it"
            raise DataError(f"{where} has no value of '{empty[0]}' on the training side", mend)
        return Dataset(
            source=where,
            digest=digest(frame),
            training=self._rows(training),
            holdout=self._rows(frame[side]),
            policy=policy,
        )

    def _rows(self, frame: pd.DataFrame) -> Rows:
        problem = self._problem
        names = [column.name for column in problem.features]
        return Rows(
            features=frame[names].reset_index(drop=True),
            target=frame[problem.target.name].reset_index(drop=True),
            digest=digest(frame),
            keys={column.name: hashed(problem.name, frame[column.name]) for column in problem.key_columns},
            groups=hashed(problem.name, frame[problem.group.name]) if problem.group else None,
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
