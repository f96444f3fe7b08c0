"""How alone a person is, and how far a column moved."""

from typing import Any

import pandas as pd
import pytest

from starterkit.contract import Column
from starterkit.data.privacy.k_anonymity import k_anonymity, overlap, shift

NUMBER = Column(name="x", role="feature", type="float", unit="", sensitivity="plain")
WORD = Column(name="x", role="feature", type="string", unit="", sensitivity="plain", categories=("a", "b"))


def test_smallest_group_is_found() -> None:
    rows = pd.DataFrame({"age": [40, 40, 40, 50, 50, 60], "sex": ["f", "f", "f", "m", "m", None]})
    assert vars(k_anonymity(rows, ["age", "sex"])) == {"smallest": 1, "groups": 3, "alone": 1}
    assert vars(k_anonymity(rows.head(5), ["age", "sex"])) == {"smallest": 2, "groups": 2, "alone": 0}
    assert k_anonymity(rows, ["sex"]).alone == 1  # whose value is missing is known by that
    assert k_anonymity(rows, []).smallest == 6


def test_rows_of_one_person_are_no_crowd() -> None:
    rows = pd.DataFrame({"age": [40, 40, 40, 50, 50]})
    people = pd.Series(["Ada", "Ada", "Ada", "Bo", "Cy"])
    assert vars(k_anonymity(rows, ["age"], people)) == {"smallest": 1, "groups": 2, "alone": 1}


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


def test_identifier_that_is_still_there_is_counted() -> None:
    table = pd.DataFrame({"name": ["P1", "x", "P2"], "note": ["a", "P1", "b"], "age": [1, 2, 3]})
    assert overlap(pd.Series(["P1", "P2", "P3"]), table) == 3
    assert overlap(pd.Series(["Q1"]), table) == 0
