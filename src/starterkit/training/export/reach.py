"""How far the proof goes: the schema's bounds, and where there are none, as far beyond what was seen as is said.

See docs/decisions/0005-parity.md.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import pandas as pd

from starterkit.contract import Column
from starterkit.data.synthetic import draw_rows

_ROWS = 500
_SEED = 20041
_MOST = 2.0**53
"""Up to here every whole number is a float64 of its own."""
_LARGEST = 1e300

Answers = Callable[[pd.DataFrame], bool]
"""Whether the estimator has a number for each of some rows."""


class Reach:
    """The ranges in which numbers are to be proven.

    Parameters
    ----------
    columns, seen
        The features, and the rows of the data.
    multiple
        Beyond the values seen, where the schema has no bound, as a multiple of their range.
    """

    def __init__(self, columns: Sequence[Column], seen: pd.DataFrame, multiple: float) -> None:
        self._columns, self._seen = tuple(columns), seen
        small = min(multiple, 1.0)
        # Downward and upward. None: no further down than was seen, where nothing negative was.
        self._steps = [(multiple, multiple), (None, multiple), (None, small), (0.0, 0.0)]

    def within(self, answers: Answers) -> tuple[Column, ...]:
        """The columns with their ranges, which narrow where the estimator has no number: a logarithm, a power."""
        taken = dict.fromkeys((column.name for column in self._columns if _is_open(column)), 0)
        if not taken:
            return self._at(taken)
        while not answers(draw_rows(found := self._at(taken), self._seen, _ROWS, _SEED)):
            wider = [name for name, step in taken.items() if step + 1 < len(self._steps)]
            if not wider:
                return found
            alone = [name for name in wider if not answers(self._drawn_alone(found, name))]
            for name in alone or wider:
                taken[name] += 1
        return found

    def _drawn_alone(self, columns: Sequence[Column], name: str) -> pd.DataFrame:
        """Rows of which one column alone goes far."""
        still = tuple(one if one.name == name else replace(one, proven=None) for one in columns)
        return draw_rows(still, self._seen, _ROWS, _SEED)

    def _at(self, taken: Mapping[str, int]) -> tuple[Column, ...]:
        return tuple(self._reaching(column, taken.get(column.name, 0)) for column in self._columns)

    def _reaching(self, column: Column, step: int) -> Column:
        if column.type not in ("float", "integer") or column.categories:
            return column
        known = self._seen[column.name].dropna()
        lowest, highest = float(known.min()), float(known.max())
        span = highest - lowest or max(abs(highest), 1.0)
        down, up = self._steps[step]
        if down is None:
            down = up if lowest < 0 else 0.0
        most = _MOST if column.type == "integer" else _LARGEST
        low = max(_outward(lowest - span * down, -1), -most)
        high = min(_outward(highest + span * up, 1), most)
        return replace(
            column,
            proven=(
                low if column.minimum is None else float(column.minimum),
                high if column.maximum is None else float(column.maximum),
            ),
        )


def _is_open(column: Column) -> bool:
    numeric = column.type in ("float", "integer") and not column.categories
    return numeric and (column.minimum is None or column.maximum is None)


def _outward(number: float, sign: int) -> float:
    """The next number of two digits: one that could be a single person's must not stand in a contract."""
    if not number or not math.isfinite(number):
        return number
    unit = 10.0 ** (math.floor(math.log10(abs(number))) - 1)
    return float(f"{(math.ceil if sign > 0 else math.floor)(number / unit) * unit:.12g}")
