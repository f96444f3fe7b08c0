"""How two predictions are compared: relatively for numbers, absolutely for probabilities, and NaN is never right."""

from dataclasses import replace

import numpy as np
import pytest

from starterkit.contract import Parity, Prediction
from starterkit.serving.predictor import compare


def numbers(expected: list[float], answered: list[float]) -> Parity:
    one, other = (Prediction(np.array(some, np.float64)) for some in (expected, answered))
    return compare(one, other, allowed=1e-3, scale=10.0)


def classes(expected: list[list[float]], answered: list[list[float]], labels: str, others: str) -> Parity:
    first = Prediction(np.array(list(labels)), np.array(expected))
    second = Prediction(np.array(list(others)), np.array(answered))
    return compare(first, second, allowed=1e-6, scale=1.0)


@pytest.mark.parametrize(
    ("expected", "answered", "largest", "proven"),
    [
        ([100, 200], [100, 200], 0, True),
        ([100, 200], [100, 200.1], 5e-4, True),
        ([100, 200], [100, 200.3], 1.5e-3, False),
        ([0.001], [0.006], 5e-4, True),  # beside a spread of 10 this is nothing
        ([-100], [-100.05], 5e-4, True),
        ([-100], [100], 2, False),
        ([1, 2], [1, np.nan], np.inf, False),
        ([1, np.nan], [1, np.nan], np.inf, False),
        ([1, 2], [1, np.inf], np.inf, False),
        ([1, 2], [1], np.inf, False),
        ([1, 2], [1, 2, 3], np.inf, False),
    ],
)
def test_numbers_are_compared_relatively(
    expected: list[float], answered: list[float], largest: float, proven: bool
) -> None:
    found = numbers(expected, answered)
    assert found.largest == pytest.approx(largest)
    assert (found.proven, found.rows) == (proven, len(expected))


@pytest.mark.parametrize(
    ("answered", "labels", "flipped", "proven"),
    [
        ([[0.9, 0.1], [0.2, 0.8]], "ab", 0, True),
        ([[0.9 + 5e-7, 0.1 - 5e-7], [0.2, 0.8]], "ab", 0, True),
        ([[0.9 + 5e-6, 0.1 - 5e-6], [0.2, 0.8]], "ab", 0, False),
        ([[0.9, 0.1], [0.2, 0.8]], "bb", 1, False),
        ([[0.1, 0.9], [0.2, 0.8]], "bb", 1, False),
        ([[0.9, 0.1], [np.nan, np.nan]], "ab", 0, False),
        ([[0.9, 0.1, 0], [0.2, 0.8, 0]], "ab", 0, False),
    ],
)
def test_probabilities_are_compared_absolutely(
    answered: list[list[float]], labels: str, flipped: int, proven: bool
) -> None:
    found = classes([[0.9, 0.1], [0.2, 0.8]], answered, "ab", labels)
    assert (found.flipped_labels, found.proven) == (flipped, proven)


def test_a_label_may_flip_where_two_classes_are_equal() -> None:
    tie = classes([[0.5, 0.5]], [[0.5, 0.5]], "a", "b")
    assert (tie.proven, tie.ties, tie.flipped_labels) == (True, 1, 0)
    near = classes([[0.5 + 1e-7, 0.5 - 1e-7]], [[0.5 - 1e-7, 0.5 + 1e-7]], "a", "b")
    assert (near.proven, near.ties, near.flipped_labels) == (False, 0, 1)
    assert not classes([[0.6, 0.4]], [[0.6, 0.4]], "a", "b").proven


def test_decision_values_are_compared_relatively_and_labels_one_by_one() -> None:
    labels, decisions = np.array([4_000_000, 4_000_001]), np.array([[-30.0], [2.0]])
    said = Prediction(labels, decision_values=decisions)
    assert compare(said, Prediction(labels, decision_values=decisions * 1.0001), allowed=1e-3, scale=10.0).proven
    assert not compare(said, Prediction(labels, decision_values=decisions * 1.01), allowed=1e-3, scale=10.0).proven
    bare = compare(Prediction(labels), Prediction(labels[::-1]), allowed=1e-3, scale=10.0)
    assert (bare.flipped_labels, bare.proven) == (2, False)


def test_exactly_the_limit_passes() -> None:
    assert Parity(rows=1, measure="m", largest=1e-5, allowed=1e-5, scale=1.0).proven
    assert not Parity(rows=1, measure="m", largest=1.01e-5, allowed=1e-5, scale=1.0).proven
    assert not Parity(rows=1, measure="m", largest=float("nan"), allowed=1e-5, scale=1.0).proven


def test_a_row_in_another_leaf_is_no_parity_though_the_answers_agree() -> None:
    sound = Parity(rows=1, measure="m", largest=0.0, allowed=1e-5, scale=1.0, probed=9)
    assert sound.proven
    assert not replace(sound, flipped_leaves=1).proven
    both = sound.with_more(replace(sound, largest=1e-6, flipped_leaves=2, ties=3))
    assert (both.rows, both.probed, both.largest, both.flipped_leaves, both.ties) == (2, 18, 1e-6, 2, 3)
