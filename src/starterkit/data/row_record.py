"""`RowRecord`: which rows a version was made from, in hashes, as the file that its run keeps.

See docs/decisions/0012-statistics.md for what the file tells, and whom.
"""

import io
import secrets
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import blake2b
from zipfile import BadZipFile

import numpy as np
import pandas as pd

from starterkit.data.dataset import Dataset, Rows
from starterkit.errors import TrackingError

ROWS_FILE = "rows.npz"
MOST_FINGERPRINTS = 1_000_000
"""Of more rows the record holds the keys alone."""
_KEYS = "keys."

from starterkit.data.dataset import Hashes


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
