"""Answers kept and compared, bit for bit."""

from pathlib import Path
from typing import Any

import numpy as np

from starterkit.contract import Prediction
from starterkit.release.lineage import reproducer as answers
from starterkit.release.lineage.reproducer import difference


def of_numbers(*values: float) -> Prediction:
    return Prediction(np.array(values))


def of_classes(labels: str, probabilities: Any) -> Prediction:
    return Prediction(np.array(list(labels), dtype=object), np.array(probabilities))


def test_difference_is_bit_for_bit() -> None:
    one = of_numbers(0.0, np.nan, 1.0, 2.0)
    assert difference(one, of_numbers(0.0, np.nan, 1.0, 2.0)).identical
    found = difference(one, of_numbers(-0.0, np.nan, 1.0, 2.5))
    assert (found.rows, found.differing, found.largest, found.identical) == (4, 2, 0.5, False)


def test_difference_of_a_classifier_counts_labels_and_probabilities() -> None:
    one = of_classes("xy", [[0.5, 0.5], [0.2, 0.8]])
    found = difference(one, of_classes("yy", [[0.25, 0.75], [0.2, 0.8]]))
    assert (found.rows, found.differing, found.largest, found.labels) == (2, 1, 0.25, 1)
    assert not difference(one, of_classes("yy", one.probabilities)).identical
    assert difference(one, of_classes("xy", [[0.5, 0.4, 0.1], [0.2, 0.8, 0.0]])).differing == 2


def test_answers_come_back_from_the_file(tmp_path: Path) -> None:
    assert answers.read_answers(tmp_path) is None
    for one, other in (
        (of_numbers(1.0, np.nan), of_numbers(2.0, np.nan)),
        (of_classes("xy", [[0.5, 0.5], [0.2, 0.8]]), of_classes("yy", [[0.4, 0.6], [0.2, 0.8]])),
    ):
        answers.write_answers(tmp_path, one, other)
        kept = answers.read_answers(tmp_path)
        assert kept is not None
        assert difference(kept[0], one).identical
        assert difference(kept[1], other).identical
        assert not difference(*kept).identical
