"""`Dataset`: checked rows on their two sides, the frozen holdout that parts them, and which rows exactly they were."""

import hashlib
import io
import secrets
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from typing import Any
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.contract import COMMAS, LEAST_PEOPLE, Column, Dialect, Treatment
from starterkit.data.checking import to_dates
from starterkit.data.masking import StageKey, row_keys
from starterkit.data.policy import Policy
from starterkit.errors import DataError, TrackingError
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

    `policy` says what became of each column that the stage may not see raw, `dialect` how the source's text is written.
    `recent` are those of the training side's rows that show the world as it is now, where older ones do not.
    """

    source: str
    digest: str
    training: Rows
    holdout: Rows
    policy: Mapping[str, Treatment] = field(default_factory=dict)
    dialect: Dialect = COMMAS
    recent: Rows | None = None

    def __len__(self) -> int:
        return len(self.training) + len(self.holdout)

    @property
    def identity(self) -> dict[str, Any]:
        """What a lineage says of the data, which is none of its rows."""
        return {
            "data_source": self.source,
            "data_digest": self.digest,
            "holdout_digest": self.holdout.digest,
            "rows": len(self),
            "policy": self.policy,
        }


@dataclass(frozen=True)
class Table:
    """n rows as a stage may see them, before they are split.

    `held_out` says which rows are, `keys` and `groups` are those of `Rows`, `policy` is that of `Dataset`.
    """

    frame: pd.DataFrame
    held_out: NDArray[np.bool_]
    keys: Mapping[str, Hashes]
    groups: Hashes | None
    policy: Mapping[str, Treatment]

    def split(self, problem: Problem, where: str) -> Dataset:
        """The two sides.

        Raises
        ------
        DataError
            A feature has no value on the training side.
        """
        training = self.frame[~self.held_out]
        known = training.notna().any().to_dict()
        if empty := [column.name for column in problem.features if not known[column.name]]:
            hint = "Leave the column out of the schema, or give rows that have it"
            raise DataError(f"{where} has no value of '{empty[0]}' on the training side", hint)
        sides = (self._rows(problem, side) for side in (~self.held_out, self.held_out))
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

PARTS = ("low", "middle", "high")


def slices_of(problem: Problem, dataset: Dataset) -> dict[str, NDArray[np.bool_]]:
    """By name, which of the holdout's n rows belong to each part that the problem's `slices` ask for.

    A column with categories has a part for each, another number three of about equal size, cut at quantiles of the
    training side; missing values are a part of their own. No part has fewer than five people, for a figure of one
    would be a person's: such parts are one, ``city rare``, and where these are still too few, the next larger joins
    them, for else their figure would follow from all the others'. A column that is then one part is left out.
    """
    chosen = {column.name: column for column in problem.features if column.name in problem.slices}
    parts: dict[str, NDArray[np.bool_]] = {}
    for name, column in chosen.items():
        told = dict(_parts(column, dataset.training.features[name], dataset.holdout.features[name]))
        parts |= _told_by_many(name, told, dataset.holdout.groups)
    return parts


def people_among(rows: NDArray[np.bool_], people: NDArray[Any] | None) -> int:
    """How many people some of n rows are of; each row is somebody's own where `people` is None."""
    return int(rows.sum()) if people is None else len(np.unique(people[rows]))


def _told_by_many(
    name: str, parts: Mapping[str, NDArray[np.bool_]], people: Hashes | None
) -> dict[str, NDArray[np.bool_]]:
    told = {part: rows for part, rows in parts.items() if rows.any()}
    sizes = {part: people_among(rows, people) for part, rows in told.items()}
    rare = [part for part in told if sizes[part] < LEAST_PEOPLE]
    if not rare:
        return told
    others = sorted((part for part in told if part not in rare), key=sizes.__getitem__)
    joined = np.any([told[part] for part in rare], axis=0)
    while others and people_among(joined, people) < LEAST_PEOPLE:
        joined |= told[others.pop(0)]
    kept = {part: rows for part, rows in told.items() if part in others}
    return kept | {f"{name} rare": joined} if kept else {}


def _parts(column: Column, training: pd.Series, holdout: pd.Series) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    if column.categories or column.type == "boolean":
        for value in column.categories or (False, True):
            yield f"{column.name}={value}", (holdout == value).to_numpy()
    else:
        # The cuts are not shown: each could be one person's value.
        cuts = np.quantile(training.dropna(), [1 / 3, 2 / 3])
        part = np.searchsorted(cuts, holdout.to_numpy(dtype=np.float64), side="left")
        for place, word in enumerate(PARTS):
            yield f"{column.name} {word}", (part == place) & holdout.notna().to_numpy()
    yield f"{column.name} missing", holdout.isna().to_numpy()


# --- `RowRecord`: which rows a version was made from, in hashes, as the file that its run keeps.
#
# See docs/decisions/0012-statistics.md for what the file tells, and whom.

ROWS_FILE = "rows.npz"
MOST_FINGERPRINTS = 1_000_000
"""Of more rows the record holds the keys alone."""
_KEYS = "keys."


@dataclass(frozen=True)
class RowRecord:
    """Sorted 64-bit hashes, all made with a salt of the record's own.

    `keys` are those of the training side's identifiers, and of the group or time that decides a side, by column.
    `fingerprints` are those of every row's features, target and side, without the id; None where there are too many.
    """

    salt: bytes
    keys: Mapping[str, Hashes]
    fingerprints: Hashes | None

    @classmethod
    def of(cls, dataset: Dataset) -> "RowRecord":
        """The record of a training on a data set."""
        salt = secrets.token_bytes(16)
        keys = {name: np.sort(column) for name, column in _keys(dataset.training, salt).items()}
        return cls(salt, keys, _fingerprints(dataset, salt) if len(dataset) <= MOST_FINGERPRINTS else None)

    @classmethod
    def from_bytes(cls, content: bytes | None, owner: str) -> "RowRecord | None":
        """What a file of `owner` says; None without a file, and for one of a kit that wrote it otherwise.

        Raises
        ------
        TrackingError
            The file cannot be read.
        """
        if content is None:
            return None
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as archive:
                arrays = dict(archive)
        # The last two: numpy takes a single array for one, and zipfile an unknown flag.
        except (ValueError, OSError, EOFError, BadZipFile, TypeError, NotImplementedError) as error:
            raise TrackingError(f"'{ROWS_FILE}' of {owner} cannot be read", "Train again") from error
        if "salt" not in arrays:
            return None
        keys = {name.removeprefix(_KEYS): column for name, column in arrays.items() if name.startswith(_KEYS)}
        return cls(arrays["salt"].tobytes(), keys, arrays.get("fingerprints"))

    def to_bytes(self) -> bytes:
        """The file's content."""
        arrays = {"salt": np.frombuffer(self.salt, np.uint8)} | {f"{_KEYS}{name}": k for name, k in self.keys.items()}
        if self.fingerprints is not None:
            arrays["fingerprints"] = self.fingerprints
        buffer = io.BytesIO()
        np.savez(buffer, allow_pickle=False, **arrays)
        return buffer.getvalue()

    def trained_on(self, rows: Rows) -> int | None:
        """Of how many rows the record or the group was on the training side; None if it knows other columns."""
        asked = _keys(rows, self.salt)
        if not asked or not asked.keys() <= self.keys.keys():
            return None
        return int(np.any([np.isin(column, self.keys[name]) for name, column in asked.items()], axis=0).sum())

    def new_and_gone(self, dataset: Dataset) -> tuple[int, int] | None:
        """How many rows a data set has that the record doesn't know, and the reverse. A changed row is both."""
        if self.fingerprints is None:
            return None
        then, now = Counter(self.fingerprints.tolist()), Counter(_fingerprints(dataset, self.salt).tolist())
        return (now - then).total(), (then - now).total()


def _keys(rows: Rows, salt: bytes) -> dict[str, Hashes]:
    return {name: _hashed(column, salt, b"key") for name, column in rows.keys.items()}


def _fingerprints(dataset: Dataset, salt: bytes) -> Hashes:
    made = []
    for side, rows in ((b"training", dataset.training), (b"holdout", dataset.holdout)):
        made.append(_hashed(pd.util.hash_pandas_object(rows.table, index=False).to_numpy(), salt, side))
    return np.sort(np.concatenate(made))  # in order of size: no hash is known by its row's place


def _hashed(values: Iterable[np.uint64], salt: bytes, person: bytes) -> Hashes:
    made = (blake2b(value.tobytes(), digest_size=8, key=salt, person=person).digest() for value in values)
    return np.frombuffer(b"".join(made), np.uint64)
