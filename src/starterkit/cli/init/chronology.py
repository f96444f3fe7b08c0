"""Whether the rows are in time: a series, or a panel of units that are seen again and again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from starterkit.cli.init.draft import holdout_fraction
from starterkit.cli.init.headers import (
    says_id,
    says_of_a_life,
    says_period,
    says_when,
    tells_of_vehicles,
    word_set,
    words_of,
)
from starterkit.cli.init.notation import year_of
from starterkit.cli.init.profile import ColumnProfile

_FEWEST_MOMENTS = 8
_FEWEST_OF_A_PANEL = 3
_FULLNESS = 0.66
_SHARES = (0.1, 0.45)
_WITHIN_A_YEAR = word_set("month quarter week day monat quartal woche tag mon qtr")


@dataclass(frozen=True)
class Panel:
    """A row for each unit and time."""

    unit: ColumnProfile
    time: ColumnProfile


@dataclass(frozen=True)
class Series:
    """The rows' order in time.

    Attributes
    ----------
    cutoff
        From this ISO date on the rows are the holdout.
    as_iso
        What `load` makes of the column, for which {} stands; nothing where it has ISO dates.
    """

    column: ColumnProfile
    cutoff: str
    as_iso: str
    review: str


def find_panel(columns: Sequence[ColumnProfile]) -> Panel | None:
    """The first column whose values are each seen at most once at each time, and at most of the times."""
    rows = len(columns[0].values) if columns else 0
    times = [one for one in columns if not one.missing and _tells_time(one) and 2 < one.distinct <= rows / 2]
    units = [
        one for one in columns if not one.missing and (one.is_whole or one.kind == "text") and not _tells_time(one)
    ]
    for time in times:
        for unit in sorted(units, key=lambda one: one.kind != "text"):
            cells = time.distinct * unit.distinct
            if unit.distinct < _FEWEST_OF_A_PANEL or rows < cells * _FULLNESS:
                continue
            if not pd.DataFrame({"unit": unit.values, "time": time.values}).duplicated().any():
                return Panel(unit, time)
    return None


def _tells_time(column: ColumnProfile) -> bool:
    if column.kind == "date":
        return not says_of_a_life(column.header)
    return says_period(column.header) and (column.is_whole or (column.is_number and year_of(column.values)))


def find_series(
    columns: Sequence[ColumnProfile], target: ColumnProfile, panel: Panel | None, *, is_class: bool
) -> tuple[Series | None, str]:
    """The column that orders the rows in time with its cut-off, or a word on one that nearly does."""
    vehicles = tells_of_vehicles(one.header for one in columns)
    told = [one for one in columns if not (vehicles and one.is_number and says_period(one.header))]
    moments = {one.header: found for one in told if (found := _moments(one)) is not None}
    rising = [name for name, at in moments.items() if at.is_monotonic_increasing or at.is_monotonic_decreasing]
    ordered = [one for one in columns if one.header in rising]
    named = [one for one in columns if one.header in moments and one.kind == "date" and says_when(one.header)]
    of_panel = [one for one in columns if panel and one.header == panel.time.header and one.header in moments]
    for column in [*of_panel, *(one for one in ordered if _is_series(one, columns)), *named]:
        if column.distinct < (_FEWEST_OF_A_PANEL if column in of_panel else _FEWEST_MOMENTS) and column not in ordered:
            continue
        stamps = moments[column.header]
        cutoff = _cutoff(stamps, target, is_class)
        if cutoff is None:
            why = "no cut-off leaves every class on both sides, so these are drawn at random"
            return None, f"the rows are in time, by '{column.header}', but {why}"
        later = int((stamps >= pd.Timestamp(cutoff)).sum())
        what = "orders the rows in time" if column in ordered else "says when each row was"
        how = f"the {later} rows from {cutoff} on are the holdout; without time() they would be drawn at random"
        return Series(column, cutoff, _as_iso(column), f"{what}: {how}"), ""
    return None, _word_on(ordered, columns, panel)


def _moments(column: ColumnProfile) -> pd.Series | None:
    """The moment of each row; None where the column has none, or not in every row."""
    if column.missing or says_of_a_life(column.header) or says_id(column.header):
        return None
    if column.kind == "date":
        if column.moments is None:
            return None
        if not column.moments.by_text:
            return pd.to_datetime(column.values, utc=True).dt.tz_convert(None)
        return column.values.map(column.moments.by_text)
    if column.is_number and says_period(column.header) and year_of(column.values):
        years = column.values.astype("int64").astype("str")
        return pd.Series(years.to_numpy(dtype="datetime64[Y]").astype("datetime64[us]"), index=years.index)
    if column.is_number and says_when(column.header) and (unit := _unit_since_1970(column)):
        return pd.to_datetime(column.values, unit=unit)
    return None


def _unit_since_1970(column: ColumnProfile) -> Literal["s", "ms"] | None:
    """What the numbers count since 1970, where all are moments between 1973 and 2096."""
    for unit, most in (("s", 4e9), ("ms", 4e12)):
        if column.values.between(most / 40, most).all():
            return unit  # pyrefly: ignore[bad-return]
    return None


def _as_iso(column: ColumnProfile) -> str:
    if column.kind == "date":
        return column.moments.as_iso if column.moments else ""
    if unit := _unit_since_1970(column):
        return f'pd.to_datetime({{}}.astype("float64"), unit="{unit}").dt.strftime("%Y-%m-%d %H:%M:%S")'
    return "{}.str[:4]" if column.kind == "float" else ""


def _is_series(column: ColumnProfile, columns: Sequence[ColumnProfile]) -> bool:
    """Whether the order matters: many moments, or years with months within them."""
    within = any(not _WITHIN_A_YEAR.isdisjoint(words_of(one.header)) for one in columns if one is not column)
    return column.distinct >= (_FEWEST_OF_A_PANEL if within else _FEWEST_MOMENTS)


def _cutoff(stamps: pd.Series, target: ColumnProfile, is_class: bool) -> str | None:
    """The day that leaves about a fifth of the rows, and no class that was never seen, at or after it."""
    days = stamps.dt.normalize()
    counts = days.value_counts().sort_index(ascending=False).cumsum() / len(days)
    fitting = counts[(counts >= _SHARES[0]) & (counts <= _SHARES[1])]
    for day in (fitting - holdout_fraction(len(days))).abs().sort_values().index:
        later = days >= day
        if not is_class or (
            set(target.values[later]) <= set(target.values[~later]) and target.values[later].nunique() > 1
        ):
            return str(pd.Timestamp(day).date())
    return None


def _word_on(ordered: Sequence[ColumnProfile], columns: Sequence[ColumnProfile], panel: Panel | None) -> str:
    if panel is not None:
        unit, time = panel.unit.header, panel.time.header
        return f"a panel, each '{unit}' has a row for each '{time}', which is no date: its rows are drawn at random"
    few = [one.header for one in ordered if one.distinct >= _FEWEST_OF_A_PANEL]
    counted = [
        one.header
        for one in columns
        if one.is_number
        and not one.missing
        and says_period(one.header)
        and one.values.is_monotonic_increasing
        and one.distinct > _FEWEST_MOMENTS
    ]
    if not few and not counted:
        return ""
    header = [*few, *counted][0]
    return f"the file is in the order of '{header}': if later rows are asked about, give a date and declare time()"
