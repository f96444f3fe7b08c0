"""From a table to a plan, or to what a person has to decide before there can be one."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import pandas as pd

from starterkit.contract import Task
from starterkit.starting.columns import place_columns
from starterkit.starting.looking import Sight, look
from starterkit.starting.names import column_names
from starterkit.starting.planning import Field, Plan, Undecided, holdout_fraction
from starterkit.starting.reading import find_header
from starterkit.starting.targets import FEWEST_ROWS_OF_A_CLASS, rare_classes, require_target, target_field, task_of

_MOST_ALIKE = 0.6
"""With more rows alike they are no copies: the table has little to say of each."""


def plan_for(frame: pd.DataFrame, where: str, target: str, name: str, asked: Task | None) -> Plan:
    """What the written problem will say of the table.

    Raises
    ------
    DataError
        The target is not there, or of no use.
    Undecided
        There are things that a person has to decide first.
    """
    names = column_names(map(str, frame.columns))
    header = find_header(frame, target, names, where)
    goal = look(header, frame[header])
    task = asked or task_of(goal)
    require_target(goal, task, where)
    rows = goal.values.notna()
    goal = replace(goal, values=goal.values[rows].reset_index(drop=True))
    sights = [look(other, frame.loc[rows, other].reset_index(drop=True)) for other in names if other != header]
    fields, left_out = place_columns(sights, goal, names)
    fields[header] = target_field(goal, names[header], task, asked is not None)
    decisions = _decisions(goal, task, fields)
    if decisions:
        raise Undecided(where, decisions)
    kept = {other: names[other] for other in names if other in fields}
    return Plan(
        name=name,
        task=task,
        fields=tuple(fields[other] for other in kept),
        headers={other: name for other, name in kept.items() if other != name},
        left_out=left_out,
        no_value=_no_value([*sights, goal], kept),
        without_target=int((~rows).sum()),
        rows=len(goal.values),
        coarse=_is_coarse([one for one in sights if one.header in fields]),
        fraction=holdout_fraction(len(goal.values)),
    )


def _decisions(target: Sight, task: Task, fields: Mapping[str, Field]) -> list[str]:
    found = []
    rare = rare_classes(target) if task == "classification" else 0
    if rare:
        classes = "one class" if rare == 1 else f"{rare} classes"
        what = f"the target '{target.header}' has {classes} with fewer than {FEWEST_ROWS_OF_A_CLASS} rows"
        more = ", or add --task regression" if target.is_number else ""
        found.append(f"{what}: merge them, leave their rows out, or give more{more}")
    if not any(one.role == "feature" for one in fields.values()):
        found.append("no column is left to predict from: each is an id, constant, a date, a free text or the target")
    return found


def _is_coarse(sights: Sequence[Sight]) -> bool:
    said = pd.DataFrame({one.header: one.values for one in sights})
    return bool(said.duplicated().mean() > _MOST_ALIKE)


def _no_value(sights: Sequence[Sight], kept: Mapping[str, str]) -> dict[str, tuple[str, ...]]:
    return {kept[one.header]: one.no_value for one in sights if one.no_value and one.header in kept}
