"""Which records a version was trained on: written by the run that trains, read by whoever judges.

The file holds 64-bit hashes, salted with the run's id, and no id. Two runs' files cannot be linked with each other, but
who has a list of ids can see which of them are in it: that is what it is for. See docs/decisions/0012-statistics.md.
"""

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
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
        np.savez_compressed(path, allow_pickle=False, **_salted(training.keys, run.id))
        run.log_file(path)


def find_overlap(tracker: Tracker, run: str, dataset: Dataset) -> Overlap:
    """Which rows of the holdout the run was trained on, and which have a twin on the training side."""
    return Overlap(trained_on=_count_trained_on(tracker, run, dataset.holdout), alike=_count_alike(dataset))


def _count_trained_on(tracker: Tracker, run: str, holdout: Rows) -> int | None:
    """The number of rows, or None where the run does not say what it was trained on."""
    content = tracker.read_file(run, _FILE)
    if content is None:
        return None
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            trained_on = {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError) as error:
        raise TrackingError(f"'{_FILE}' of run {run} cannot be read", "Train again") from error
    asked = _salted(holdout.keys, run)
    if not asked or not asked.keys() <= trained_on.keys():
        return None
    seen = [np.isin(keys, trained_on[name]) for name, keys in asked.items()]
    return int(np.any(seen, axis=0).sum())


def _salted(keys: Keys, salt: str) -> dict[str, NDArray[np.uint64]]:
    return {name: np.array([_hash(salt, int(key)) for key in column], np.uint64) for name, column in keys.items()}


def _hash(salt: str, key: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{salt}\x00{key}".encode()).digest()[:8], "big")


def _count_alike(dataset: Dataset) -> int:
    from pandas.util import hash_pandas_object

    asked, known = (hash_pandas_object(rows.features, index=False) for rows in (dataset.holdout, dataset.training))
    return int(asked.isin(known).sum())
