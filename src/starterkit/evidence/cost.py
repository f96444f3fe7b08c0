"""What answers cost, measured side by side: a busy machine slows both versions down alike."""

import time
from statistics import median

from starterkit.inference import Columns, Predictor
from starterkit.verdict import Cost

_MOST_ROWS = 1000
_WARM_UP = 3
_LEAST_ROUNDS = 15
_MOST_ROUNDS = 200
_SECONDS = 1.0


def measure_costs(challenger: Predictor, champion: Predictor, columns: Columns) -> tuple[Cost, Cost]:
    """The cost of both, over the same rows, in turns, with medians over the turns."""
    one = {name: values[:1] for name, values in columns.items()}
    many = {name: values[:_MOST_ROWS] for name, values in columns.items()}
    single, several = (_in_turns(challenger, champion, asked) for asked in (one, many))
    rows = len(next(iter(many.values())))
    ours, theirs = (
        Cost(one_row=single[place], many_rows=several[place], rows=rows, size=predictor.size)
        for place, predictor in enumerate((challenger, champion))
    )
    return ours, theirs


def _in_turns(challenger: Predictor, champion: Predictor, columns: Columns) -> tuple[float, float]:
    """Median seconds of a call, for as many turns as the time allows, but a few in any case."""
    for _ in range(_WARM_UP):
        _seconds(challenger, columns), _seconds(champion, columns)
    turns: list[tuple[float, float]] = []
    end = time.perf_counter() + _SECONDS / 2
    while len(turns) < _LEAST_ROUNDS or (len(turns) < _MOST_ROUNDS and time.perf_counter() < end):
        turns.append((_seconds(challenger, columns), _seconds(champion, columns)))
    return median(turn[0] for turn in turns), median(turn[1] for turn in turns)


def _seconds(predictor: Predictor, columns: Columns) -> float:
    began = time.perf_counter()
    predictor.predict(columns)
    return time.perf_counter() - began
