"""The rule of non-regression at its edges, on errors that are chosen so that the edge is met exactly."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import t

from starterkit.contract import Prediction
from starterkit.metrics import METRICS, Metric
from starterkit.release.gate import comparison as bootstrap
from starterkit.release.gate.comparison import Rule, _differ, _needed, compare_with_champion, paired_shortfall, student
from starterkit.verdict import Comparison, Evidence

NAN = float("nan")
PLACE = np.arange(40)
FALSE = np.full(40, False)
SURE, UNSURE = (np.column_stack([1 - chance, chance]) for chance in (np.full(40, 0.1), np.full(40, 0.4)))


def with_answers(shown: Evidence, ours: Prediction, theirs: Prediction, **changes: Any) -> Evidence:
    challenger, champion = replace(shown.challenger, prediction=ours), replace(shown.champion, prediction=theirs)
    return replace(shown, challenger=challenger, champion=champion, **changes)


@pytest.fixture
def answered(evidence: Any) -> Any:
    """Evidence over 40 rows, each with a target of zero: what a version answers is its error."""

    def make(challenger: Any, champion: Any, metric: str = "mae", **changes: Any) -> Evidence:
        both = (Prediction(np.broadcast_to(values, 40).astype(float)) for values in (challenger, champion))
        return with_answers(evidence(rows=40, actual=np.zeros(40), metric=METRICS[metric]), *both, **changes)

    return make


@pytest.fixture
def classified(answered: Any, contract: Any) -> Any:
    """The same with two classes, of which all rows are the first: made of labels and probabilities."""

    def make(ours: Any, theirs: Any, labels: Any = FALSE, metric: str = "log_loss", actual: Any = FALSE) -> Evidence:
        known = contract(classes=(False, True))
        shown = answered(0.0, 0.0, metric, contract=known, champion_contract=known)
        return with_answers(shown, Prediction(labels, ours), Prediction(FALSE, theirs), actual=actual)

    return make


def judged(shown: Evidence, tolerance: float = 0.0, min_rows: int = 30, rows: Any = None) -> Comparison:
    return compare_with_champion(shown, Rule(tolerance, min_rows), rows)


def first(count: int, answer: float) -> Any:
    return np.where(count > PLACE, answer, 1.0)


HALF = {"tolerance": 0.5}
IN_PAIRS = {"groups": PLACE // 2}


@pytest.mark.parametrize(
    ("challenger", "outcome", "rule", "changes"),
    [
        (1.5, "not worse", HALF, {}),  # the upper bound is the margin
        (1.75, "worse", HALF, {}),
        (-1.0, "not worse", {}, {}),  # other answers, as far off: the upper bound is zero, and so is the margin
        (-0.5, "not worse", {}, {}),
        (1.0625, "worse", {}, {}),
        # Fewer rows than asked for conclude nothing good.
        (0.5, "not worse", {"min_rows": 40}, {}),
        (0.5, "not enough rows", {"min_rows": 41}, {}),
        (2.0, "worse", {"min_rows": 41}, {}),
        (1.5, "not enough rows", HALF | {"min_rows": 41}, {}),  # by as much as is allowed
        # A few rows that differ conclude nothing. Four that are alike differ so in one of sixteen draws.
        (first(9, 0.5), "not enough rows", {}, {}),
        (first(10, 0.5), "not worse", {}, {}),
        (first(10, 0.5), "not enough rows", {}, IN_PAIRS),
        (first(4, 3.0), "not enough rows", {}, {}),
        (first(5, 3.0), "worse", {}, {}),
        (first(5, 3.0), "not enough rows", {}, IN_PAIRS),
        # A version that is worse for certain, by about as much as is allowed, is not refused for it.
        (1.4 + np.tile([-0.5, 0.5], 20), "not enough rows", HALF, {}),
        (1.7 + np.tile([-0.5, 0.5], 20), "worse", HALF, {}),
        (0.5 + np.tile([-0.5, 0.5], 20), "not worse", HALF, {}),
        # An answer that is no number is worse, however few rows.
        (first(1, NAN), "worse", {"min_rows": 1000}, {}),
        (1.0, "not worse", {"min_rows": 1000}, {}),  # the same answers
    ],
)
def test_outcome_beside_a_champion_that_errs_by_one(answered, challenger, outcome, rule, changes):
    found = judged(answered(challenger, 1.0, **changes), **rule)
    assert found.outcome == outcome
    assert found.same == (outcome == "not worse" and np.all(challenger == 1.0))
    if np.ndim(challenger) == 0:
        assert (found.figure, found.serving, found.margin) == (abs(challenger), 1.0, rule.get("tolerance", 0))
        assert found.low == found.high == abs(challenger) - 1


@pytest.mark.parametrize(
    ("challenger", "champion", "metric", "outcome"),
    [
        (NAN, NAN, "mae", "worse"),
        (1.0, NAN, "mae", "not enough rows"),
        (2.0, 2.0, "r2", "not worse"),  # r² has no figure where the target does not vary
        (1.0, 2.0, "r2", "not enough rows"),
    ],
)
def test_where_there_is_no_figure_the_same_answers_alone_pass(answered, challenger, champion, metric, outcome):
    found = judged(answered(challenger, champion, metric))
    assert (found.outcome, np.isnan(found.serving)) == (outcome, True)


def test_one_row_alone_does_not_make_a_version_worse(answered):
    """Its interval is as wide as the difference that it makes."""
    one_row = first(10, -1)  # other answers, as far off
    one_row[0] = 9
    found = judged(answered(one_row, 1.0))
    assert (found.differing, found.outcome, found.low < 0 < found.high) == (10, "not enough rows", True)


@pytest.mark.parametrize(("zeros", "outcome"), [(0, "not enough rows"), (9, "not enough rows"), (10, "not worse")])
def test_a_class_of_few_rows_decides_nothing(classified, zeros, outcome):
    actual = zeros > PLACE
    sure, unsure = (np.where(actual[:, None], one[:, ::-1], one) for one in (SURE, UNSURE))
    assert judged(classified(sure, unsure, actual=actual)).outcome == outcome


def test_for_the_accuracy_rows_differ_where_one_alone_is_right(classified):
    def given(labels: Any, probabilities: Any) -> Evidence:
        return classified(probabilities, UNSURE, labels, "accuracy")

    assert judged(given(FALSE, SURE), min_rows=1000).outcome == "not worse"  # the same labels
    assert judged(given(FALSE, SURE * np.nan)).outcome == "worse"
    found = judged(given(PLACE < 9, SURE), tolerance=1.0)
    assert (found.differing, found.outcome) == (9, "not enough rows")


def test_two_that_are_wrong_in_other_ways_do_not_differ_for_the_accuracy_and_labels_speak_where_one_has_no_more():
    actual, ours, theirs = (np.array(list(letters)) for letters in ("aaa", "abb", "bbc"))
    bare, other, sure = Prediction(ours), Prediction(theirs), Prediction(ours, SURE[:3])
    assert _differ(METRICS["accuracy"], actual, bare, other).tolist() == [True, False, False]
    for one, two in ((bare, other), (sure, other), (other, sure)):
        assert _differ(METRICS["log_loss"], actual, one, two).tolist() == [True, False, True]
    assert not _differ(METRICS["rmse"], actual, sure, Prediction(ours, UNSURE[:3])).any()


def test_four_rows_alike_are_chance_at_a_sixteenth(answered):
    for error_rate, outcome in ((0.0625, "worse"), (0.06, "not enough rows")):
        one = compare_with_champion(answered(first(4, 9.0), 1.0), Rule(0, 30, error_rate))
        assert (one.outcome, one.low > 0) == (outcome, True)


@pytest.mark.parametrize(
    ("metric", "figure", "loss"),
    [("accuracy", 0.99, 0.01), ("roc_auc", 0.8, 0.2), ("r2", -4.0, 5.0), ("rmse", 3.0, 3.0), ("log_loss", 0.4, 0.4)],
)
def test_the_loss_is_what_is_left_to_improve(metric, figure, loss):
    assert METRICS[metric].loss(figure) == pytest.approx(loss)


def test_a_figure_below_zero_has_a_margin_too(answered):
    """r² is below zero for a version that is worse than the mean."""
    found = judged(answered(0.0, 2.0, "r2", actual=np.tile([-1.0, 1.0], 20)), 0.1)
    assert (found.figure, found.serving, found.margin) == (0.0, -4.0, pytest.approx(0.5))


def test_chosen_rows_alone_are_compared(answered):
    half = PLACE < 20
    shown = answered(np.where(half, 2.0, 0.5), 1.0, groups=np.repeat(np.arange(20), 2))
    left, right = judged(shown, min_rows=10, rows=half), judged(shown, min_rows=10, rows=~half)
    assert (left.outcome, left.figure, left.serving, left.units) == ("worse", 2.0, 1.0, 10)
    assert (right.outcome, right.figure, right.serving, right.units) == ("not worse", 0.5, 1.0, 10)
    assert judged(replace(shown, groups=None), rows=half).units == 20
    assert judged(shown).units == 20


def test_probabilities_are_compared_row_by_row(classified):
    half, part = PLACE < 20, np.ones(40, bool)
    assert judged(classified(SURE, UNSURE), rows=part).outcome == "not worse"
    assert judged(classified(UNSURE, SURE), rows=part).outcome == "worse"
    assert not judged(classified(SURE, UNSURE), min_rows=1000).same  # the same labels are not the same answers
    assert judged(classified(SURE, SURE), min_rows=1000).same
    mixed = classified(np.where(half[:, None], SURE, UNSURE), SURE)
    assert judged(mixed).differing == 20
    assert judged(mixed, min_rows=20, rows=half).same
    assert judged(mixed, min_rows=20, rows=~half).outcome == "worse"


@pytest.mark.parametrize(
    ("half_width", "shortfall", "margin", "least", "needed"),
    [
        (1.0, 0.0, 0.5, 30, 400),  # four times as many halve the interval twice
        (1.0, 0.25, 0.5, 30, 1600),  # half of the room is left
        (1.0, 1.5, 0.5, 30, 100),  # beyond the margin by as much as the interval is wide: just told already
        (0.5, 1.0, 0.0, 30, 30),  # never fewer than the smallest number
        (1.0, -0.6, 0.0, 30, 280),  # 277.8: two digits, rounded up
        (3.0, 0.0, 0.1, 30, 90_000),
        (1.0, 0.0, 0.9, 30, 130),  # 123.5
        (1.0, 0.0, 0.0, 30, 0),  # as good, and no margin: no number tells
        (NAN, 0.0, 0.5, 30, 0),
        (1.0, NAN, 0.5, 30, 0),
        *((width, 0.0, 1.0, 1, rows) for width, rows in ((0.3, 9), (0.99, 99), (1.0, 100), (1.01, 110), (3.17, 1100))),
    ],
)
def test_how_many_rows_would_tell(half_width, shortfall, margin, least, needed):
    assert _needed(100, half_width, shortfall, margin, least) == needed


def test_the_number_comes_from_the_interval(answered):
    """Half of the interval is what has to shrink."""
    found = judged(answered(np.tile([0.5, 1.6], 20), 1.0), 0.1)
    half_width = (found.high - found.low) / 2
    assert found.outcome == "not enough rows"
    assert found.needed == _needed(40, half_width, found.figure - found.serving, found.margin, 30) > 40


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


def interval(challenger: Any, champion: Any = nothing, units: Any = PLACE, error_rate: float = 0.05) -> Any:
    return paired_shortfall(METRICS["rmse"], challenger, champion, units, error_rate)


OWN = Metric("cost", max, greater_is_better=False)


@pytest.mark.parametrize(("metric", "sign"), [(METRICS["rmse"], 1), (METRICS["r2"], -1), (OWN, 1)])
def test_the_ends_are_students_around_the_figure(metric, sign):
    counted, drawn = Counted(), metric.resamples(40)
    found = paired_shortfall(metric, counted, nothing, PLACE, 0.1)
    assert counted.seen == drawn + 1  # the figure itself is asked last
    reach = student(0.1, 39) * np.arange(drawn).std() * np.sqrt(40 / 39)
    assert (found.low, found.high) == (pytest.approx(sign * drawn - reach), pytest.approx(sign * drawn + reach))


@pytest.mark.parametrize("freedom", [4, 14, 49, 2000])
@pytest.mark.parametrize("error_rate", [0.05, 0.05 / 3, 0.001])
def test_students_points_are_the_tables(error_rate, freedom):
    assert student(error_rate, freedom) == pytest.approx(t.ppf(1 - error_rate, freedom), rel=0.01)


def test_the_series_of_students_points_is_the_books():
    points = [student(chance, 4) for chance in (0.05, 0.05 / 3, 0.001)]
    assert points == pytest.approx([2.1316128287856086, 3.184569387665553, 7.113198973716923], rel=1e-12)


def test_one_resample_in_a_hundred_may_be_without_a_figure_and_four_rows_have_no_interval():
    assert [np.isnan(interval(Counted(missing)).low) for missing in (20, 21)] == [False, True]
    assert [np.isnan(interval(Counted(missing)).high) for missing in (20, 21)] == [False, True]
    assert [np.isnan(interval(mean_of(PLACE[:rows]), units=PLACE[:rows]).low) for rows in (4, 5)] == [True, False]


def test_the_interval_is_that_of_the_textbook_around_the_difference():
    values = np.random.default_rng(0).normal(size=40)
    found = interval(mean_of(values + 3), mean_of(values))
    assert (found.low, found.high) == (pytest.approx(3), pytest.approx(3))
    # A mean of 400 values with a deviation of one: plus and minus 1.645 / √400 around it.
    values = np.random.default_rng(0).normal(size=400)
    found = interval(mean_of((values - values.mean()) / values.std()), units=np.arange(400))
    assert (found.low, found.high) == (pytest.approx(-0.0822, abs=0.005), pytest.approx(0.0822, abs=0.005))


def test_memory_is_bounded_and_changes_nothing(monkeypatch):
    values, heights = np.random.default_rng(0).integers(0, 1000, 40), []  # whole numbers add up the same in any order

    def watched(weights: Any) -> Any:
        heights.append(len(weights))
        return mean_of(values)(weights)

    at_once = interval(watched)
    assert heights == [2000, 1]
    # With 39 cells not even one resample fits: it is drawn all the same.
    for cells, expected in ((40 * 300, [300] * 6 + [200, 1]), (39, [1] * 2001)):
        heights.clear()
        monkeypatch.setattr(bootstrap, "_CELLS", cells)
        assert interval(watched) == at_once
        assert heights == expected


def test_rows_of_a_group_are_drawn_together():
    drawn = []

    def watched(weights: Any) -> Any:
        drawn.append(weights)
        return np.zeros(len(weights))

    assert interval(watched, units=np.array([0, 1, 1, 2, 2, 2])).units == 3
    weights = np.concatenate(drawn)
    assert (weights.shape, weights.dtype) == ((2000, 6), np.float64)
    np.testing.assert_array_equal(weights, weights[:, [0, 1, 1, 3, 3, 3]])
    once = weights[:, [0, 1, 3]]
    assert (once.sum(axis=1) == 3).all()
    assert len(np.unique(once, axis=0)) == 10  # every way to draw three of three
    np.testing.assert_allclose(once.mean(axis=0), 1, atol=0.06)
