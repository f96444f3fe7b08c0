"""The rule of non-regression, and how often it errs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from starterkit.contract import Prediction
from starterkit.metrics import METRICS
from starterkit.release.gate.comparison import Rule, compare_with_champion, paired_shortfall
from starterkit.release.gate.quality import NoSliceWorse, NotWorseThanChampion
from starterkit.verdict import Candidate, Evidence, Verdict

RULE = Rule(tolerance=0.02, min_rows=30)
HALVES = {"left": np.arange(400) < 200, "right": np.arange(400) >= 200}


def judged(shown: Evidence, rule: Rule = RULE, undecided: Any = "refuse") -> Verdict:
    return NotWorseThanChampion(rule, undecided).judge(shown)


def answered(shown: Evidence, values: Any) -> Evidence:
    """The same evidence with other answers of the challenger."""
    return replace(shown, challenger=replace(shown.challenger, prediction=Prediction(np.asarray(values))))


@pytest.mark.parametrize(
    ("error", "outcome"),
    [(0.5, "passed"), (0.9, "passed"), (1.0, "not enough rows"), (1.5, "refused"), (3.0, "refused")],
)
def test_the_interval_decides(evidence: Any, error: float, outcome: str) -> None:
    verdict = judged(evidence(error=error))
    assert verdict.outcome == outcome
    assert verdict.passed == (outcome == "passed")
    assert "of local.p version 1 on the same 400 rows" in verdict.reason


def test_a_version_a_little_worse_is_within_the_tolerance(evidence: Any) -> None:
    shown = evidence()
    slightly = answered(shown, shown.actual + (shown.champion.prediction.values - shown.actual) * 1.015)
    assert judged(slightly).outcome == "passed"
    assert judged(slightly, Rule(tolerance=0.01, min_rows=30)).outcome == "refused"


def test_the_same_answers_pass_also_with_few_rows(evidence: Any) -> None:
    shown = evidence(rows=5)
    same = answered(shown, shown.champion.prediction.values)
    verdict = judged(same)
    assert verdict.outcome == "passed"
    assert "the same answers" in verdict.reason
    assert judged(shown).outcome == "not enough rows"


def test_not_enough_rows_passes_or_refuses_as_the_stage_says(evidence: Any) -> None:
    assert judged(evidence(), undecided="pass").passed
    refused = judged(evidence(), undecided="refuse")
    assert not refused.passed
    assert "Hold out more, or raise gate.tolerance" in refused.reason
    assert not judged(evidence(error=1.5), undecided="pass").passed


def test_the_number_of_rows_that_would_tell_does_tell(evidence: Any) -> None:
    needed = compare_with_champion(evidence(error=0.99), RULE).needed
    assert needed > 400
    assert judged(evidence(error=0.99, rows=2 * needed)).outcome == "passed"


def test_repeated_measures_are_not_independent_rows(evidence: Any) -> None:
    """Ten copies of each of 40 patients say no more than the 40 do."""
    few = evidence(rows=40, error=1.2)

    def copied(values: Any) -> Any:
        return np.tile(values, 10)

    many = replace(
        answered(few, copied(few.challenger.prediction.values)),
        actual=copied(few.actual),
        champion=replace(few.champion, prediction=Prediction(copied(few.champion.prediction.values))),
    )
    groups = np.array([f"patient {row}" for row in copied(np.arange(40))])
    alone, fooled, grouped = (compare_with_champion(shown, RULE) for shown in (few, many, replace(many, groups=groups)))
    width = {name: one.high - one.low for name, one in (("40", alone), ("400", fooled), ("groups", grouped))}
    assert width["groups"] == pytest.approx(width["40"], rel=0.1)
    assert width["400"] < 0.5 * width["40"]
    assert grouped.units == 40
    assert "on the same 40 groups" in judged(replace(many, groups=groups)).reason


def test_one_slice_that_is_worse_refuses(evidence: Any) -> None:
    shown = evidence(error=0.8)
    values = shown.challenger.prediction.values.copy()
    values[HALVES["right"]] = (shown.actual + 2 * (values - shown.actual))[HALVES["right"]]
    verdict = NoSliceWorse(RULE, "pass").judge(replace(answered(shown, values), slices=HALVES))
    assert not verdict.passed
    assert verdict.reason.startswith("right (200 rows): rmse ")
    assert "left" not in verdict.reason


@pytest.mark.parametrize("undecided", ["pass", "refuse"])
def test_a_slice_with_few_rows_passes_or_refuses_as_the_stage_says(evidence: Any, undecided: Any) -> None:
    parts = {"most": np.arange(400) >= 10, "few": np.arange(400) < 10}
    verdict = NoSliceWorse(RULE, undecided).judge(evidence(error=0.5, slices=parts))
    assert verdict.passed == (undecided == "pass")
    assert verdict.undecided
    assert verdict.reason == "none of 2 is worse; too few rows to be sure of few"


@pytest.mark.slow
def test_many_slices_do_not_make_a_refusal_likelier(contract: Any) -> None:
    """Two versions that are equally good, looked at in ten parts of 50 rows, 200 times over."""
    refused = sum(
        not NoSliceWorse(RULE, "pass").judge(equals(contract, seed, rows=500, slices=10)).passed for seed in range(200)
    )
    assert refused <= 24  # about ten are allowed: one in twenty


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["rmse", "mae", "r2", "log_loss", "roc_auc", "accuracy"])
def test_each_bound_is_wrong_about_one_time_in_twenty(contract: Any, metric: str) -> None:
    """The interval against the truth, which here is a shortfall of zero. Loose: 150 draws of 120 rows."""
    below = above = 0
    for seed in range(150):
        shown = equals(contract, seed, rows=120, metric=metric)
        ours, theirs = (
            METRICS[metric].weighted(shown.actual, one.prediction, shown.contract.classes)
            for one in (shown.challenger, shown.champion)
        )
        found = paired_shortfall(METRICS[metric], ours, theirs, np.arange(120), 0.05)
        below, above = below + (found.low > 0), above + (found.high < 0)
    assert 1 <= below <= 18
    assert 1 <= above <= 18


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("error", "outcome"), [(0.4, "passed"), (3.0, "refused")])
def test_each_metric_knows_which_way_is_better(contract: Any, metric: str, error: float, outcome: str) -> None:
    assert judged(equals(contract, 0, rows=400, metric=metric, error=error)).outcome == outcome


def test_a_version_just_outside_of_the_margin_seldom_passes(contract: Any) -> None:
    rule = Rule(tolerance=0.1, min_rows=30)
    passed = sum(judged(equals(contract, seed, rows=200, error=1.1), rule).passed for seed in range(150))
    assert passed <= 18


def equals(contract: Any, seed: int, rows: int, slices: int = 0, metric: str = "rmse", error: float = 1.0) -> Evidence:
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
    ours, theirs = (
        Candidate(name=name, prediction=answer, scores={})
        for name, answer in zip(("version 2", "version 1"), predictions, strict=True)
    )
    part = np.arange(rows) % slices if slices else np.zeros(rows)
    return Evidence(
        contract=contract(classes=classes),
        champion_contract=contract(classes=classes),
        metric=METRICS[metric],
        actual=actual,
        features={},
        challenger=ours,
        champion=theirs,
        baseline=theirs,
        slices={f"part {number}": part == number for number in range(slices)},
    )
