"""How two predictions are compared: relatively for numbers, absolutely for probabilities, and NaN is never right."""

from dataclasses import replace

import numpy as np
import pytest

from starterkit.contract import Parity, Prediction
from starterkit.serving.predictor import compare


def numbers(expected: list[float], answered: list[float]) -> Parity:
    return compare(Prediction(np.array(expected)), Prediction(np.array(answered)), allowed=1e-3, scale=10.0)


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
def test_numbers_are_compared_relatively(expected, answered, largest, proven):
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
def test_probabilities_are_compared_absolutely(answered, labels, flipped, proven):
    found = classes([[0.9, 0.1], [0.2, 0.8]], answered, "ab", labels)
    assert (found.flipped_labels, found.proven) == (flipped, proven)


def test_a_label_may_flip_where_two_classes_are_equal():
    tie = classes([[0.5, 0.5]], [[0.5, 0.5]], "a", "b")
    assert (tie.proven, tie.ties, tie.flipped_labels) == (True, 1, 0)
    near = classes([[0.5 + 1e-7, 0.5 - 1e-7]], [[0.5 - 1e-7, 0.5 + 1e-7]], "a", "b")
    assert (near.proven, near.ties, near.flipped_labels) == (False, 0, 1)
    assert not classes([[0.6, 0.4]], [[0.6, 0.4]], "a", "b").proven


def test_the_limit_is_within_and_a_row_in_another_leaf_is_no_parity():
    assert Parity(rows=1, measure="m", largest=1e-5, allowed=1e-5, scale=1.0).proven
    assert not Parity(rows=1, measure="m", largest=1.01e-5, allowed=1e-5, scale=1.0).proven
    assert not Parity(rows=1, measure="m", largest=float("nan"), allowed=1e-5, scale=1.0).proven
    sound = Parity(rows=1, measure="m", largest=0.0, allowed=1e-5, scale=1.0, probed=9)
    assert sound.proven
    assert not replace(sound, flipped_leaves=1).proven
    both = sound.with_more(replace(sound, largest=1e-6, flipped_leaves=2, ties=3))
    assert (both.rows, both.probed, both.largest, both.flipped_leaves, both.ties) == (2, 18, 1e-6, 2, 3)
