"""By what a row is known again: hashes of its identifier, of its group, and of what decides its side."""

from collections.abc import Mapping

import pandas as pd

from starterkit.data.dataset import Hashes
from starterkit.data.holdout import hashed
from starterkit.privacy import Policy, StageKey
from starterkit.privacy.pseudonyms import row_keys
from starterkit.problem import Problem


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
