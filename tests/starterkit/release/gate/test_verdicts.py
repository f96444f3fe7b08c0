"""What each check says, as a whole: name, verdict, reason, figure and limit."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from starterkit.contract import Column, Parity, Prediction
from starterkit.errors import KitError
from starterkit.metrics import METRICS
from starterkit.release.gate.checks import (
    HoldoutUnseen,
    LatencyWithin,
    NoFeatureAlone,
    ParityProven,
    SignatureKept,
    SizeWithin,
    StaysRobust,
)
from starterkit.release.gate.comparison import Rule, compare_with, compare_with_champion
from starterkit.release.gate.quality import AbsoluteLimit, BetterThanBaseline, NoSliceWorse, NotWorseThanChampion
from starterkit.verdict import Candidate, Check, Comparison, Contamination, Cost, Evidence, RobustnessResult, Verdict

RULE = Rule(tolerance=0.02, min_rows=30)
PARITY = Parity(rows=1000, measure="relative difference", largest=1e-7, allowed=1e-5, scale=1.0)
CHAMPION = Cost(one_row=0.001, many_rows=0.010, rows=90, size=2_000_000)
LABEL = Column(name="x", role="feature", type="string", unit="", sensitivity="plain", categories=("a", "b"))
FEW_TO_TELL = "Hold out more, or raise gate.tolerance"


@pytest.mark.parametrize(
    ("changes", "passed", "said"),
    [
        ({}, True, ""),
        ({"flipped_labels": 1200}, False, "; 1,200 labels changed"),
        ({"probed": 9}, True, "; no rows in another leaf"),
        ({"probed": 9, "flipped_leaves": 1}, False, "; 1 row in another leaf"),
        (
            {"flipped_labels": 2, "probed": 9, "flipped_leaves": 2},
            False,
            "; 2 labels changed; 2 rows in another leaf",
        ),
    ],
)
def test_parity(evidence: Any, contract: Any, changes: dict[str, int], passed: bool, said: str) -> None:
    reason = f"relative difference 1e-07 over 1,000 rows, 1e-05 allowed{said}"
    expected = Verdict(check="parity", passed=passed, reason=reason, figure=1e-7, limit=1e-5)
    assert ParityProven().judge(evidence(contract=contract(parity=replace(PARITY, **changes)))) == expected


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        (Contamination(trained_on=0), (True, "trained on none of the 400 holdout rows", 0, 0)),
        (Contamination(trained_on=7), (False, "trained on 7 of the 400 holdout rows", 7, 0)),
        (
            None,
            (
                False,
                "its run does not say which rows it was trained on: train again with this version of the kit, "
                "and with the masking key that is here",
            ),
        ),
    ],
)
def test_holdout(evidence: Any, overlap: Any, expected: tuple[Any, ...]) -> None:
    assert HoldoutUnseen().judge(evidence(overlap=overlap)) == verdict("holdout", *expected)


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({}, (True, "the problem declares every feature as strong")),
        ({"a": 0.4, "b": 0.9}, (True, "'b' alone removes 90% of the naive guess's loss", 0.9, 0.97)),
        (
            {"a": 0.98, "b": 0.99, "c": 0.1},
            (
                False,
                "alone 'a' (98.0%), 'b' (99.0%) removes nearly all of the naive guess's loss. "
                "Drop it, or name it in Problem(strong=…)",
                0.99,
                0.97,
            ),
        ),
    ],
)
def test_leak(evidence: Any, shares: dict[str, float], expected: tuple[Any, ...]) -> None:
    shown = evidence(leaks={"strong": 1.0, **shares}, strong=("strong",))
    assert NoFeatureAlone(0.97).judge(shown) == verdict("leak", *expected)


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ((), (True, "the problem declares none")),
        ((0.01, 0.02), (True, "first; second", 0.01, 0.05)),
        ((0.01, 0.06), (False, "second", 0.06, 0.05)),
        ((0.07, 0.06), (False, "first; second", 0.07, 0.05)),
    ],
)
def test_robustness(evidence: Any, figures: tuple[float, ...], expected: tuple[Any, ...]) -> None:
    reactions = tuple(
        RobustnessResult(figure=figure, limit=0.05, words=words)
        for figure, words in zip(figures, ("first", "second"), strict=False)
    )
    assert StaysRobust().judge(evidence(reactions=reactions)) == verdict("robustness", *expected)


def test_signature(evidence: Any, contract: Any) -> None:
    before = contract(columns=(LABEL,), classes=("a", "b"))
    kept = SignatureKept().judge(evidence(contract=before, champion_contract=before))
    expected = "the champion's requests stay valid, the answers of the same kind"
    assert kept == verdict("signature", True, expected)
    target = replace(before.target, name="z", unit="km")
    columns = (replace(LABEL, categories=("a",), unit="m"), replace(LABEL, name="y"))
    after = contract(columns=columns, target=target, task="classification", classes=("a",))
    assert SignatureKept().judge(evidence(contract=after, champion_contract=before)) == verdict(
        "signature",
        False,
        "column 'y' is new; column 'x' has another unit; column 'x' takes fewer categories; the target has another "
        "name; answers are no longer a number; the target has another unit; the classes are others. "
        "A model with another signature gets another name",
    )


@pytest.mark.parametrize(
    ("one_row", "many_rows", "expected"),
    [
        # whichever call is nearer to its own limit is shown: 2 of 3 ms against 9 of 30, 1 of 3 against 20 of 30
        (0.002, 0.009, (True, "1 row in 2 ms, the champion 1 ms; 90 rows in 9 ms, the champion 10 ms", 2, 3)),
        (0.001, 0.020, (True, "1 row in 1 ms, the champion 1 ms; 90 rows in 20 ms, the champion 10 ms", 20, 30)),
        (0.004, 0.020, (False, "1 row in 4 ms, the champion 1 ms; 90 rows in 20 ms, the champion 10 ms", 4, 3)),
    ],
)
def test_latency(evidence: Any, one_row: float, many_rows: float, expected: tuple[Any, ...]) -> None:
    ours = replace(CHAMPION, one_row=one_row, many_rows=many_rows)
    found = LatencyWithin(3, 2).judge(evidence(cost=ours, champion_cost=CHAMPION))
    passed, reason, figure, limit = expected
    assert found == verdict("latency", passed, reason, pytest.approx(figure), pytest.approx(limit))


def test_milliseconds_are_thousandths(evidence: Any) -> None:
    """Four digits would be shown otherwise than they are measured by a factor that is nearly a thousand."""
    calls = replace(CHAMPION, one_row=0.999, many_rows=0.998)
    found = LatencyWithin(3, 2).judge(evidence(cost=calls, champion_cost=calls))
    assert found.reason == "1 row in 999 ms, the champion 999 ms; 90 rows in 998 ms, the champion 998 ms"
    assert found.figure == pytest.approx(999, abs=0.01)


def test_size(evidence: Any) -> None:
    found = SizeWithin(3, 1).judge(evidence(cost=replace(CHAMPION, size=7_000_000), champion_cost=CHAMPION))
    assert found == verdict("size", False, "7 MB, the champion 2 MB", 7.0, 6.0)


@pytest.mark.parametrize("check", [LatencyWithin(3, 2), SizeWithin(3, 1)])
@pytest.mark.parametrize("costs", [{"cost": None}, {"champion_cost": None}])
def test_a_cost_that_was_not_measured_is_not_compared(evidence: Any, check: Check, costs: dict[str, None]) -> None:
    assert check.judge(evidence(**costs)) == verdict(check.name, True, "no champion to measure against")


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ({"minimum": 1, "maximum": 9}, (True, "rmse 5, at least 1 allowed, at most 9 allowed", 5.0, 9)),
        ({"minimum": 6, "maximum": 9}, (False, "rmse 5, at least 6 allowed, at most 9 allowed", 5.0, 6)),
        ({"maximum": 4}, (False, "rmse 5, at most 4 allowed", 5.0, 4)),
    ],
)
def test_limit(evidence: Any, bounds: dict[str, float], expected: tuple[Any, ...]) -> None:
    assert AbsoluteLimit("rmse", **bounds).judge(scored(evidence(), 5.0, 8.0)) == verdict("limit rmse", *expected)


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        (5.0, (True, "rmse 5 is better than the naive guess's 8", 5.0, 8.0)),
        (8.0, (False, "rmse 8 is not better than the naive guess's 8", 8.0, 8.0)),
    ],
)
def test_baseline(evidence: Any, figure: float, expected: tuple[Any, ...]) -> None:
    assert BetterThanBaseline(RULE, "refuse").judge(scored(evidence(), figure, 8.0)) == verdict("baseline", *expected)


@pytest.mark.parametrize("undecided", ["pass", "refuse"])
def test_a_first_version_that_is_better_by_chance_is_undecided(evidence: Any, undecided: Any) -> None:
    """Its answers are noise, which happens to lean the right way over these rows."""
    shown = evidence(champion_error=None)
    noise = np.random.default_rng(0).normal(0, 0.02, 400)
    noise *= np.sign(noise @ shown.actual)
    figure = float(np.sqrt(np.mean((noise - shown.actual) ** 2)))
    naive = shown.baseline.scores["rmse"]
    lucky = replace(shown.challenger, prediction=Prediction(noise), scores={"rmse": figure})
    assert figure < naive
    found = BetterThanBaseline(RULE, undecided).judge(replace(shown, challenger=lucky))
    assert (found.passed, found.outcome) == (undecided == "pass", "not enough rows")
    assert f"rmse {figure:.4g} is better than the naive guess's {naive:.4g} on 400 rows: " in found.reason
    assert found.reason.endswith("Let pass by gate.undecided" if undecided == "pass" else "Hold out more")


def test_no_margin_helps_against_the_naive_guess(evidence: Any) -> None:
    """Better by so little that the interval ends just above zero, where a margin would still take it."""
    shown = evidence(champion_error=None)
    half = shown.actual / 2
    shown = replace(shown, baseline=replace(shown.baseline, prediction=Prediction(half)))
    answers = half + np.random.default_rng(3).normal(0, 0.03, 400)
    close = scored(replace(shown, challenger=replace(shown.challenger, prediction=Prediction(answers))), 2.0, 2.1)
    one = compare_with(close, close.baseline, (), RULE)
    assert (one.outcome, one.low < 0 < one.high < one.margin) == ("not worse", True)
    assert BetterThanBaseline(RULE, "refuse").judge(close).outcome == "not enough rows"


@pytest.mark.parametrize("spoilt", [False, True])
@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_classes_are_held_against_the_naive_guess_too(evidence: Any, contract: Any, spoilt: bool, metric: str) -> None:
    actual = np.arange(400) % 2 == 0
    sure = np.column_stack([~actual, actual]) * 0.8 + 0.1
    sure[0] = np.nan if spoilt else sure[0]
    naive = Prediction(np.ones(400, bool), np.full((400, 2), 0.5))
    shown = evidence(champion_error=None, contract=contract(classes=(False, True)), actual=actual)
    shown = replace(
        shown,
        metric=METRICS[metric],
        challenger=Candidate(
            name="version 2", prediction=Prediction(actual, sure), scores={metric: 0.9 if metric == "accuracy" else 0.1}
        ),
        baseline=Candidate(name="naive guess", prediction=naive, scores={metric: 0.5}),
    )
    found = BetterThanBaseline(RULE, "pass").judge(shown)
    assert (found.passed, found.undecided) == (not spoilt, False)


def test_a_slice_without_a_figure_is_named(evidence: Any) -> None:
    shown = evidence(error=0.5, metric=METRICS["r2"], slices={"one": np.arange(400) < 1, "all": np.arange(400) >= 0})
    found = NoSliceWorse(RULE, "pass").judge(shown)
    reason = "none of 2 is worse; no figure where the target has one class, or one value, only: one"
    assert (found.passed, found.undecided, found.reason) == (True, True, reason)
    assert np.isnan(found.figure)
    few = np.arange(400) < 20  # as little to tell, but with a figure, and a better one: it is the one that is shown
    shown = evidence(error=0.1, metric=METRICS["r2"], slices={"one": np.arange(400) < 1, "few": few})
    found = NoSliceWorse(RULE, "pass").judge(shown)
    assert found.undecided
    assert found.figure == slice_of(shown, "few").high < 0
    shown = evidence(rows=1, metric=METRICS["r2"])
    whole = NotWorseThanChampion(RULE, "refuse").judge(shown)
    assert "on the same 1 rows: no figure where the target has one class, or one value, only. Not" in whole.reason


@pytest.mark.parametrize("check", [SignatureKept(), NotWorseThanChampion(RULE, "refuse"), NoSliceWorse(RULE, "refuse")])
def test_the_first_version_passes_and_is_told_why(evidence: Any, check: Check) -> None:
    said = {
        "signature": "no champion, so no clients yet",
        "champion": "no champion yet: this is the first",
        "slices": "no champion to compare with",
    }
    shown = evidence(champion_error=None, slices={"all": np.ones(400, bool)})
    assert check.judge(shown) == verdict(check.name, True, said[check.name])


def test_no_slices(evidence: Any) -> None:
    found = NoSliceWorse(RULE, "refuse").judge(evidence())
    assert found == verdict("slices", True, "the problem names no slices")


def test_a_champion_that_cannot_answer(evidence: Any) -> None:
    found = NotWorseThanChampion(RULE, "pass").judge(
        evidence(champion_fault=KitError("it cannot be opened", "Mend it"))
    )
    assert found == verdict("champion", False, "it cannot be opened", hint="Mend it")


@pytest.mark.parametrize(
    ("error", "passed", "words"),
    [(0.5, True, "{0:.3g} better to {1:.3g} better"), (3.0, False, "{0:.3g} worse to {1:.3g} worse")],
)
def test_champion(evidence: Any, error: float, passed: bool, words: str) -> None:
    shown = evidence(error=error, champion_overlap=Contamination(trained_on=7))
    one = compare_with_champion(shown, RULE)
    reason = (
        f"rmse {one.figure:.4g} against {one.serving:.4g} of local.p version 1 on the same 400 rows: "
        f"{words.format(abs(one.low), abs(one.high))}, at most {one.margin:.3g} worse allowed"
        ". The champion was trained on 7 of them, which flatters it"
    )
    found = NotWorseThanChampion(RULE, "refuse").judge(shown)
    assert found == verdict("champion", passed, reason, one.high, one.margin)


@pytest.mark.parametrize(
    ("error", "rows", "hint"),
    [
        (0.9, 29, "at least 30 are needed (gate.min_rows)"),
        (1.3, 30, "about {needed:,} would tell"),
        (1.0, 400, "about {needed:,} would tell"),
    ],
)
@pytest.mark.parametrize(("undecided", "end"), [("pass", "Let pass by gate.undecided"), ("refuse", FEW_TO_TELL)])
def test_not_enough_rows(evidence: Any, error: float, rows: int, hint: str, undecided: Any, end: str) -> None:
    shown = evidence(error=error, rows=rows)
    one = compare_with_champion(shown, RULE)
    assert one.low < 0 < one.high
    found = NotWorseThanChampion(RULE, undecided).judge(shown)
    words = f"{-one.low:.3g} better to {one.high:.3g} worse, at most {one.margin:.3g} worse allowed. Not enough rows: "
    assert found.reason.endswith(words + f"{hint.format(needed=one.needed)}. {end}")
    assert (found.passed, found.undecided) == (undecided == "pass", True)


@pytest.mark.parametrize(
    ("differing", "end"),
    [(9, f"only 9 differ, at least 10 are needed. {FEW_TO_TELL}"), (10, f"would tell. {FEW_TO_TELL}")],
)
def test_few_rows_that_differ_are_counted(evidence: Any, differing: int, end: str) -> None:
    shown = evidence()
    values = shown.champion.prediction.values.copy()
    values[:differing] += np.resize([0.01, -0.01], differing)
    close = replace(shown, challenger=replace(shown.challenger, prediction=Prediction(values)))
    assert NotWorseThanChampion(Rule(0, 30), "refuse").judge(close).reason.endswith(end)


def test_an_interval_without_width_is_an_interval(evidence: Any) -> None:
    shown = evidence(actual=np.zeros(400), metric=METRICS["mae"])
    one, two = (Prediction(np.full(400, answer)) for answer in (1.0, 1.5))
    shown = replace(shown, challenger=replace(shown.challenger, prediction=two))
    found = NotWorseThanChampion(RULE, "pass").judge(replace(shown, champion=replace(shown.champion, prediction=one)))
    assert found.reason.endswith("0.5 worse to 0.5 worse, at most 0.02 worse allowed")


def test_resamples_without_a_figure_tell_nothing(evidence: Any) -> None:
    """An r² has no value where all drawn rows have the same target, as they often do when only one row differs."""
    actual = np.zeros(40)
    actual[0] = 1
    shown = evidence(rows=40, actual=actual, metric=METRICS["r2"])
    one = compare_with_champion(shown, RULE)
    assert np.isnan([one.low, one.high]).all()
    found = NotWorseThanChampion(RULE, "refuse").judge(shown)
    assert found.reason.endswith(f"too many resamples have no figure. Not enough rows: more would tell. {FEW_TO_TELL}")
    assert (found.passed, found.undecided, one.needed) == (False, True, 0)


def test_slices(evidence: Any) -> None:
    """All worse ones are named; the figure is of the one that is furthest out, relative to its champion's figure."""
    shown = evidence(rows=600)
    errors = shown.challenger.prediction.values - shown.actual
    part = np.arange(600) % 3
    factor = np.array([1.5, 3.0, 0.2])[part]
    spoilt = replace(shown, challenger=replace(shown.challenger, prediction=Prediction(shown.actual + factor * errors)))
    spoilt = replace(spoilt, slices={name: part == number for number, name in enumerate(("a", "b", "c"))})
    found = {name: slice_of(spoilt, name) for name in ("a", "b", "c")}
    reason = "; ".join(
        f"{name} (200 rows): rmse {found[name].figure:.4g} against {found[name].serving:.4g}, "
        f"{found[name].low:.3g} worse to {found[name].high:.3g} worse, at most {found[name].margin:.3g} worse allowed"
        for name in ("a", "b")
    )
    expected = verdict("slices", False, reason, found["b"].high, found["b"].margin)
    assert NoSliceWorse(RULE, "pass").judge(spoilt) == expected
    better = replace(spoilt, slices={"c": spoilt.slices["c"]})
    alone = compare_with_champion(better, RULE, better.slices["c"])
    expected = verdict("slices", True, "none of 1 is worse", alone.high, alone.margin)
    assert NoSliceWorse(RULE, "pass").judge(better) == expected


def test_the_slice_that_is_shown_is_the_one_furthest_out_by_its_own_measure(evidence: Any) -> None:
    """Large numbers are not worse for being large: a part whose errors are a hundred times as large stays behind."""
    shown = evidence(rows=400)
    ours, theirs = (one.prediction.values - shown.actual for one in (shown.challenger, shown.champion))
    big = np.arange(400) < 200
    scale, factor = np.where(big, 100, 1), np.where(big, 1.5, 3.0)
    spoilt = replace(
        shown,
        challenger=replace(shown.challenger, prediction=Prediction(shown.actual + scale * factor * ours)),
        champion=replace(shown.champion, prediction=Prediction(shown.actual + scale * theirs)),
        slices={"big": big, "small": ~big},
    )
    found = NoSliceWorse(RULE, "pass").judge(spoilt)
    small = slice_of(spoilt, "small")
    assert (found.figure, found.limit) == (small.high, small.margin)


def test_a_slice_that_is_worse_is_shown_before_one_with_too_few_rows(evidence: Any) -> None:
    parts = {"few": np.arange(400) < 10, "many": np.arange(400) >= 10}
    shown = evidence(error=3.0, slices=parts)
    found = NoSliceWorse(RULE, "pass").judge(shown)
    assert slice_of(shown, "few").outcome == "not enough rows"
    assert (found.passed, found.undecided, found.figure) == (False, False, slice_of(shown, "many").high)


def test_each_slice_gets_its_share_of_the_error_rate(evidence: Any) -> None:
    parts = {f"part {number}": np.arange(400) % 4 == number for number in range(4)}
    shown = evidence(error=0.5, slices=parts)
    found = NoSliceWorse(RULE, "pass").judge(shown)
    highest = {name: slice_of(shown, name).high for name in parts}
    whole = {name: compare_with_champion(shown, RULE, rows).high for name, rows in parts.items()}
    assert found.figure in highest.values()
    assert found.figure not in whole.values()


def slice_of(shown: Evidence, name: str) -> Comparison:
    """A part compared as `NoSliceWorse` does: with its share of the error rate."""
    rule = Rule(RULE.tolerance, RULE.min_rows, RULE.error_rate / len(shown.slices))
    return compare_with_champion(shown, rule, shown.slices[name])


def verdict(check: str, passed: bool, reason: str, figure: Any = None, limit: Any = None, hint: str = "") -> Verdict:
    return Verdict(check=check, passed=passed, reason=reason, figure=figure, limit=limit, hint=hint)


def scored(shown: Evidence, figure: float, naive: float) -> Evidence:
    ours, guess = replace(shown.challenger, scores={"rmse": figure}), replace(shown.baseline, scores={"rmse": naive})
    return replace(shown, challenger=ours, baseline=guess)
