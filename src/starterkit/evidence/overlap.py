"""Which rows of the holdout a version knew before, and which have a twin on the training side."""

import pandas as pd

from starterkit.data import ROWS_FILE, Dataset, RowRecord
from starterkit.errors import TrackingError
from starterkit.tracking import Tracker
from starterkit.verdict import Overlap


def find_overlap(tracker: Tracker, run: str, dataset: Dataset) -> Overlap:
    """What a run's record of its rows says about the holdout."""
    return overlap_of(RowRecord.from_bytes(tracker.read_file(run, ROWS_FILE), f"run {run}"), dataset)


def overlap_if_known(tracker: Tracker, run: str, dataset: Dataset) -> Overlap:
    """The same for a champion, whose run may be gone: what it knew is worth a word and refuses nobody."""
    try:
        return find_overlap(tracker, run, dataset)
    except TrackingError:
        return Overlap(trained_on=None)


def overlap_of(record: RowRecord | None, dataset: Dataset) -> Overlap:
    """What a record says about a holdout. None, or one of other columns, says nothing."""
    trained_on = record.trained_on(dataset.holdout) if record else None
    if trained_on is None:
        return Overlap(trained_on=None)
    holdout, training = (rows.features.assign(**{"": rows.target}) for rows in (dataset.holdout, dataset.training))
    return Overlap(
        trained_on=trained_on,
        alike=_standing_in(dataset.training.features, dataset.holdout.features),
        copied=_standing_in(training, holdout),
        usual=float(training.duplicated(keep=False).mean()),
    )


def _standing_in(known: pd.DataFrame, asked: pd.DataFrame) -> int:
    """How many rows also stand in the other table."""
    known_hashes, asked_hashes = (pd.util.hash_pandas_object(table, index=False) for table in (known, asked))
    return int(asked_hashes.isin(known_hashes).sum())
