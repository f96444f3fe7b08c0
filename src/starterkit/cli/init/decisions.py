"""From a file to a draft, or to what a person has to decide before there can be one."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from starterkit.cli.init.draft import Field, Plan, Undecided, holdout_fraction
from starterkit.cli.init.profile import (
    ColumnProfile,
    bounds,
    categories,
    column_names,
    counts_rows,
    is_sensitive,
    names_somebody,
    profile,
    same_values,
    says_id,
    unit_of,
)
from starterkit.contract import Scalar, Task
from starterkit.data.sources import CsvFile, ParquetFile, is_text_file
from starterkit.errors import DataError

# --- The user's file as it stands: CSV as text, so that 007 stays 007, or Parquet with its own types.

_HEADER = re.compile(r"[-+]?\d*\.?\d+([eE][-+]?\d+)?(\.\d+)?")
FEWEST_ROWS = 30
"""With fewer rows neither side of the holdout says anything."""


def read_table(path: Path) -> pd.DataFrame:
    """The whole table.

    Raises
    ------
    DataError
        There is no such file, or it cannot be read, or holds too little to learn from.
    """
    if not path.exists():
        raise DataError(f"there is no file '{path}'", "Name a .csv or .parquet file")
    frame = CsvFile(path).texts() if is_text_file(path) else ParquetFile(path).table().rename(columns=str)
    if repeated := frame.columns[frame.columns.duplicated()].tolist():
        raise DataError(f"{path.name} has the column '{repeated[0]}' more than once", "Rename one of them")
    if len(frame.columns) < 2:
        raise DataError(f"{path.name} has one column", "Give the target and at least one column to predict it from")
    if sum(_HEADER.fullmatch(str(header)) is not None for header in frame.columns) > len(frame.columns) / 2:
        raise DataError(f"{path.name} has numbers where its header should be", "Begin the file with a header line")
    return frame


def find_header(frame: pd.DataFrame, target: str, names: dict[str, str], where: str) -> str:
    """The header of the target, which may be given by the name that it gets in the code.

    Raises
    ------
    DataError
        The table has no such column.
    """
    by_name = {name: header for header, name in names.items()}
    if target in names or target in by_name:
        return target if target in names else by_name[target]
    headers = list(map(str, frame.columns))
    alike = {header.casefold(): header for header in headers}
    near = get_close_matches(target.casefold(), alike, n=1, cutoff=0.6)
    few = ", ".join(f"'{header[:40]}'" for header in headers[:8]) + (" …" if len(headers) > 8 else "")
    hint = f"Did you mean '{alike[near[0]]}'?" if near else f"Name one of {few}"
    raise DataError(f"{where} has no column '{target}'", hint.rstrip("?"))


# --- Each column's place: the id, the group, a feature, or left out with the reason.

_FEWEST_GROUPS = 20
_FEWEST_KNOWN = 10
_LONGEST_ID = 64
_LONGEST_HEADER = 80
_NUMBER = r"\s*[-+]?[\d.,]+([eE][-+]?\d+)?\s*"
_TYPES = {"integer": "int", "float": "float", "boolean": "bool", "text": "str"}

Placed = tuple[dict[str, Field], dict[str, str]]
"""Fields by header, and by header why a column is left out."""


def place_columns(columns: Sequence[ColumnProfile], target: ColumnProfile, names: Mapping[str, str]) -> Placed:
    """A field for each column that is of use, and a reason for each that is not. The target is not among them."""
    keys = _keys(columns, names)
    fields, left_out = dict(keys), {}
    kept: list[ColumnProfile] = []
    for column in columns:
        if column.header in keys:
            continue
        if reason := next(_reasons(column), "") or _repeated(column, [*kept, target], target):
            left_out[column.header] = reason
            continue
        kept.append(column)
        fields[column.header] = _feature(_as_code(column), names[column.header])
    return fields, left_out


def _keys(columns: Sequence[ColumnProfile], names: Mapping[str, str]) -> dict[str, Field]:
    """The id of the rows and the group of repeated measures, where the table has them.

    The first of each kind; a column that is called an id goes before one that only looks like it.
    """
    found: dict[str, Field] = {}
    for column in sorted(columns, key=lambda column: not says_id(column.header)):
        role = "identifier" if _is_id(column) else "group" if _is_group(column) else None
        if role and role not in [one.role for one in found.values()]:
            review = "rows with the same one are on the same side of the holdout" if role == "group" else ""
            name = names[column.header]
            found[column.header] = Field(name=name, header=column.header, role=role, type="str", review=review)
    return found


def _is_id(column: ColumnProfile) -> bool:
    """Complete, unique, and called an id or in the form of one."""
    if column.missing or column.distinct < len(column.values) or column.kind not in ("integer", "text"):
        return False
    if names_somebody(column.header, column.values) or counts_rows(column.header, column.values):
        return False
    if says_id(column.header):
        return True
    if is_sensitive(column.header) or _is_mixed(column):  # a postcode, or measurements with an "inf" among them
        return False
    return column.kind == "text" and bool(column.known.str.fullmatch(rf"[\w.:/-]{{1,{_LONGEST_ID}}}").all())


def _is_group(column: ColumnProfile) -> bool:
    repeated = _FEWEST_GROUPS <= column.distinct <= len(column.values) / 1.5
    return says_id(column.header) and repeated and not column.missing and column.kind in ("integer", "text")


def _reasons(column: ColumnProfile) -> Iterator[str]:
    if column.kind == "nothing":
        yield "no value in any row"
    if counts_rows(column.header, column.values):
        yield "the row's number, which says nothing of the record"
    if names_somebody(column.header, column.values):
        yield "says who somebody is"
    if column.distinct <= 1:
        yield "the same value in every row"
    if len(column.known) < _FEWEST_KNOWN:
        yield f"known in {len(column.known)} rows only"
    if column.kind == "date":
        yield "a date: derive what matters in load(), such as an age in days"
    if _is_id(column) or (says_id(column.header) and column.distinct >= _FEWEST_GROUPS):
        yield "an id beside the one that is used, or with gaps"
    if len(column.header) > _LONGEST_HEADER:
        yield "a header of more than 80 characters: shorten it"
    if column.kind == "text" and not categories(column, is_sensitive(column.header)):
        yield _why_no_categories(column)


def _is_mixed(column: ColumnProfile) -> bool:
    """Whether it is a text because of a few of its values: most are numbers."""
    return column.kind == "text" and 0.5 < column.known.str.fullmatch(_NUMBER).mean() < 1


def _why_no_categories(column: ColumnProfile) -> str:
    numeric = column.known.str.fullmatch(_NUMBER)
    if numeric.all() and column.known.str.contains(",").any():
        return "numbers with commas: convert them in load()"
    if _is_mixed(column):
        return "numbers and texts mixed: convert it in load()"
    return f"a text with {column.distinct} values, or rare or long ones: derive categories in load()"


def _repeated(column: ColumnProfile, others: Sequence[ColumnProfile], target: ColumnProfile) -> str:
    known = target.values.notna()
    for other in others:
        if other is target:
            if same_values(column.values[known], target.values[known]):
                return "the target by another name"
        elif same_values(column.values, other.values):
            return f"says the same as '{other.header[:40]}'"
    return ""


def _as_code(column: ColumnProfile) -> ColumnProfile:
    """A ward's number is the ward's name: more of it means nothing."""
    if column.kind != "integer" or not says_id(column.header):
        return column
    texts = column.values.map(lambda value: str(int(value)), na_action="ignore").astype("str")
    return replace(column, kind="text", values=texts)


def _feature(column: ColumnProfile, name: str) -> Field:
    sensitive = is_sensitive(column.header)
    listed = categories(column, sensitive)
    return Field(
        name=name,
        header=column.header,
        role="feature",
        type=_TYPES[column.kind],  # pyrefly: ignore[bad-argument-type]
        sensitive=sensitive,
        unit=unit_of(column.header),
        bounds=bounds(column) if column.is_number and not listed else None,
        categories=listed,
        nullable=column.missing > 0,
        review="taken for sensitive by its name" if sensitive else "",
    )


# --- The target: which task it asks for, what its schema says, and what makes it unfit to be predicted.

_MOST_WHOLE_CLASSES = 10
_MOST_CLASSES = 50
_WRITTEN = r"\W*\d[\d.,' ]*([eE][-+]?\d+)?\W*"
"""``1.234,50``, ``$12`` or ``5 %``."""
FEWEST_ROWS_OF_A_CLASS = 10
"""With fewer, one side of the holdout may well have none."""


def task_of(target: ColumnProfile) -> Task:
    """Classes are texts, true or false, or a few whole numbers; anything else is a number to predict."""
    if not target.is_number:
        return "classification"
    whole = bool((target.known % 1 == 0).all())
    few = target.distinct <= _MOST_WHOLE_CLASSES and len(target.known) >= FEWEST_ROWS_OF_A_CLASS * target.distinct
    return "classification" if whole and few else "regression"


def require_target(target: ColumnProfile, task: Task, where: str) -> None:
    """
    Raises
    ------
    DataError
        There is nothing to predict, or nothing that can be.
    """
    what = f"the target '{target.header}' of {where}"
    if target.kind == "nothing" or target.known.empty:
        raise DataError(f"{what} is missing in every row", "Give rows that have it, or name another column")
    if len(target.known) < FEWEST_ROWS:
        rows = "one row" if len(target.known) == 1 else f"{len(target.known)} rows"
        raise DataError(f"{what} is known in {rows}, and at least {FEWEST_ROWS} are needed", "Give more rows")
    if target.distinct == 1:
        raise DataError(f"{what} has one value in every row", "Give rows with other values, or name another column")
    if task == "regression" and not target.is_number:
        raise DataError(f"{what} is no number, so there is no regression", "Leave --task out")
    if target.kind == "date":
        raise DataError(f"{what} is a date", "Add a column with the days until then, or another number")
    if names_somebody(target.header, target.values):
        raise DataError(f"{what} says who somebody is", "Name another column")
    if task == "classification" and target.distinct > _MOST_CLASSES:
        hint = "Name another column, or merge classes" + (", or add --task regression" if target.is_number else "")
        many = f"{target.distinct} different values, and {_MOST_CLASSES} classes are the most"
        if target.kind == "text" and target.known.str.fullmatch(_WRITTEN).mean() > 0.5:
            many, hint = "numbers that are written as texts", "Write each as in 1234.5, and leave out what is no number"
        raise DataError(f"{what} has {many}", hint)


def rare_classes(target: ColumnProfile) -> int:
    """How many classes have too few rows for both sides of the holdout."""
    return int((target.known.value_counts() < FEWEST_ROWS_OF_A_CLASS).sum())


def target_field(target: ColumnProfile, name: str, task: Task, asked: bool) -> Field:
    """The target's place in the schema. `asked` says that the task was not guessed."""
    sensitive, review = is_sensitive(target.header), ""
    if task == "regression":
        whole = target.kind == "integer"
        kind, classes, limits = ("int" if whole else "float"), (), bounds(target)
    else:
        kind = {"boolean": "bool", "text": "str"}.get(target.kind, "int")
        classes, limits = _classes(target), None
        if kind == "int" and not asked:
            review = f"{target.distinct} whole numbers taken for classes; `--task regression` takes them for numbers"
    return Field(
        name=name,
        header=target.header,
        role="target",
        type=kind,  # pyrefly: ignore[bad-argument-type]
        sensitive=sensitive,
        unit=unit_of(target.header),
        bounds=limits,
        categories=classes,
        review=review or ("taken for sensitive by its name" if sensitive else ""),
    )


def _classes(target: ColumnProfile) -> tuple[Scalar, ...]:
    values = target.known.unique()
    if target.kind == "boolean":
        return ()
    return tuple(sorted(map(str, values))) if target.kind == "text" else tuple(sorted(int(value) for value in values))


# --- From a table to a plan, or to what a person has to decide before there can be one.

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
    goal = profile(header, frame[header])
    task = asked or task_of(goal)
    require_target(goal, task, where)
    rows = goal.values.notna()
    goal = replace(goal, values=goal.values[rows].reset_index(drop=True))
    columns = [profile(other, frame.loc[rows, other].reset_index(drop=True)) for other in names if other != header]
    fields, left_out = place_columns(columns, goal, names)
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
        no_value={kept[one.header]: one.no_value for one in (*columns, goal) if one.no_value and one.header in kept},
        without_target=int((~rows).sum()),
        rows=len(goal.values),
        coarse=_is_coarse([one for one in columns if one.header in fields]),
        fraction=holdout_fraction(len(goal.values)),
    )


def _decisions(target: ColumnProfile, task: Task, fields: Mapping[str, Field]) -> list[str]:
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


def _is_coarse(columns: Sequence[ColumnProfile]) -> bool:
    said = pd.DataFrame({one.header: one.values for one in columns})
    return bool(said.duplicated().mean() > _MOST_ALIKE)
