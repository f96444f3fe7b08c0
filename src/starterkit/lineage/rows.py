"""Fingerprints of rows: how many are new and how many are gone, without keeping a row."""

import secrets
from collections import Counter
from hashlib import blake2b
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.data import Dataset

FILE = "rows.npz"
MOST = 1_000_000
"""Of more rows no fingerprints are kept; their number and digest are."""
_BYTES = 8


def keep(dataset: Dataset, file: Path) -> bool:
    """Write the fingerprints of a training's rows to `file`; False where the rows are too many.

    The key is the training's own, so that nobody can tell by two files whether two data sets share a row.
    """
    if len(dataset) > MOST:
        return False
    key = secrets.token_bytes(16)
    np.savez(file, allow_pickle=False, key=np.frombuffer(key, np.uint8), rows=_fingerprints(dataset, key))
    return True


def new_and_gone(file: Path, dataset: Dataset) -> tuple[int, int]:
    """How many rows the data has that the file doesn't know, and the reverse. A changed row is both."""
    with np.load(file, allow_pickle=False) as kept:
        then, now = Counter(kept["rows"].tolist()), Counter(_fingerprints(dataset, kept["key"].tobytes()).tolist())
    return (now - then).total(), (then - now).total()


def _fingerprints(dataset: Dataset, key: bytes) -> NDArray[np.uint64]:
    """One number for each row's features, target and side, in no order that says anything. Ids are left out."""
    made = []
    for side, rows in ((b"training", dataset.training), (b"holdout", dataset.holdout)):
        table = rows.features.assign(**{str(rows.target.name): rows.target})
        for row in pd.util.hash_pandas_object(table, index=False).to_numpy():
            made.append(blake2b(row.tobytes(), digest_size=_BYTES, key=key, person=side).digest())
    return np.sort(np.frombuffer(b"".join(made), np.uint64))
