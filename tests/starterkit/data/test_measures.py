"""How alone a person is, how far a column moved, and whether a raw identifier is left; the report has them all."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

from starterkit.contract import Column
from starterkit.data.policy import k_anonymity, overlap, shift

NUMBER = Column(name="x", role="feature", type="float", unit="", sensitivity="plain")
WORD = Column(name="x", role="feature", type="string", unit="", sensitivity="plain", categories=("a", "b"))


def test_smallest_group_is_found() -> None:
    rows = pd.DataFrame({"age": [40, 40, 40, 50, 50, 60], "sex": ["f", "f", "f", "m", "m", None]})
    assert vars(k_anonymity(rows, ["age", "sex"])) == {"smallest": 1, "groups": 3, "alone": 1}
    assert vars(k_anonymity(rows.head(5), ["age", "sex"])) == {"smallest": 2, "groups": 2, "alone": 0}
    assert k_anonymity(rows, ["sex"]).alone == 1  # whose value is missing is known by that
    assert k_anonymity(rows, []).smallest == 6
    people = pd.Series(["Ada", "Ada", "Ada", "Bo", "Cy"])  # rows of one person are no crowd
    assert vars(k_anonymity(rows.head(5), ["age"], people)) == {"smallest": 1, "groups": 2, "alone": 1}


@pytest.mark.parametrize(
    ("column", "before", "after", "expected"),
    [
        (NUMBER, [1.0, 2.0, 3.0], [3.0, 1.0, 2.0], 0),
        (NUMBER, [1.0, 2.0, None], [8.0, 9.0, None], 1),
        (NUMBER, [1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 4.5, 5.0], 0.5),
        (NUMBER, [None, None], [None, None], 0),
        (WORD, ["a", "a", "b", "b"], ["a", "b", "b", "b"], 0.25),
        (WORD, ["a", None], ["a", "a"], 0.5),
    ],
)
def test_shift_has_a_scale_from_0_to_1(column: Column, before: list[Any], after: list[Any], expected: float) -> None:
    assert shift(column, pd.Series(before), pd.Series(after)).value == pytest.approx(expected)


ROWS = np.arange(601)
LONG = pd.Series([f"PN-{n:06d}" for n in ROWS])
NUMBERED = pd.Series(ROWS * 7919 % 90_000 + 100_000)
SHORT = pd.Series(ROWS + 1)
FEET = pd.Series(np.random.default_rng(0).integers(0, 100, len(ROWS)))


@pytest.mark.parametrize(
    ("ids", "cells", "expected"),
    [
        (pd.Series(["P1", "P2", "P3"]), ["P1", "x", "P2"], 2),
        (LONG, "seen " + LONG + ", again", 601),
        (LONG, ["told by PN-000007"] + ["nobody"] * 600, 1),  # of another row
        (NUMBERED, NUMBERED, 601),
        (NUMBERED, NUMBERED.astype(float), 601),
        (NUMBERED, NUMBERED.where(ROWS == 5).astype("Int64"), 1),
        (NUMBERED, NUMBERED * 10 + 3, 601),
        (NUMBERED.astype(str), NUMBERED, 601),
        (SHORT, SHORT * 1.0, 601),
        (SHORT, "ward 3, bed " + SHORT.astype(str), 601),
        # By chance: an age is somebody's number, and a digit stands in any text.
        (SHORT, FEET, 0),
        (SHORT, "room " + FEET.astype(str), 0),
        (SHORT, FEET / 7, 0),
        (NUMBERED, FEET * 1000, 0),
        (LONG, [None] * 601, 0),
    ],
)
def test_identifier_that_is_still_there_is_counted(ids: pd.Series, cells: Any, expected: int) -> None:
    assert overlap(ids, pd.DataFrame({"cells": cells, "age": FEET[: len(ids)]})) == expected
