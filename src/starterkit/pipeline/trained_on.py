"""Which records a version was trained on: written by the run that trains, read by whoever judges.

The file holds 64-bit hashes, salted with the run's id, and no id. Two runs' files cannot be linked with each other, but
who has a list of ids can see which of them are in it: that is what it is for. See docs/decisions/0012-statistics.md.
"""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.data import Dataset, Rows
from starterkit.errors import TrackingError
from starterkit.tracking import Run, Tracker
from starterkit.verdict import Overlap

_FILE = "trained_on.npz"

Keys = Mapping[str, NDArray[np.uint64]]


def record_rows(run: Run, training: Rows) -> None:
    """Leave the salted keys of the training side with the run."""
    with TemporaryDirectory(prefix="starterkit-") as scratch:
        path = Path(scratch, _FILE)
        path.write_bytes(packed(training, run.id))
        run.log_file(path)


def find_overlap(tracker: Tracker, run: str, dataset: Dataset) -> Overlap:
    """Which rows of the holdout the run was trained on, and which have a twin on the training side."""
    return overlap_of(tracker.read_file(run, _FILE), run, dataset)


def overlap_if_known(tracker: Tracker, run: str, dataset: Dataset) -> Overlap:
    """The same for a champion, whose run may be gone: what it knew is worth a word and refuses nobody."""
    try:
        return find_overlap(tracker, run, dataset)
    except TrackingError:
        return Overlap(trained_on=None)


def packed(training: Rows, run: str) -> bytes:
    """The file's content."""
    buffer = io.BytesIO()
    # In order of size, not of rows: which hash was which row's is nobody's business.
    salted = {name: np.sort(keys) for name, keys in _salted(training.keys, run).items()}
    np.savez_compressed(buffer, allow_pickle=False, **salted)
    return buffer.getvalue()


def overlap_of(content: bytes | None, run: str, dataset: Dataset) -> Overlap:
    """What a run's file says about a holdout. Without a file, or one about other columns, it says nothing."""
    if content is None:
        return Overlap(trained_on=None)
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            trained_on = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise TrackingError(f"'{_FILE}' of run {run} cannot be read", "Train again") from error
    asked = _salted(dataset.holdout.keys, run)
    if not asked or not asked.keys() <= trained_on.keys():
        return Overlap(trained_on=None)
    seen = [np.isin(keys, trained_on[name]) for name, keys in asked.items()]
    alike = _alike(dataset.holdout.features, dataset.training.features)
    holdout, training = (rows.features.assign(**{"": rows.target}) for rows in (dataset.holdout, dataset.training))
    return Overlap(
        trained_on=int(np.any(seen, axis=0).sum()),
        alike=int(alike.sum()),
        copied=int(_alike(holdout, training).sum()),
        usual=float(training.duplicated(keep=False).mean()),
    )


def _salted(keys: Keys, salt: str) -> dict[str, NDArray[np.uint64]]:
    return {name: np.array([_hash(salt, int(key)) for key in column], np.uint64) for name, column in keys.items()}


def _hash(salt: str, key: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{salt}\x00{key}".encode()).digest()[:8], "big")


def _alike(asked: pd.DataFrame, known: pd.DataFrame) -> pd.Series:
    """Which rows also stand in the other table."""
    asked_hashes, known_hashes = (pd.util.hash_pandas_object(table, index=False) for table in (asked, known))
    return asked_hashes.isin(known_hashes)
