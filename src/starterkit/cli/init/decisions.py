"""From a file to a draft, or to what a person has to decide before there can be one."""

import re
from collections.abc import Mapping
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import pandas as pd

from starterkit.cli.init.draft import BY_NAME, Field, OddRow, Plan, Undecided, holdout_fraction
from starterkit.cli.init.headers import column_names, names_somebody, sensitive_among, unit_of, word_set
from starterkit.cli.init.notation import looks_like_number
from starterkit.cli.init.placement import Placement
from starterkit.cli.init.profile import ColumnProfile, bounds, doubt_of_numbers, profile
from starterkit.contract import Scalar, Task
from starterkit.data.sources import CsvFile, ParquetFile, is_text_file
from starterkit.errors import DataError
from starterkit.progress import Note

# --- Rows that are no records: the totals at the end of a sheet, a header that is there again.

_TOTALS = word_set("total totals total: sum sums sum: subtotal gesamt gesamtsumme summe insgesamt totaal totale somme")
_MORE_TOTALS = frozenset(["grand total", "grand totals", "total general", "column total"])
_AT_THE_END = 3
_FIRST_COLUMNS = 3


def find_odd_rows(frame: pd.DataFrame) -> dict[int, OddRow]:
    """What is no record, by its place. The name of an `OddRow` is still the header."""
    texts = frame.select_dtypes(include=["str", "object"])
    if len(texts.columns) < 2:
        return {}
    return _headers_again(texts) | _totals(texts)


def _headers_again(texts: pd.DataFrame) -> dict[int, OddRow]:
    same = np.column_stack([(texts[header] == header).to_numpy(dtype=bool, na_value=False) for header in texts])
    found = {}
    for place in np.flatnonzero(same.mean(axis=1) > 0.5).tolist():
        said = str(texts.columns[same[place].argmax()])
        found[place] = OddRow(name=said, text=said, what="the header again")
    return found


def _totals(texts: pd.DataFrame) -> dict[int, OddRow]:
    found = {}
    for header in list(map(str, texts))[:_FIRST_COLUMNS]:
        for place in range(max(len(texts) - _AT_THE_END, 0), len(texts)):
            text = str(texts[header].iloc[place])
            if text.strip().casefold() in _TOTALS | _MORE_TOTALS and (texts[header] == text).sum() == 1:
                found.setdefault(place, OddRow(name=header, text=text, what="the totals"))
    return found


def unreadable(texts: pd.Series) -> tuple[str, ...]:
    """The texts of odd rows that are no numbers, which a column of numbers has to take for missing."""
    return tuple(
        {text.strip() for text in texts.dropna().astype("str") if text.strip() and not looks_like_number(text)}
    )


# --- The target: which task it asks for, what its schema says, and what makes it unfit to be predicted.

_MOST_WHOLE_CLASSES = 10
_MOST_CLASSES = 50
FEWEST_ROWS = 30
"""With fewer rows neither side of the holdout says anything."""
FEWEST_ROWS_OF_A_CLASS = 10
"""With fewer, one side of the holdout may well have none."""


def task_of(target: ColumnProfile) -> Task:
    """Classes are texts, true or false, or a few whole numbers; anything else is a number to predict."""
    if not target.is_number:
        return "classification"
    few = target.distinct <= _MOST_WHOLE_CLASSES and len(target.known) >= FEWEST_ROWS_OF_A_CLASS * target.distinct
    return "classification" if target.is_whole and few else "regression"


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
        texts = [str(value) for value in target.known.unique()] if target.kind == "text" else []
        if sum(map(looks_like_number, texts)) * 2 > len(texts):
            many, hint = (
                "numbers in several forms, or other texts among them",
                "Write each as in 1234.5, or leave it empty",
            )
        raise DataError(f"{what} has {many}", hint)


def target_field(target: ColumnProfile, name: str, task: Task, asked: bool) -> Field:
    """The target's place in the schema. `asked` says that the task was not guessed."""
    sensitive, review = target.sensitive, [*_told_missing(target), *target.review]
    if task == "regression":
        whole = target.kind == "integer"
        kind, classes, limits = ("int" if whole else "float"), (), bounds(target)
    else:
        kind = {"boolean": "bool", "text": "str"}.get(target.kind, "int")
        classes, limits = _classes(target), None
        if kind == "int" and not asked:
            review += [f"{target.distinct} whole numbers taken for classes; `--task regression` takes them for numbers"]
    return Field(
        name=name,
        header=target.header,
        role="target",
        type=kind,  # pyrefly: ignore[bad-argument-type]
        sensitive=sensitive,
        unit=unit_of(target.header) or next(iter(target.written.affixes), ""),
        bounds=limits,
        categories=classes,
        written=replace(target.written, header=target.header if target.header != name else ""),
        review="; ".join(review) or (BY_NAME if sensitive else ""),
    )


def _told_missing(target: ColumnProfile) -> list[str]:
    """Texts that stand for none, unless they are told already."""
    quiet = [text for text in target.written.missing if not any(f"'{text}'" in line for line in target.review)]
    texts = " and ".join(repr(text) for text in quiet[:3])
    return [f"{texts} {'is' if len(quiet) == 1 else 'are'} read as missing, and a row without target is left out"] * (
        len(quiet) > 0
    )


def _classes(target: ColumnProfile) -> tuple[Scalar, ...]:
    values = target.known.unique()
    if target.kind == "boolean":
        return ()
    return tuple(sorted(map(str, values))) if target.kind == "text" else tuple(sorted(int(value) for value in values))


# --- The user's file as it stands: CSV as text, so that 007 stays 007, or Parquet with its own types.

_HEADER = re.compile(r"[-+]?\d*\.?\d+([eE][-+]?\d+)?(\.\d+)?")


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
    if frame.empty:
        raise DataError(f"{path.name} has no rows", "Give some below its header line")
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


# --- From a table to a plan, or to what a person has to decide before there can be one.


def plan_for(
    frame: pd.DataFrame, where: str, target: str, name: str, asked: Task | None, note: Note | None = None
) -> Plan:
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
    odd = find_odd_rows(frame)
    records = frame.drop(index=frame.index[list(odd)]).reset_index(drop=True) if odd else frame
    columns = _profiles(records, header, note or Note())
    goal = columns.pop(header)
    task = asked or task_of(goal)
    require_target(goal, task, where)
    rows = goal.values.notna()
    goal = goal.at(rows)
    strange = frame.iloc[list(odd)]
    others = [_within(one, strange).at(rows) for one in columns.values()]
    goal = _within(goal, strange)
    placed = Placement(others, names).place(goal, target_field(goal, names[header], task, asked is not None))
    if decisions := _decisions(goal, task, placed):
        raise Undecided(where, decisions)
    fields = {other: placed.fields[other] for other in names if other in placed.fields}
    return Plan(
        name=name,
        task=task,
        fields=tuple(fields.values()),
        left_out=placed.left_out,
        without_target=int((~rows).sum()),
        rows=len(goal.values),
        coarse=placed.coarse,
        by_content=placed.by_content,
        copied=placed.copied,
        cutoff=placed.cutoff,
        as_iso=placed.as_iso,
        odd_rows=tuple(_named(row, place, fields) for place, row in odd.items()),
        notes=tuple(placed.notes),
        fraction=holdout_fraction(len(goal.values)),
    )


# Words that no text column has for anything else, where the same file has them among numbers.
_IN_TEXTS = frozenset(["na", "n/a", "#n/a", "<na>", "nan", "nat", "null", "(null)", "\\n", "?", ".", "none"])
_IN_TARGETS = _IN_TEXTS - {"none"}


def _profiles(frame: pd.DataFrame, target: str, note: Note) -> dict[str, ColumnProfile]:
    """All columns by header. What stands for a missing number in one does so in the texts of the others."""
    headers = list(map(str, frame.columns))
    sensitive = sensitive_among(headers)
    found = {header: profile(header, frame[header]) for header in note.along(headers, "columns")}
    used = {text for one in found.values() if one.is_number for text in one.written.missing}
    used = {text for text in used if text.casefold() in _IN_TEXTS}
    for header, one in found.items():
        if one.kind == "text":
            texts = {text for text in one.known.unique() if text.strip().casefold() in _IN_TARGETS}
            none = (used & texts) if header != target else texts
            found[header] = profile(header, frame[header], none) if none else one
    return {
        header: replace(one, sensitive=header in sensitive, review=(*one.review, *doubt_of_numbers(one)))
        for header, one in found.items()
    }


def _within(column: ColumnProfile, odd: pd.DataFrame) -> ColumnProfile:
    """What odd rows have in a column of numbers is missing there."""
    if odd.empty or column.kind in ("text", "nothing"):
        return column
    missing = {*column.written.missing, *unreadable(odd[column.header])}
    return replace(column, written=replace(column.written, missing=tuple(sorted(missing))))


def _named(row: OddRow, place: int, fields: Mapping[str, Field]) -> OddRow:
    """The odd row by the schema's name of the column, and where it is."""
    what = f"row {place + 1} is {row.what}"
    one = fields.get(row.name)
    return OddRow(name=one.name if one else row.name, text=row.text, what=what, is_text=not one or one.type == "str")


def _decisions(target: ColumnProfile, task: Task, placed: Placement) -> list[str]:
    found = []
    rare = int((target.known.value_counts() < FEWEST_ROWS_OF_A_CLASS).sum()) if task == "classification" else 0
    if rare:
        classes = "one class" if rare == 1 else f"{rare} classes"
        what = f"the target '{target.header}' has {classes} with fewer than {FEWEST_ROWS_OF_A_CLASS} rows"
        more = ", or add --task regression" if target.is_number else ""
        found.append(f"{what}: merge them, leave their rows out, or give more{more}")
    if not any(one.role == "feature" for one in placed.fields.values()):
        derive = "; derive columns from the time, such as the month or the value before" if placed.cutoff else ""
        found.append(f"no column is left to predict from: {_each(placed)}{derive}")
    return found


_SHOWN = 8


def _each(placed: Placement) -> str:
    """Why each column is no feature."""
    keys = [f"'{one.header[:40]}' is the {one.role}" for one in placed.fields.values() if one.role != "target"]
    others = [f"'{header[:40]}' is left out ({why.partition(':')[0]})" for header, why in placed.left_out.items()]
    said = [*keys, *others]
    return ", ".join(said[:_SHOWN]) + (f", and {len(said) - _SHOWN} more" if len(said) > _SHOWN else "")
