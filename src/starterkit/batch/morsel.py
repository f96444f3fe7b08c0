"""What the kinds of sources share: a source gives morsels from any position on, and a morsel gives a table."""

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from starterkit.errors import DataError
from starterkit.inference import Fault

MORSEL_ROWS = 8_192
"""Rows that one thread scores at once: few enough for flat memory, and trees answer no faster with more."""

MORSEL_BYTES = 1_000_000
"""Wide rows come in smaller morsels."""


@dataclass(frozen=True)
class Morsel:
    """A few rows in the source's own form.

    `end` is the position behind them, where a later run can go on: a byte of a CSV file, a row of another one.
    `share` is the part of the source that is read then, from 0 to 1, where it is known.
    """

    data: Any
    end: int
    share: float | None


@dataclass(frozen=True)
class Rows:
    """A morsel, read. `table` lacks the rows that are `torn`: those that have too many fields or too few.

    `count` counts all rows, `kept` gives each row of the table its number among them, and `lines` are the rows of a
    CSV file as they stand there.
    """

    table: pa.RecordBatch
    count: int
    kept: NDArray[np.int64]
    torn: Sequence[Fault] = ()
    lines: pa.Array | None = None


def missing_in(array: pa.Array) -> NDArray[np.bool_]:
    """Which values are null."""
    if not array.null_count:
        return np.zeros(len(array), dtype=np.bool_)
    return array.is_null().to_numpy(zero_copy_only=False)


def filled(array: pa.Array, value: float) -> NDArray[Any]:
    """Numbers or flags, with a value where there is none."""
    return (pc.fill_null(array, value) if array.null_count else array).to_numpy(zero_copy_only=False)


def require_columns(name: str, present: Sequence[str], needed: Sequence[str], added: Sequence[str]) -> None:
    """See that a file has what the model takes, and not yet what it answers.

    Raises
    ------
    DataError
        A column is missing, stands there twice, or bears the name of one that will be added.
    """
    for column in present:
        if present.count(column) > 1:
            raise DataError(f"{name} has two columns '{column}'", "Rename one of them")
    for column in added:
        if column in present:
            raise DataError(f"{name} has a column '{column}' already", "Rename it, or leave it out")
    missing = [column for column in needed if column not in present]
    if missing:
        others = [column for column in present if column not in needed]
        near = get_close_matches(missing[0].lower(), [other.lower() for other in others], n=1)
        close = [other for other in others if near and other.lower() == near[0]]
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        mend = f"Did you mean '{close[0]}'?" if close else f"The model takes {', '.join(needed)}"
        raise DataError(f"{name} lacks the column '{missing[0]}'{more}", mend)
