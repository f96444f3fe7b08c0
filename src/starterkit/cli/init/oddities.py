"""Rows that are no records: the totals at the end of a sheet, a header that is there again."""

import numpy as np
import pandas as pd

from starterkit.cli.init.draft import OddRow
from starterkit.cli.init.headers import word_set
from starterkit.cli.init.numerals import looks_like_number

_TOTALS = word_set("total totals total: sum sums sum: subtotal gesamt gesamtsumme summe insgesamt totaal totale somme")
_MORE_TOTALS = frozenset(["grand total", "grand totals", "total general", "column total"])
_AT_THE_END = 3
_FIRST_COLUMNS = 3


def find_odd_rows(frame: pd.DataFrame) -> dict[int, OddRow]:
    """What is no record, by its place. The name of an `OddRow` is still the header."""
    texts = frame.select_dtypes(include=["str", "object"])
    if len(texts.columns) < 2:
        return {}
    return {place: _again(texts, place) for place in _headers_again(texts)} | _totals(texts)


def _headers_again(texts: pd.DataFrame) -> list[int]:
    same = np.zeros(len(texts), dtype=int)
    for header in texts:
        same += (texts[header] == header).to_numpy(dtype=bool, na_value=False)
    return np.flatnonzero(same * 2 > len(texts.columns)).tolist()


def _again(texts: pd.DataFrame, place: int) -> OddRow:
    said = next(str(header) for header in texts if texts[header].iloc[place] == header)
    return OddRow(name=said, text=said, what="the header again")


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
