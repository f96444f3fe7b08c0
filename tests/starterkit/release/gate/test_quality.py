"""The rule of non-regression, and how often it errs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from starterkit.contract import Prediction
from starterkit.errors import KitError
from starterkit.metrics import METRICS
from starterkit.release.gate.checks import SignatureKept
from starterkit.release.gate.comparison import Rule, compare_with, compare_with_champion
from starterkit.release.gate.quality import (
    AbsoluteLimit,
    BetterThanBaseline,
    NoSliceWorse,
    NotWorseThanChampion,
    _beyond,
    _has_no_figure,
    _hint,
    _in_words,
    _slice_in_words,
)
from starterkit.verdict import Candidate, Comparison, Contamination, Evidence, Verdict

NAN = float("nan")
RULE = Rule(tolerance=0.02, min_rows=30)
FEW_TO_TELL = "Hold out more, or raise gate.tolerance"


def judged(shown: Evidence, rule: Rule = RULE, undecided: Any = "refuse") -> Verdict:
    return NotWorseThanChampion(rule, undecided).judge(shown)


def verdict(check: str, passed: bool, reason: str, figure: Any = None, limit: Any = None, hint: str = "") -> Verdict:
    return Verdict(check=check, passed=passed, reason=reason, figure=figure, limit=limit, hint=hint)


def answered(shown: Evidence, values: Any, champion: Any = None) -> Evidence:
    """The same evidence with other answers of the challenger, and of the champion where they are given."""
    shown = replace(shown, challenger=replace(shown.challenger, prediction=Prediction(np.asarray(values))))
    if champion is None:
        return shown
    return replace(shown, champion=replace(shown.champion, prediction=Prediction(np.asarray(champion))))


def erring(shown: Evidence, factor: Any, champion_factor: Any = 1) -> Evidence:
    """The same evidence with each row's error so many times as large."""
    ours, theirs = (one.prediction.values - shown.actual for one in (shown.challenger, shown.champion))
    return answered(shown, shown.actual + factor * ours, shown.actual + champion_factor * theirs)


def scored(shown: Evidence, figure: float, naive: float) -> Evidence:
    ours, guess = replace(shown.challenger, scores={"rmse": figure}), replace(shown.baseline, scores={"rmse": naive})
    return replace(shown, challenger=ours, baseline=guess)


def slice_of(shown: Evidence, name: str) -> Comparison:
    """A part compared as `NoSliceWorse` does: with its share of the error rate."""
    rule = Rule(RULE.tolerance, RULE.min_rows, RULE.error_rate / len(shown.slices))
    return compare_with_champion(shown, rule, shown.slices[name])


def test_the_number_of_rows_that_would_tell_does_tell(evidence):
    needed = compare_with_champion(evidence(error=0.99), RULE).needed
    assert needed > 400
    assert judged(evidence(error=0.99, rows=2 * needed)).outcome == "passed"


def test_repeated_measures_are_not_independent_rows(evidence):
    """Ten copies of each of 40 patients say no more than the 40 do."""
    few = evidence(rows=40, error=1.2)
    answers = (np.tile(one.prediction.values, 10) for one in (few.challenger, few.champion))
    many = replace(answered(few, *answers), actual=np.tile(few.actual, 10))
    grouped = replace(many, groups=np.array([f"patient {row}" for row in np.tile(np.arange(40), 10)]))
    found = [compare_with_champion(shown, RULE) for shown in (few, many, grouped)]
    alone, fooled, by_group = (one.high - one.low for one in found)
    assert by_group == pytest.approx(alone, rel=0.1)
    assert fooled < 0.5 * alone
    assert found[2].units == 40
    assert "on the same 40 groups" in judged(grouped).reason


@pytest.mark.parametrize("undecided", ["pass", "refuse"])
def test_a_slice_with_few_rows_passes_or_refuses_as_the_stage_says(evidence, undecided):
    parts = {"most": np.arange(400) >= 10, "few": np.arange(400) < 10}
    found = NoSliceWorse(RULE, undecided).judge(evidence(error=0.5, slices=parts))
    assert (found.passed, found.undecided) == (undecided == "pass", True)
    words = "none of 2 is worse; too few rows to be sure of few (10 rows): rmse 0.7179 against 1.367, 1.39 better to "
    assert found.reason.startswith(words)


@pytest.mark.parametrize(("rows", "refused"), [(4, False), (15, True)])
def test_a_small_slice_that_is_worse_beyond_its_interval_is_refused(evidence, rows, refused):
    there = np.arange(400) < rows
    shown = erring(evidence(slices={"few": there, "most": ~there}), np.where(there, 4, 1))
    found = NoSliceWorse(RULE, "pass").judge(shown)
    assert (found.passed, "few (15 rows): rmse " in found.reason) == (not refused, refused)
    assert ("few (fewer than 5)" in found.reason) != refused


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["rmse", "mae", "r2", "log_loss", "roc_auc", "accuracy"])
def test_each_bound_is_wrong_about_one_time_in_twenty(contract, metric):
    """The interval against the truth, which here is a shortfall of zero. Loose: 150 draws of 120 rows."""
    found = [compare_with_champion(equals(contract, seed, 120, metric), RULE) for seed in range(150)]
    assert 1 <= sum(one.low > 0 for one in found) <= 18
    assert 1 <= sum(one.high < 0 for one in found) <= 18


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("error", "outcome"), [(0.4, "passed"), (3.0, "refused")])
def test_each_metric_knows_which_way_is_better(contract, metric, error, outcome):
    assert judged(equals(contract, 0, rows=400, metric=metric, error=error)).outcome == outcome


def equals(contract: Any, seed: int, rows: int, metric: str = "rmse", error: float = 1.0) -> Evidence:
    """Two versions whose errors come from the same distribution, half of each error shared, `error` times for one."""
    random = np.random.default_rng(seed)
    actual, shared, own, other = random.normal(0, 1, (4, rows))
    classes: tuple[Any, ...] = ()
    answers = [actual + error * (shared + own), actual + shared + other]
    predictions = [Prediction(values) for values in answers]
    if METRICS[metric].task == "classification":
        positive = [1 / (1 + np.exp(-values)) for values in answers]
        predictions = [Prediction(chance > 0.5, np.column_stack([1 - chance, chance])) for chance in positive]
        actual, classes = actual > 0, (False, True)
    ours, theirs = (Candidate(name="version", prediction=answer, scores={}) for answer in predictions)
    known = contract(classes=classes)
    return Evidence(
        contract=known, champion_contract=known, metric=METRICS[metric], actual=actual, features={}, challenger=ours,
        champion=theirs, baseline=theirs,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("bounds", "figure", "expected"),
    [
        ({"minimum": 1, "maximum": 9}, 5.0, (True, "rmse 5, at least 1 allowed, at most 9 allowed", 5.0, 9)),
        ({"minimum": 6, "maximum": 9}, 5.0, (False, "rmse 5, at least 6 allowed, at most 9 allowed", 5.0, 6)),
        ({"minimum": 1, "maximum": 4}, 5.0, (False, "rmse 5, at least 1 allowed, at most 4 allowed", 5.0, 4)),
        ({"maximum": 5}, 5.0, (True, "rmse 5, at most 5 allowed", 5.0, 5)),
        ({"maximum": 4.9}, 5.0, (False, "rmse 5, at most 4.9 allowed", 5.0, 4.9)),
        ({"minimum": 5}, 5.0, (True, "rmse 5, at least 5 allowed", 5.0, 5)),
        ({"minimum": 0}, NAN, (False, "rmse nan, at least 0 allowed", NAN, 0)),
        ({"maximum": 9}, NAN, (False, "rmse nan, at most 9 allowed", NAN, 9)),
    ],
)
def test_limit(evidence, bounds, figure, expected):
    assert AbsoluteLimit("rmse", **bounds).judge(scored(evidence(), figure, 8.0)) == verdict("limit rmse", *expected)


@pytest.mark.parametrize(
    ("figure", "naive", "passed"),
    [(5.0, 8.0, True), (8.0, 8.0, False), (9.0, 8.0, False), (NAN, 8.0, False), (5.0, NAN, False)],
)
def test_baseline(evidence, figure, naive, passed):
    reason = f"rmse {figure:.4g} is {'better' if passed else 'not better'} than the naive guess's {naive:.4g}"
    found = BetterThanBaseline(RULE, "refuse").judge(scored(evidence(), figure, naive))
    assert found == verdict("baseline", passed, reason, figure, naive)


@pytest.mark.parametrize("undecided", ["pass", "refuse"])
def test_a_first_version_that_is_better_by_chance_is_undecided(evidence, undecided):
    """Its answers are noise, which happens to lean the right way over these rows."""
    shown = evidence(champion_error=None)
    noise = np.random.default_rng(0).normal(0, 0.02, 400)
    noise *= np.sign(noise @ shown.actual)
    figure, naive = float(np.sqrt(np.mean((noise - shown.actual) ** 2))), shown.baseline.scores["rmse"]
    assert figure < naive
    found = BetterThanBaseline(RULE, undecided).judge(scored(answered(shown, noise), figure, naive))
    assert (found.passed, found.outcome) == (undecided == "pass", "not enough rows")
    assert f"rmse {figure:.4g} is better than the naive guess's {naive:.4g} on 400 rows: " in found.reason
    assert found.reason.endswith("Let pass by gate.undecided" if undecided == "pass" else "Hold out more")


def test_no_margin_helps_against_the_naive_guess(evidence):
    """Better by so little that the interval ends just above zero, where a margin would still take it."""
    shown = evidence(champion_error=None)
    half = shown.actual / 2
    shown = replace(shown, baseline=replace(shown.baseline, prediction=Prediction(half)))
    close = scored(answered(shown, half + np.random.default_rng(3).normal(0, 0.03, 400)), 2.0, 2.1)
    one = compare_with(close, close.baseline, (), RULE)
    assert (one.outcome, one.low < 0 < one.high < one.margin) == ("not worse", True)
    assert BetterThanBaseline(RULE, "refuse").judge(close).outcome == "not enough rows"


@pytest.mark.parametrize("spoilt", [False, True])
@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_classes_are_held_against_the_naive_guess_too(evidence, contract, spoilt, metric):
    actual = np.arange(400) % 2 == 0
    sure = np.column_stack([~actual, actual]) * 0.8 + 0.1
    sure[0] = np.nan if spoilt else sure[0]
    better, guess = 0.9 if metric == "accuracy" else 0.1, Prediction(np.ones(400, bool), np.full((400, 2), 0.5))
    challenger = Candidate(name="version 2", prediction=Prediction(actual, sure), scores={metric: better})
    naive = Candidate(name="naive guess", prediction=guess, scores={metric: 0.5})
    given = {"contract": contract(classes=(False, True)), "actual": actual, "metric": METRICS[metric]}
    shown = evidence(champion_error=None, challenger=challenger, baseline=naive, **given)
    found = BetterThanBaseline(RULE, "pass").judge(shown)
    assert (found.passed, found.undecided) == (not spoilt, False)


def test_a_slice_without_a_figure_is_named(evidence):
    shown = evidence(error=0.5, metric=METRICS["r2"], slices={"one": np.arange(400) < 1, "all": np.arange(400) >= 0})
    found = NoSliceWorse(RULE, "pass").judge(shown)
    reason = "none of 2 is worse; no figure where the target has one class, or one value, only: one"
    assert (found.passed, found.undecided, found.reason) == (True, True, reason)
    assert np.isnan(found.figure)
    few = np.arange(400) < 20  # as little to tell, but with a figure, and a better one: it is the one that is shown
    shown = evidence(error=0.1, metric=METRICS["r2"], slices={"one": np.arange(400) < 1, "few": few})
    found = NoSliceWorse(RULE, "pass").judge(shown)
    assert (found.undecided, found.figure) == (True, slice_of(shown, "few").high)
    whole = judged(evidence(rows=1, metric=METRICS["r2"]))
    assert "on the same 1 rows: no figure where the target has one class, or one value, only. Not" in whole.reason


NOTHING = {"champion_error": None}
FAULT = {"champion_fault": KitError("it cannot be opened", "Mend it")}
ALL = {"slices": {"all": np.ones(400, bool)}}


@pytest.mark.parametrize(
    ("check", "shown", "passed", "reason"),
    [
        (SignatureKept(), NOTHING, True, "no champion, so no clients yet"),
        (NotWorseThanChampion(RULE, "refuse"), NOTHING, True, "no champion yet: this is the first"),
        (NotWorseThanChampion(RULE, "pass"), FAULT, False, "it cannot be opened"),
        (NoSliceWorse(RULE, "refuse"), NOTHING | ALL, True, "no champion to compare with"),
        (NoSliceWorse(RULE, "refuse"), {}, True, "the problem names no slices"),
    ],
)
def test_what_cannot_be_compared(evidence, check, shown, passed, reason):
    hint = "Mend it" if shown is FAULT else ""
    assert check.judge(evidence(**shown)) == verdict(check.name, passed, reason, hint=hint)


@pytest.mark.parametrize(
    ("error", "passed", "words"),
    [(0.5, True, "{0:.3g} better to {1:.3g} better"), (3.0, False, "{0:.3g} worse to {1:.3g} worse")],
)
def test_champion(evidence, error, passed, words):
    shown = evidence(error=error, champion_overlap=Contamination(trained_on=7))
    one = compare_with_champion(shown, RULE)
    reason = (
        f"rmse {one.figure:.4g} against {one.serving:.4g} of local.p version 1 on the same 400 rows: "
        f"{words.format(abs(one.low), abs(one.high))}, at most {one.margin:.3g} worse allowed"
        ". The champion was trained on 7 of them, which flatters it"
    )
    assert judged(shown) == verdict("champion", passed, reason, one.high, one.margin)
    assert judged(shown).comparisons == {"": one}


@pytest.mark.parametrize(
    ("error", "rows", "hint"),
    [
        (0.9, 29, "at least 30 are needed (gate.min_rows)"),
        (1.3, 30, "about {needed:,} would tell"),
        (1.0, 400, "about {needed:,} would tell"),
    ],
)
@pytest.mark.parametrize(("undecided", "end"), [("pass", "Let pass by gate.undecided"), ("refuse", FEW_TO_TELL)])
def test_not_enough_rows(evidence, error, rows, hint, undecided, end):
    shown = evidence(error=error, rows=rows)
    one = compare_with_champion(shown, RULE)
    assert one.low < 0 < one.high
    found = judged(shown, undecided=undecided)
    words = f"{-one.low:.3g} better to {one.high:.3g} worse, at most {one.margin:.3g} worse allowed. Not enough rows: "
    assert found.reason.endswith(words + f"{hint.format(needed=one.needed)}. {end}")
    assert (found.passed, found.undecided) == (undecided == "pass", True)


@pytest.mark.parametrize(
    ("differing", "end"),
    [(9, f"only 9 differ, at least 10 are needed. {FEW_TO_TELL}"), (10, f"would tell. {FEW_TO_TELL}")],
)
def test_few_rows_that_differ_are_counted(evidence, differing, end):
    shown = evidence()
    values = shown.champion.prediction.values.copy()
    values[:differing] += np.resize([0.01, -0.01], differing)
    assert judged(answered(shown, values), Rule(0, 30)).reason.endswith(end)


def test_resamples_without_a_figure_tell_nothing(evidence):
    """An r² has no value where all drawn rows have the same target, as they often do when only one row differs."""
    actual = np.zeros(40)
    actual[0] = 1
    shown = evidence(rows=40, actual=actual, metric=METRICS["r2"])
    one, found = compare_with_champion(shown, RULE), judged(shown)
    assert np.isnan([one.low, one.high]).all()
    assert found.reason.endswith(f"too many resamples have no figure. Not enough rows: more would tell. {FEW_TO_TELL}")
    assert (found.passed, found.undecided, one.needed) == (False, True, 0)


def test_slices(evidence):
    """All worse ones are named; the figure is of the one that is furthest out, relative to its champion's figure."""
    part = np.arange(600) % 3
    parts = {name: part == number for number, name in enumerate("abc")}
    spoilt = erring(evidence(rows=600, slices=parts), np.array([1.5, 3.0, 0.2])[part])
    found = {name: slice_of(spoilt, name) for name in "abc"}
    reason = "; ".join(
        f"{name} (200 rows): rmse {found[name].figure:.4g} against {found[name].serving:.4g}, "
        f"{found[name].low:.3g} worse to {found[name].high:.3g} worse, at most {found[name].margin:.3g} worse allowed"
        for name in ("a", "b")
    )
    expected = verdict("slices", False, reason, found["b"].high, found["b"].margin)
    assert NoSliceWorse(RULE, "pass").judge(spoilt) == expected
    assert NoSliceWorse(RULE, "pass").judge(spoilt).comparisons == found
    better = replace(spoilt, slices={"c": parts["c"]})
    alone = slice_of(better, "c")
    expected = verdict("slices", True, "none of 1 is worse", alone.high, alone.margin)
    assert NoSliceWorse(RULE, "pass").judge(better) == expected


def test_the_slice_that_is_shown_is_the_one_furthest_out_by_its_own_measure(evidence):
    """Large numbers are not worse for being large: a part whose errors are a hundred times as large stays behind."""
    big = np.arange(400) < 200
    scale, factor = np.where(big, 100, 1), np.where(big, 1.5, 3.0)
    spoilt = erring(evidence(slices={"big": big, "small": ~big}), scale * factor, scale)
    found, small = NoSliceWorse(RULE, "pass").judge(spoilt), slice_of(spoilt, "small")
    assert (found.figure, found.limit) == (small.high, small.margin)


def test_a_slice_that_is_worse_is_shown_before_one_with_too_few_rows(evidence):
    shown = evidence(error=3.0, slices={"few": np.arange(400) < 6, "many": np.arange(400) >= 6})
    found = NoSliceWorse(RULE, "pass").judge(shown)
    assert slice_of(shown, "few").outcome == "not enough rows"
    assert (found.passed, found.undecided, found.figure) == (False, False, slice_of(shown, "many").high)


def test_each_slice_gets_its_share_of_the_error_rate(evidence):
    parts = {f"part {number}": np.arange(400) % 4 == number for number in range(4)}
    shown = evidence(error=0.5, slices=parts)
    found = NoSliceWorse(RULE, "pass").judge(shown)
    highest = {name: slice_of(shown, name).high for name in parts}
    whole = {name: compare_with_champion(shown, RULE, rows).high for name, rows in parts.items()}
    assert found.figure in highest.values()
    assert found.figure not in whole.values()


def test_a_part_without_a_figure_is_the_last_to_be_shown_and_five_are_enough_to_show(evidence):
    found = compare_with_champion(evidence(), RULE)
    assert _in_words(replace(found, low=0.0, high=0.0, margin=1.0)) == "0 better to 0 better, at most 1 worse allowed"
    assert [_has_no_figure(replace(found, figure=NAN, serving=one)) for one in (NAN, 1.0)] == [True, False]
    assert (_beyond(replace(found, high=NAN), 1.0), _beyond(replace(found, high=0.5), 0.0)) == (-np.inf, 0.5)
    assert [_slice_in_words(evidence(), "a", replace(found, units=units))[:8] for units in (4, 5)] == [
        "a (fewer",
        "a (5 row",
    ]
    assert "more would tell" in _hint(evidence(), replace(found, needed=400), RULE, passed=False)


@pytest.mark.parametrize(("positive", "said"), [(9, "at least 10 of each of two classes"), (200, "only 9 differ")])
def test_what_classes_need_to_tell_is_said(evidence, contract, positive, said):
    known, place = contract(classes=(False, True)), np.arange(400)
    ours, theirs = (Candidate(name="v", prediction=Prediction(place < count), scores={}) for count in (195, 204))
    shown = evidence(
        contract=known, champion_contract=known, metric=METRICS["accuracy"], actual=place < positive,
        challenger=ours, champion=theirs,
    )  # fmt: skip
    assert said in judged(shown, Rule(0, 30)).reason
