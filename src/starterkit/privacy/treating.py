"""A policy carried out: rows as a stage may see them."""

from typing import TYPE_CHECKING

from starterkit.contract import Column
from starterkit.privacy.bands import emptied, generalised
from starterkit.privacy.keys import StageKey
from starterkit.privacy.mock import mock_rows
from starterkit.privacy.policy import Policy

if TYPE_CHECKING:
    import pandas as pd


def treat(policy: Policy, frame: "pd.DataFrame", key: StageKey | None) -> "pd.DataFrame":
    """The rows with features and target as the stage may see them; identifiers are left to whoever drops them.

    A dropped feature stays as one value in all rows, so that the same estimator can be fitted. Types stay.

    Raises
    ------
    DataError
        What `Policy.require_possible` raises, or no made-up rows can be drawn.
    """
    policy.require_possible()
    model = [column for column in policy.columns if column.role in ("feature", "target")]
    if policy.mocks:
        model.sort(key=lambda column: column.role == "target")
        seed = int.from_bytes(key.digest("mock", "")[:8], "big") if key else 0
        made = mock_rows(model, frame, seed)
        frame = _with(frame, {column.name: made[column.name] for column in model})
    return _with(frame, {column.name: _treated(policy, column, frame[column.name]) for column in model})


def _with(frame: "pd.DataFrame", columns: "dict[str, pd.Series]") -> "pd.DataFrame":
    """Not `assign(**columns)`: a column may be called ``self``."""
    frame = frame.copy()
    for name, values in columns.items():
        frame[name] = values
    return frame


def _treated(policy: Policy, column: Column, values: "pd.Series") -> "pd.Series":
    treatment = policy.treatments[column.name]
    if treatment == "generalise":
        return generalised(column, values)
    return emptied(column, values) if treatment == "drop" else values
