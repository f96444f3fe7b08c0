"""The rule of non-regression at its edges, on errors that are chosen so that the edge is met exactly."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from starterkit.contract import Prediction
from starterkit.metrics import METRICS
from starterkit.release.gate import comparison as bootstrap
from starterkit.release.gate.comparison import (
    Rule,
    Shortfall,
    _needed,
    compare_with_champion,
    paired_shortfall,
    student,
)
from starterkit.verdict import Comparison, Evidence


@pytest.fixture
def answered(evidence: Any) -> Any:
    """Evidence over 40 rows, each with a target of zero: what a version answers is its error."""

    def make(challenger: Any, champion: Any, metric: str = "mae", **changes: Any) -> Evidence:
        shown = evidence(rows=40, actual=np.zeros(40), metric=METRICS[metric])
        ours, theirs = (Prediction(np.broadcast_to(values, 40).astype(float)) for values in (challenger, champion))
        return replace(
            shown,
            challenger=replace(shown.challenger, prediction=ours),
            champion=replace(shown.champion, prediction=theirs),
            **changes,
        )

    return make


def judged(shown: Evidence, tolerance: float = 0.0, min_rows: int = 30, rows: Any = None) -> Comparison:
    return compare_with_champion(shown, Rule(tolerance, min_rows), rows)


@pytest.mark.parametrize(
    ("challenger", "tolerance", "outcome"),
    [
        (1.5, 0.5, "not worse"),  # the upper bound is the margin
        (1.75, 0.5, "worse"),
        (-1.0, 0.0, "not worse"),  # other answers, as far off: the upper bound is zero, and so is the margin
        (-0.5, 0.0, "not worse"),
        (1.0625, 0.0, "worse"),
    ],
)
def test_the_margin_itself_is_within(answered, challenger, tolerance, outcome):
    found = judged(answered(challenger, 1.0), tolerance)
    assert (found.outcome, found.same) == (outcome, False)
    assert (found.figure, found.serving, found.margin) == (abs(challenger), 1.0, tolerance)
    assert found.low == found.high == abs(challenger) - 1


def test_one_row_alone_does_not_make_a_version_worse(answered):
    """Its interval is as wide as the difference that it makes."""
    one_row = np.ones(40)
    one_row[0] = 9
    one_row[1:10] = -1  # other answers, as far off
    found = judged(answered(one_row, 1.0))
    assert found.differing == 10
    assert found.low < 0 < found.high
    assert found.outcome == "not enough rows"


@pytest.mark.parametrize(("min_rows", "concluded"), [(40, True), (41, False)])
@pytest.mark.parametrize(("challenger", "outcome"), [(0.5, "not worse"), (2.0, "worse")])
def test_fewer_rows_than_asked_for_conclude_nothing_good(answered, min_rows, concluded, challenger, outcome):
    found = judged(answered(challenger, 1.0), min_rows=min_rows)
    assert found.outcome == (outcome if concluded or outcome == "worse" else "not enough rows")


@pytest.mark.parametrize("champion", [1.0, np.nan])
def test_an_answer_that_is_no_number_is_worse_however_few_rows(answered, champion):
    one = np.where(np.arange(40) == 3, np.nan, champion)
    assert judged(answered(one, champion), min_rows=1000).outcome == "worse"


def test_where_there_is_no_figure_nothing_is_concluded_but_the_same_answers_pass(answered):
    assert judged(answered(1.0, np.nan)).outcome == "not enough rows"
    # r² has none where the target does not vary.
    assert judged(answered(2.0, 2.0, "r2")).outcome == "not worse"
    other = judged(answered(1.0, 2.0, "r2"))
    assert (other.outcome, np.isnan([other.figure, other.serving]).all()) == ("not enough rows", True)


@pytest.mark.parametrize(
    ("differing", "answer", "outcome"),
    [
        (9, 0.5, "not enough rows"),
        (10, 0.5, "not worse"),
        (4, 3.0, "not enough rows"),  # two that are alike differ so in one of sixteen draws
        (5, 3.0, "worse"),
    ],
)
def test_a_few_rows_that_differ_conclude_nothing(answered, differing, answer, outcome):
    values = np.where(np.arange(40) < differing, answer, 1.0)
    assert judged(answered(values, 1.0)).outcome == outcome
    assert judged(answered(values, 1.0, groups=np.arange(40) // 2)).outcome == "not enough rows"


@pytest.mark.parametrize(("challenger", "outcome"), [(1.4, "not enough rows"), (1.7, "worse"), (0.5, "not worse")])
def test_worse_is_worse_than_the_margin(answered, challenger, outcome):
    """A version that is worse for certain, by about as much as is allowed, is not refused for it."""
    values = challenger + np.tile([-0.5, 0.5], 20)
    found = judged(answered(values, 1.0), 0.5)
    assert found.outcome == outcome
    assert (found.low > 0) == (challenger > 1)


@pytest.mark.parametrize(("zeros", "outcome"), [(0, "not enough rows"), (9, "not enough rows"), (10, "not worse")])
def test_a_class_of_few_rows_decides_nothing(classified, zeros, outcome):
    shown = replace(classified("log_loss", (FALSE, SURE), (FALSE, UNSURE)), actual=np.arange(40) < zeros)
    sure, unsure = (np.where(shown.actual[:, None], one[:, ::-1], one) for one in (SURE, UNSURE))
    shown = replace(shown, challenger=replace(shown.challenger, prediction=Prediction(FALSE, sure)))
    shown = replace(shown, champion=replace(shown.champion, prediction=Prediction(FALSE, unsure)))
    assert judged(shown).outcome == outcome


@pytest.fixture
def classified(answered: Any, contract: Any) -> Any:
    """The same with two classes, of which all rows are the first: made of labels and probabilities."""

    def make(metric: str, ours: tuple[Any, Any], theirs: tuple[Any, Any]) -> Evidence:
        known = contract(classes=(False, True))
        shown = answered(0.0, 0.0, metric, contract=known, champion_contract=known)
        return replace(
            shown,
            actual=FALSE,
            challenger=replace(shown.challenger, prediction=Prediction(*ours)),
            champion=replace(shown.champion, prediction=Prediction(*theirs)),
        )

    return make


FALSE = np.full(40, False)
SURE, UNSURE = (np.column_stack([1 - chance, chance]) for chance in (np.full(40, 0.1), np.full(40, 0.4)))


def test_for_the_accuracy_rows_differ_where_one_alone_is_right(classified):
    def given(labels: Any, probabilities: Any) -> Evidence:
        return classified("accuracy", (labels, probabilities), (FALSE, UNSURE))

    assert judged(given(FALSE, SURE), min_rows=1000).outcome == "not worse"  # the same labels
    assert judged(given(FALSE, SURE * np.nan)).outcome == "worse"
    found = judged(given(np.arange(40) < 9, SURE), tolerance=1.0)
    assert (found.differing, found.outcome) == (9, "not enough rows")


@pytest.mark.parametrize(
    ("metric", "figure", "loss"),
    [("accuracy", 0.99, 0.01), ("roc_auc", 0.8, 0.2), ("r2", -4.0, 5.0), ("rmse", 3.0, 3.0), ("log_loss", 0.4, 0.4)],
)
def test_the_loss_is_what_is_left_to_improve(metric, figure, loss):
    assert METRICS[metric].loss(figure) == pytest.approx(loss)


@pytest.mark.parametrize("value", [1.0, np.nan])
def test_the_same_answers_pass_unless_they_are_none(answered, value):
    found = judged(answered(value, value), min_rows=1000)
    assert (found.same, found.outcome) == ((False, "worse") if np.isnan(value) else (True, "not worse"))


def test_a_figure_below_zero_has_a_margin_too(answered):
    """r² is below zero for a version that is worse than the mean."""
    shown = replace(answered(0.0, 0.0, "r2"), actual=np.tile([-1.0, 1.0], 20))
    champion = replace(shown.champion, prediction=Prediction(np.full(40, 2.0)))
    found = judged(replace(shown, champion=champion), 0.1)
    assert (found.figure, found.serving, found.margin) == (0.0, -4.0, pytest.approx(0.5))


def test_chosen_rows_alone_are_compared(answered):
    half = np.arange(40) < 20
    shown = answered(np.where(half, 2.0, 0.5), 1.0, groups=np.repeat(np.arange(20), 2))
    left, right = judged(shown, min_rows=10, rows=half), judged(shown, min_rows=10, rows=~half)
    assert (left.outcome, left.figure, left.serving, left.units) == ("worse", 2.0, 1.0, 10)
    assert (right.outcome, right.figure, right.serving, right.units) == ("not worse", 0.5, 1.0, 10)
    assert judged(replace(shown, groups=None), rows=half).units == 20
    assert judged(shown).units == 20


def test_probabilities_are_compared_row_by_row(classified):
    def given(ours: Any, theirs: Any) -> Evidence:
        return classified("log_loss", (FALSE, ours), (FALSE, theirs))

    half, part = np.arange(40) < 20, np.ones(40, bool)
    assert judged(given(SURE, UNSURE), rows=part).outcome == "not worse"
    assert judged(given(UNSURE, SURE), rows=part).outcome == "worse"
    assert not judged(given(SURE, UNSURE), min_rows=1000).same  # the same labels are not the same answers
    assert judged(given(SURE, SURE), min_rows=1000).same
    mixed = np.where(half[:, None], SURE, UNSURE)
    assert judged(given(mixed, SURE)).differing == 20
    assert judged(given(mixed, SURE), min_rows=20, rows=half).same
    assert judged(given(mixed, SURE), min_rows=20, rows=~half).outcome == "worse"


@pytest.mark.parametrize(
    ("half_width", "shortfall", "margin", "needed"),
    [
        (1.0, 0.0, 0.5, 400),  # four times as many halve the interval twice
        (1.0, 0.25, 0.5, 1600),  # half of the room is left
        (1.0, 1.5, 0.5, 100),  # beyond the margin by as much as the interval is wide: just told already
        (0.5, 1.0, 0.0, 30),  # never fewer than the smallest number
        (1.0, -0.6, 0.0, 280),  # 277.8: two digits, rounded up
        (3.0, 0.0, 0.1, 90_000),
        (1.0, 0.0, 0.9, 130),  # 123.5
        (1.0, 0.0, 0.0, 0),  # as good, and no margin: no number tells
        (float("nan"), 0.0, 0.5, 0),
        (1.0, float("nan"), 0.5, 0),
    ],
)
def test_how_many_rows_would_tell(half_width, shortfall, margin, needed):
    assert _needed(100, half_width, shortfall, margin, 30) == needed


@pytest.mark.parametrize(("half_width", "needed"), [(0.3, 9), (0.99, 99), (1.0, 100), (1.01, 110), (3.17, 1100)])
def test_the_number_is_rounded_up_to_two_digits(half_width, needed):
    assert _needed(100, half_width, 0.0, 1.0, 1) == needed


def test_the_number_comes_from_the_interval(answered):
    """Half of the interval is what has to shrink."""
    values = np.tile([0.5, 1.6], 20)
    found = judged(answered(values, 1.0), 0.1)
    assert found.outcome == "not enough rows"
    half_width = (found.high - found.low) / 2
    assert found.needed == _needed(40, half_width, found.figure - found.serving, found.margin, 30) > 40


# --- The interval itself, on figures that are known beforehand.

ROWS = np.arange(40)


class Counted:
    """A figure that only counts the resamples: 0, 1, 2 and so on. The first `missing` ones have none."""

    def __init__(self, missing: int = 0) -> None:
        self.seen = 0
        self._missing = missing

    def __call__(self, weights: Any) -> Any:
        numbers = np.arange(self.seen, self.seen + len(weights), dtype=float)
        self.seen += len(weights)
        return np.where(numbers < self._missing, np.nan, numbers)


def nothing(weights: Any) -> Any:
    return np.zeros(len(weights))


def mean_of(values: Any) -> Any:
    return lambda weights: (weights * values).sum(axis=1) / weights.sum(axis=1)


@pytest.mark.parametrize(("metric", "sign"), [("rmse", 1), ("r2", -1)])
def test_the_ends_are_students_around_the_figure(metric, sign):
    counted = Counted()
    found = paired_shortfall(METRICS[metric], counted, nothing, ROWS, 0.1)
    assert counted.seen == 2001  # the figure itself is asked last
    reach = student(0.1, 39) * np.arange(2000).std() * np.sqrt(40 / 39)
    assert (found.low, found.high) == (pytest.approx(sign * 2000 - reach), pytest.approx(sign * 2000 + reach))


@pytest.mark.parametrize("freedom", [4, 14, 49, 2000])
@pytest.mark.parametrize("error_rate", [0.05, 0.05 / 3, 0.001])
def test_students_points_are_the_tables(error_rate, freedom):
    assert student(error_rate, freedom) == pytest.approx(t.ppf(1 - error_rate, freedom), rel=0.01)


@pytest.mark.parametrize(("missing", "defined"), [(20, True), (21, False)])
def test_one_resample_in_a_hundred_may_be_without_a_figure(missing, defined):
    found = paired_shortfall(METRICS["rmse"], Counted(missing), nothing, ROWS, 0.05)
    assert np.isfinite([found.low, found.high]).tolist() == [defined, defined]


@pytest.mark.parametrize("units", [4, 5])
def test_four_rows_have_no_interval(units):
    found = paired_shortfall(METRICS["rmse"], mean_of(np.arange(units)), nothing, np.arange(units), 0.05)
    assert np.isnan(found.low) == (units < 5)


def test_the_interval_is_that_of_the_textbook_around_the_difference():
    values = np.random.default_rng(0).normal(size=40)
    found = paired_shortfall(METRICS["rmse"], mean_of(values + 3), mean_of(values), ROWS, 0.05)
    assert (found.low, found.high) == (pytest.approx(3), pytest.approx(3))
    # A mean of 400 values with a deviation of one: plus and minus 1.645 / √400 around it.
    values = np.random.default_rng(0).normal(size=400)
    values = (values - values.mean()) / values.std()
    found = paired_shortfall(METRICS["rmse"], mean_of(values), nothing, np.arange(400), 0.05)
    assert (found.low, found.high) == (pytest.approx(-0.0822, abs=0.005), pytest.approx(0.0822, abs=0.005))


def test_memory_is_bounded_and_changes_nothing(monkeypatch):
    values, heights = np.random.default_rng(0).integers(0, 1000, 40), []  # whole numbers add up the same in any order

    def watched(weights: Any) -> Any:
        heights.append(len(weights))
        return mean_of(values)(weights)

    def interval() -> Shortfall:
        heights.clear()
        return paired_shortfall(METRICS["rmse"], watched, nothing, ROWS, 0.05)

    at_once = interval()
    assert heights == [2000, 1]
    monkeypatch.setattr(bootstrap, "_CELLS", 40 * 300)
    assert interval() == at_once
    assert heights == [300] * 6 + [200, 1]
    monkeypatch.setattr(bootstrap, "_CELLS", 39)  # not even one resample fits: it is drawn all the same
    assert interval() == at_once
    assert heights == [1] * 2001


def test_rows_of_a_group_are_drawn_together():
    groups, drawn = np.array([0, 1, 1, 2, 2, 2]), []

    def watched(weights: Any) -> Any:
        drawn.append(weights)
        return np.zeros(len(weights))

    assert paired_shortfall(METRICS["rmse"], watched, nothing, groups, 0.05).units == 3
    weights = np.concatenate(drawn)
    assert weights.shape == (2000, 6)
    assert weights.dtype == np.float64
    np.testing.assert_array_equal(weights, weights[:, [0, 1, 1, 3, 3, 3]])
    once = weights[:, [0, 1, 3]]
    assert (once.sum(axis=1) == 3).all()
    assert len(np.unique(once, axis=0)) == 10  # every way to draw three of three
    np.testing.assert_allclose(once.mean(axis=0), 1, atol=0.06)
