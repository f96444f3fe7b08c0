"""What a treatment did to the rows, as the proof and the report tell it."""

from dataclasses import asdict
from typing import Any

import pandas as pd

from starterkit.data.dataset import Table
from starterkit.errors import Refused
from starterkit.privacy import Policy
from starterkit.privacy.measures import crowd, overlap, shift
from starterkit.problem import Problem


def measure(problem: Problem, raw: pd.DataFrame, after: Table, table: pd.DataFrame, policy: Policy) -> dict[str, Any]:
    """The crowds, the overlap of hidden identifiers with `table`, which is written, and how far the columns moved.

    Raises
    ------
    Refused
        A raw value of a hidden identifier is still there.
    """
    hidden = [c.name for c in problem.columns if c.sensitivity == "identifier" and policy.treatments[c.name] != "raw"]
    found = {name: overlap(raw[name], table) for name in hidden}
    for name, count in found.items():
        if count:
            what = f"{count} values of '{name}' are still in the data"
            raise Refused(what, "Look for a feature that repeats the identifier, and leave it out of the schema")
    return {
        "crowds": _crowds(problem, raw, after.frame),
        "overlap": found,
        "shifts": {
            column.name: asdict(shift(column, raw[column.name], after.frame[column.name]))
            for column in (*problem.features, problem.target)
        },
    }


def _crowds(problem: Problem, before: pd.DataFrame, after: pd.DataFrame) -> list[dict[str, Any]]:
    """k over the sensitive features, and with the target: who knows the answer, too, may find more."""
    features = [column.name for column in problem.features if column.sensitivity == "sensitive"]
    asked = [(features, False)] if features else []
    if problem.target.sensitivity == "sensitive":
        asked.append(([*features, problem.target.name], True))
    people = before[problem.group.name] if problem.group else None
    return [
        {
            "columns": names,
            "with_target": with_target,
            "before": asdict(crowd(before, names, people)),
            "after": asdict(crowd(after, names, people)),
        }
        for names, with_target in asked
    ]
