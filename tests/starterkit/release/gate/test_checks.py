"""Whether the figures can be believed: each check is seen to pass and to refuse."""

from typing import Any

import pytest

from starterkit.release.gate.checks import HoldoutUnseen, NoFeatureAlone, ParityProven, StaysRobust
from starterkit.verdict import Contamination, RobustnessResult

NAN = float("nan")


@pytest.mark.parametrize(
    ("largest", "passed"), [(0.0, True), (1e-5, True), (1.1e-5, False), (NAN, False), (float("inf"), False)]
)
def test_parity_has_to_be_proven(evidence: Any, contract: Any, largest: float, passed: bool) -> None:
    verdict = ParityProven().judge(evidence(contract=contract(largest=largest)))
    assert verdict.passed == passed
    assert "over 100,000 rows, 1e-05 allowed" in verdict.reason


def test_a_version_that_knew_the_holdout_is_refused(evidence: Any) -> None:
    assert HoldoutUnseen().judge(evidence()).passed
    verdict = HoldoutUnseen().judge(evidence(overlap=Contamination(trained_on=1, alike=3)))
    assert not verdict.passed
    assert verdict.reason == "trained on 1 of the 400 holdout rows; 3 have the same features as a training row"
    assert (verdict.figure, verdict.limit) == (1, 0)


def test_rows_that_look_alike_are_worth_a_word_and_no_refusal(evidence: Any) -> None:
    verdict = HoldoutUnseen().judge(evidence(overlap=Contamination(trained_on=0, alike=3)))
    assert verdict.passed
    assert "3 have the same features" in verdict.reason


@pytest.mark.parametrize(
    ("copied", "usual", "passed"),
    [(80, 0.0, True), (81, 0.0, False), (400, 0.09, False), (400, 0.1, True), (4, 0.0, True)],
)
def test_a_table_that_repeats_the_holdout_is_refused(evidence: Any, copied: int, usual: float, passed: bool) -> None:
    verdict = HoldoutUnseen().judge(evidence(overlap=Contamination(trained_on=0, copied=copied, usual=usual)))
    assert verdict.passed == passed
    assert ("under another identifier" in verdict.reason) == (not passed)


def test_both_ways_of_knowing_the_holdout_are_told(evidence: Any) -> None:
    verdict = HoldoutUnseen().judge(evidence(overlap=Contamination(trained_on=3, copied=400, usual=0.0)))
    assert verdict.reason.startswith("trained on 3 of the 400 holdout rows; 400 stand in the training side")


@pytest.mark.parametrize("overlap", [None, Contamination(trained_on=None)])
def test_a_version_that_does_not_say_what_it_was_trained_on_is_refused(evidence: Any, overlap: Any) -> None:
    verdict = HoldoutUnseen().judge(evidence(overlap=overlap))
    assert not verdict.passed
    assert "train again" in verdict.reason


@pytest.mark.parametrize(("share", "passed"), [(-0.5, True), (0.97, True), (0.98, False), (NAN, False)])
def test_a_feature_that_predicts_the_target_alone_is_refused(evidence: Any, share: float, passed: bool) -> None:
    shown = evidence(leaks={"age": share, "bmi": 0.5})
    verdict = NoFeatureAlone(0.97).judge(shown)
    assert verdict.passed == passed
    assert ("'age'" in verdict.reason) == (not passed or share > 0.5)


def test_a_feature_that_the_problem_calls_strong_may_predict_the_target(evidence: Any) -> None:
    shares = {"age": 0.99, "bmi": 0.99}
    verdict = NoFeatureAlone(0.97).judge(evidence(leaks=shares, strong=("age",)))
    assert not verdict.passed
    assert "'bmi' (99.0%)" in verdict.reason
    assert "'age'" not in verdict.reason
    assert NoFeatureAlone(0.97).judge(evidence(leaks=shares, strong=("age", "bmi"))).passed


@pytest.mark.parametrize(("figure", "passed"), [(0.0, True), (0.05, True), (0.06, False), (NAN, False)])
def test_every_reaction_has_to_hold(evidence: Any, figure: float, passed: bool) -> None:
    sound = RobustnessResult(figure=0.01, limit=0.05, words="stands still")
    shown = RobustnessResult(figure=figure, limit=0.05, words="trembles")
    verdict = StaysRobust().judge(evidence(reactions=(sound, shown)))
    assert verdict.passed == passed
    if not passed:
        assert verdict.reason == "trembles"


def test_without_expectations_there_is_nothing_to_refuse(evidence: Any) -> None:
    assert StaysRobust().judge(evidence()).passed
