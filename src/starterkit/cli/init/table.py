"""The user's file as it stands: CSV as text, so that 007 stays 007, or Parquet with its own types."""

import re
from difflib import get_close_matches
from pathlib import Path

import pandas as pd

from starterkit.data.sources import read_parquet, require_text
from starterkit.errors import DataError, first_line

_NUMBER = re.compile(r"[-+]?\d*\.?\d+([eE][-+]?\d+)?(\.\d+)?")
FEWEST_ROWS = 30
"""With fewer rows neither side of the holdout says anything."""


def read_table(path: Path) -> pd.DataFrame:
    """The whole table.

    Raises
    ------
    DataError
        There is no such file, or it cannot be read, or holds too little to learn from.
    """
    if not path.is_file():
        raise DataError(f"there is no file '{path}'", "Name a .csv or .parquet file")
    if path.suffix not in (".csv", ".parquet"):
        raise DataError(f"'{path.name}' is neither .csv nor .parquet", "Export it as .csv with commas, or as .parquet")
    frame = _csv(path) if path.suffix == ".csv" else _parquet(path)
    if repeated := frame.columns[frame.columns.duplicated()].tolist():
        raise DataError(f"{path.name} has the column '{repeated[0]}' more than once", "Rename one of them")
    if len(frame.columns) < 2:
        raise DataError(f"{path.name} has one column", "Give the target and at least one column to predict it from")
    if sum(_NUMBER.fullmatch(str(header)) is not None for header in frame.columns) > len(frame.columns) / 2:
        raise DataError(f"{path.name} has numbers where its header should be", "Begin the file with a header line")
    if len(frame) < FEWEST_ROWS:
        rows = "no rows" if frame.empty else "one row" if len(frame) == 1 else f"{len(frame)} rows"
        raise DataError(f"{path.name} has {rows}, and at least {FEWEST_ROWS} are needed", "Give more rows")
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
    mend = f"Did you mean '{alike[near[0]]}'?" if near else f"Name one of {few}"
    raise DataError(f"{where} has no column '{target}'", mend.rstrip("?"))


def _csv(path: Path) -> pd.DataFrame:
    require_text(path)
    try:
        frame = pd.read_csv(path, dtype="str", keep_default_na=False, na_values=[""], encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        words = first_line(error).removeprefix("Error tokenizing data. C error: ")
        raise DataError(f"{path.name} cannot be read: {words}", "Repair or replace it") from error
    if not isinstance(frame.index, pd.RangeIndex):  # pandas takes what is too much for row names
        raise DataError(f"{path.name} has rows with more fields than its header", "Repair or replace it")
    return frame.set_axis(_headers(path), axis="columns")


def _headers(path: Path) -> list[str]:
    """The header line as it is written: pandas calls the second ``x`` ``x.1``. What has no header keeps pandas'."""
    line = pd.read_csv(path, dtype="str", header=None, nrows=1, keep_default_na=False, encoding="utf-8-sig")
    return [header or f"Unnamed: {place}" for place, header in enumerate(line.iloc[0])]


def _parquet(path: Path) -> pd.DataFrame:
    try:
        frame = read_parquet(path)
    except (OSError, ValueError) as error:
        raise DataError(f"{path.name} cannot be read: {first_line(error)}", "Repair or replace it") from error
    return frame.rename(columns=str)
