"""Each column's place: the id, the group, the time, a feature, or left out with the reason."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Self

import numpy as np

from starterkit.cli.init.chronology import Panel, find_panel, find_series
from starterkit.cli.init.draft import BY_NAME, Field
from starterkit.cli.init.headers import (
    may_say_row,
    names_somebody,
    says_id,
    says_number_of,
    says_period,
    says_row,
    unit_of,
)
from starterkit.cli.init.notation import looks_like_number
from starterkit.cli.init.profile import ColumnProfile, bounds, categories, duplicates, repeats, signature
from starterkit.contract import Written

_FEWEST_GROUPS = 20
_FEWEST_KNOWN = 10
_LONGEST_HEADER = 80
_LONGEST_ID = 64
_WORDS_OF_A_SENTENCE = 4
_MOST_ALIKE = 0.6
"""With more rows alike they are no copies: the table has little to say of each."""
_MANY_ALIKE = 0.05
"""With more, the table has records twice under two ids, and the gate would refuse what has seen one of them."""
_TYPES = {"integer": "int", "float": "float", "boolean": "bool", "text": "str"}


# --- Ids, groups and row numbers.


def counts_rows(column: ColumnProfile) -> bool:
    """Whether the column is the row's number: it counts the rows in file order, or is called so and never repeats.

    A year counts the rows of a yearly series, and is its time.
    """
    if not (column.is_whole and column.is_unique):
        return False
    if says_row(column.header):
        return True
    span = float(column.values.max() - column.values.min()) + 1
    if may_say_row(column.header) and span <= 3 * len(column.values):
        return True
    steps = np.diff(column.values.to_numpy())
    is_year = says_period(column.header) and column.values.between(1000, 3000).all()
    return not is_year and bool((steps > 0).all()) and span <= 1.5 * len(column.values)


def _is_group(column: ColumnProfile) -> bool:
    repeated = _FEWEST_GROUPS <= column.distinct < len(column.values)
    return says_id(column.header) and repeated and not column.missing and (column.is_whole or column.kind == "text")


_RANKS = ("called an id", "called a number of something", "the rows' names", "in the form of a code")


def _why_id(column: ColumnProfile, is_counter: bool) -> str:
    if not column.is_unique or column.kind not in ("integer", "text"):
        return ""
    if names_somebody(column.header, column.values):
        return ""
    if says_id(column.header):
        return _RANKS[0]
    if column.sensitive or is_counter:  # a postcode is no id
        return ""
    if says_number_of(column.header):
        return _RANKS[1]
    if column.kind == "text" and says_row(column.header) and column.known.str.len().max() <= _LONGEST_ID:
        return _RANKS[2]
    return _RANKS[3] if column.kind == "text" and _are_codes([str(text) for text in column.known]) else ""


_CODE = re.compile(r"(?=.*\d)[A-Za-z0-9][\w./:-]*")
_PREFIXED = re.compile(r"[A-Za-z]+[-_./:]?\d+[\w-]*")
_NO_CODE = re.compile(
    r"v?\d+(\.\d+)+[-\w]*|\d+(:\d{2}){1,2}([.,]\d+)?|P(?=[\dT])[\dYMWDTHS.]+|[-+]?\d+([.,]\d+)?[xX×*]\d.*|[NSEW]-?\d+[.,°].*"
    r"|\d+([.,]\d+)?[A-Za-z]{1,4}|(\d+[dhmsyw]){1,4}|v\d+.*|\d+[-/]\d+"
)


def _are_codes(texts: Sequence[str]) -> bool:
    """Whether they have a code's form: letters before a number, or digits and letters of one length.

    Numbers, sizes, durations, versions and coordinates have none.
    """
    if any(len(text) > _LONGEST_ID or not _CODE.fullmatch(text) for text in texts):
        return False
    others = sum(_NO_CODE.fullmatch(text) is not None or looks_like_number(text) for text in texts)
    if others * 2 > len(texts):
        return False
    one_length = len({len(text) for text in texts}) == 1 and len(texts[0]) >= 3
    return one_length or all(map(_PREFIXED.fullmatch, texts))


# --- Features, and why a column is none.


def _reasons(column: ColumnProfile, is_counter: bool, identifier: str) -> Iterator[str]:
    if column.kind == "nothing":
        yield "no value in any row"
    if is_counter:
        yield "the row's number, which says nothing of the record"
    if names_somebody(column.header, column.values):
        yield "says who somebody is"
    if column.distinct <= 1:
        yield "the same value in every row" if not column.missing else "one value, and rows without it"
    if len(column.known) < _FEWEST_KNOWN:
        yield f"known in {len(column.known)} rows only"
    if column.kind == "date":
        yield "a date: derive what matters in load(), such as an age in days; time() if it orders the rows"
    yield from _reasons_of_texts(column, is_counter, identifier)


def _reasons_of_texts(column: ColumnProfile, is_counter: bool, identifier: str) -> Iterator[str]:
    if says_id(column.header) and column.distinct >= _FEWEST_GROUPS:
        yield f"an id beside '{identifier}'" if identifier and not column.missing else "an id that has gaps or repeats"
    if _why_id(column, is_counter) in _RANKS[:3]:
        yield f"an id beside '{identifier}'"
    if len(column.header) > _LONGEST_HEADER:
        yield "a header of more than 80 characters: shorten it"
    if column.kind == "text" and not categories(column) and not repeats(column):
        yield _why_no_categories(column)


def _why_no_categories(column: ColumnProfile) -> str:
    """Why a text whose values hardly repeat is not a number."""
    texts = [str(text) for text in column.known.unique()]
    numbers = [text for text in texts if looks_like_number(text)]
    if len(numbers) == len(texts):
        return "numbers that are not written in one way: convert them in load()"
    if len(numbers) * 2 > len(texts):
        return f"{len(numbers)} numbers and {len(texts) - len(numbers)} other texts: convert it in load()"
    if column.known.str.split().str.len().mean() >= _WORDS_OF_A_SENTENCE:
        return "free text: derive what matters in load()"
    return f"{len(texts)} texts in {len(column.known)} rows, which hardly repeat: derive categories in load()"


def _as_code(column: ColumnProfile) -> ColumnProfile:
    """A ward's number is the ward's name: more of it means nothing."""
    if column.kind != "integer" or not says_id(column.header):
        return column
    texts = column.values.map(lambda value: str(int(value)), na_action="ignore").astype("str")
    return replace(column, kind="text", values=texts)


# --- The columns go to their places one after the other: who comes first takes what the next might want.


@dataclass
class Placement:
    """Where the columns go.

    Attributes
    ----------
    columns, names
        All but the target, and what they are called in the schema, by header.
    fields, left_out
        By header; why the model does not get the column.
    cutoff, as_iso, coarse, by_content, copied, notes
        As `Plan` has them.
    """

    columns: Sequence[ColumnProfile]
    names: Mapping[str, str]
    fields: dict[str, Field] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    cutoff: str = ""
    as_iso: str = ""
    coarse: bool = False
    by_content: bool = False
    copied: bool = False
    notes: list[str] = field(default_factory=list)

    @cached_property
    def counters(self) -> set[str]:
        """The headers of those that count the rows."""
        return {one.header for one in self.columns if counts_rows(one)}

    def place(self, target: ColumnProfile, goal: Field) -> Self:
        """A field for each column that is of use, a reason for each that is not. The target is among the fields."""
        groups = [one for one in self.columns if _is_group(one)]
        panel = None if groups else find_panel([one for one in self.columns if one.header not in self.counters])
        self._add_group(groups, panel)
        self._add_series(target, panel, is_class=goal.bounds is None)
        self._add_identifier()
        self._decide_sides(self._add_features(target))
        self.fields[target.header] = goal
        return self

    def _add_group(self, groups: Sequence[ColumnProfile], panel: Panel | None) -> None:
        why = "rows with the same one are on the same side of the holdout"
        if groups:
            column = groups[0]
            rows = f"the group: called an id, {column.distinct} values in {len(column.values)} rows"
        elif panel is not None and panel.unit.distinct >= _FEWEST_GROUPS:
            column = panel.unit
            rows = f"the group: a panel, each has a row for each '{panel.time.header}'"
            why += "; for a forecast, declare time() and Holdout(cutoff=…) instead"
        else:
            return
        self._add_key(column, "group", f"{rows}; {why}")

    def _add_series(self, target: ColumnProfile, panel: Panel | None, *, is_class: bool) -> None:
        """The time, where nothing else decides the sides."""
        series, note = find_series(self.columns, target, panel, is_class=is_class)
        if series is None:
            self.notes += [note] if note and not self.fields else []
        elif not self.fields:
            self.cutoff, self.as_iso = series.cutoff, series.as_iso
            self._add_key(series.column, "time", series.review)
        elif panel is None:  # else the group's review says so
            how = "a group shares a side; for a forecast, declare time() and Holdout(cutoff=…) instead"
            self.notes += [f"the rows are also in time, by '{series.column.header}': {how}"]

    def _add_identifier(self) -> None:
        """The best of the columns that are complete, without repeats, and called an id or in the form of one."""
        found = []
        for place, column in enumerate(self.columns):
            is_counter = column.header in self.counters
            why = "" if column.header in self.fields else _why_id(column, is_counter)
            if why:
                found.append((_RANKS.index(why), is_counter, place, why))
        if found:
            _, _, place, why = min(found)
            self._add_key(self.columns[place], "identifier", f"the id: complete, no repeats, {why}")

    def _add_key(self, column: ColumnProfile, role: str, review: str) -> None:
        self.fields[column.header] = Field(
            name=self.names[column.header],
            header=column.header,
            role=role,  # pyrefly: ignore[bad-argument-type]
            type="str",
            written=self._written(column),
            review="; ".join([review, *column.review]),
        )

    def _add_features(self, target: ColumnProfile) -> list[ColumnProfile]:
        """The features, and why a column is none; the columns that are."""
        goal = signature(target.values)
        seen: dict[tuple[object, ...], ColumnProfile] = {}
        identifier = next((one.header for one in self.fields.values() if one.role == "identifier"), "")
        for column in self.columns:
            if column.header in self.fields:
                continue
            reason = next(_reasons(column, column.header in self.counters, identifier), "")
            mark = signature(column.values) if not reason else ()
            if not reason and mark == goal:
                reason = "the target by another name"
            if not reason and (twin := seen.get(mark)):
                reason = f"says the same as '{twin.header[:40]}'"
                if column.sensitive and not twin.sensitive:
                    why = f"sensitive, as it says the same as '{column.header[:40]}', which is left out"
                    self.fields[twin.header] = replace(self.fields[twin.header], sensitive=True, review=why)
            if reason:
                self.left_out[column.header] = reason
                continue
            seen[mark] = column
            self.fields[column.header] = self._feature(_as_code(column.whole or column))
        return list(seen.values())

    def _feature(self, column: ColumnProfile) -> Field:
        listed = categories(column)
        affixes = column.written.affixes
        return Field(
            name=self.names[column.header],
            header=column.header,
            role="feature",
            type=_TYPES[column.kind],  # pyrefly: ignore[bad-argument-type]
            sensitive=column.sensitive,
            unit=unit_of(column.header) or (affixes[0] if len(affixes) == 1 else ""),
            bounds=bounds(column) if column.is_number and not listed else None,
            categories=listed,
            nullable=column.missing > 0,
            written=self._written(column),
            review="; ".join(column.review) or (BY_NAME if column.sensitive else ""),
        )

    def _written(self, column: ColumnProfile) -> Written:
        renamed = self.names[column.header] != column.header
        return replace(column.written, header=column.header if renamed else "")

    def _decide_sides(self, kept: Sequence[ColumnProfile]) -> None:
        """By what a row's side is known.

        A counter is a poor id, as a file that is written anew counts anew; it is one where rows are too much alike.
        Nor is an id one that gives the same record many times.
        """
        counters, alike = self.counters, duplicates(kept)
        self.coarse = alike > _MOST_ALIKE
        roles = {one.role: one for one in self.fields.values()}
        if "group" in roles:
            self.copied = not self.coarse and alike > _MANY_ALIKE
        if "group" in roles or "time" in roles:
            return
        identifier = roles.get("identifier")
        if identifier is None and self.coarse and counters:
            column = next(one for one in self.columns if one.header in counters)
            self.left_out.pop(column.header, None)
            why = "it counts the rows, and most of them say the same as another: give the table an id of its own"
            self._add_key(column, "identifier", f"the id: {why}")
        elif identifier is None:
            self.by_content = True
            number = ", and a row's number changes with the file" if counters else ""
            shared = "; the same content is on one side" * (not self.coarse)
            self.notes.append(f"the table has no id{number}: rows are told apart by their content{shared}")
        elif not self.coarse and alike > (0 if identifier.header in counters else _MANY_ALIKE):
            self.by_content = True
            rows = round(alike * len(self.columns[0].values))
            counted = f"{rows} rows are alike" if rows != 1 else "one row is like another"
            counts = ", which counts the rows" * (identifier.header in counters)
            self.notes.append(f"{counted} but for '{identifier.header}'{counts}: they share a side")
