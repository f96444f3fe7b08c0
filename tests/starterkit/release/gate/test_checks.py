"""Whether the figures can be believed, and what clients would notice: each check is seen to pass and to refuse."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from starterkit.contract import Column, Treatment
from starterkit.release.gate.checks import (
    HoldoutUnseen,
    LatencyWithin,
    NoFeatureAlone,
    ParityProven,
    PolicyKept,
    SignatureKept,
    SizeWithin,
    StaysRobust,
)
from starterkit.verdict import Contamination, Cost, RobustnessResult, Verdict

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


# --- A version comes from the stage that may send it here, and was trained on what this stage shows.

BANDS: Mapping[str, Treatment] = {"age": "generalise"}


@pytest.mark.parametrize(
    ("trained_in", "trained_under", "origin", "shown", "said"),
    [
        ("staging", {}, "staging", {}, "trained in stage staging, every column raw"),
        ("dev", BANDS, "dev", BANDS, "trained in stage dev, 'age' in bands"),
        (
            "test",
            {"age": "mock", "b": "generalise"},
            "test",
            {"age": "mock", "b": "generalise"},
            "'age' made up, 'b' in",
        ),
    ],
)
def test_a_version_of_this_stage_passes(
    evidence: Any, contract: Any, trained_in: str, trained_under: Any, origin: str, shown: Any, said: str
) -> None:
    verdict = judged(evidence, contract, trained_in, trained_under, origin, shown)
    assert (verdict.check, verdict.passed, verdict.hint) == ("policy", True, "")
    assert said in verdict.reason


@pytest.mark.parametrize(
    ("trained_in", "trained_under", "origin", "shown", "said"),
    [
        ("dev", BANDS, "staging", {}, "it was trained in stage dev, and only versions of stage staging may come here"),
        ("test", {}, "staging", {}, "it was trained in stage test"),
        ("staging", BANDS, "staging", {}, "'age' in bands, now raw"),
        ("dev", {}, "dev", BANDS, "'age' raw, now in bands"),
        ("test", {"age": "mock"}, "test", BANDS, "'age' made up, now in bands"),
        ("dev", BANDS, None, BANDS, "nobody said which stage this is"),
    ],
)
def test_any_other_is_refused(
    evidence: Any, contract: Any, trained_in: str, trained_under: Any, origin: str, shown: Any, said: str
) -> None:
    verdict = judged(evidence, contract, trained_in, trained_under, origin, shown)
    assert (verdict.check, verdict.passed) == ("policy", False)
    assert said in verdict.reason
    hints = {trained_in: "under today's policy", None: ""}
    assert hints.get(origin, f"Train it in stage {origin}") in verdict.hint


def judged(evidence: Any, contract: Any, trained_in: str, trained_under: Any, origin: str, shown: Any) -> Verdict:
    lineage = replace(contract().lineage, stage=trained_in, policy=trained_under)
    return PolicyKept().judge(evidence(contract=contract(lineage=lineage), origin=origin, policy=shown))


# --- What the champion's clients would notice.

NUMBER = Column(name="x", role="feature", type="float", unit="m", sensitivity="plain", minimum=0, maximum=9)
WHOLE = replace(NUMBER, type="integer")
LABEL = replace(NUMBER, type="string", minimum=None, maximum=None, categories=("a", "b"))
MEGABYTE = 1_000_000


def reason(evidence: Any, contract: Any, before: dict[str, Any], after: dict[str, Any]) -> str:
    """Why the signature is refused; empty where it is not."""
    shown = evidence(contract=contract(**after), champion_contract=contract(**before))
    verdict = SignatureKept().judge(shown)
    return "" if verdict.passed else verdict.reason


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (NUMBER, NUMBER, ""),
        (WHOLE, NUMBER, ""),
        (NUMBER, WHOLE, "takes a whole number instead of a number"),
        (NUMBER, LABEL, "takes a text instead of a number"),
        (NUMBER, replace(NUMBER, minimum=-1, maximum=10), ""),
        (NUMBER, replace(NUMBER, minimum=None, maximum=None), ""),
        (NUMBER, replace(NUMBER, minimum=1), "nothing below 1"),
        (NUMBER, replace(NUMBER, maximum=8), "nothing above 8"),
        (replace(NUMBER, minimum=None), NUMBER, "nothing below 0"),
        (replace(NUMBER, maximum=None), NUMBER, "nothing above 9"),
        (NUMBER, replace(NUMBER, nullable=True), ""),
        (replace(NUMBER, nullable=True), NUMBER, "no longer takes a missing value"),
        (NUMBER, replace(NUMBER, unit="km"), "has another unit"),
        (LABEL, replace(LABEL, categories=("a", "b", "c")), ""),
        (LABEL, replace(LABEL, categories=()), ""),
        (LABEL, replace(LABEL, categories=("a",)), "takes fewer categories"),
        (replace(LABEL, categories=()), LABEL, "takes fewer categories"),
        (replace(WHOLE, minimum=None, maximum=None, categories=(1, 9)), WHOLE, ""),
        (replace(WHOLE, minimum=None, maximum=None, categories=(1, 10)), WHOLE, "nothing above 9"),
    ],
)
def test_requests_stay_valid(evidence: Any, contract: Any, before: Column, after: Column, said: str) -> None:
    found = reason(evidence, contract, {"columns": (before,)}, {"columns": (after,)})
    assert bool(found) == bool(said)
    assert said in found


def test_a_column_more_breaks_as_much_as_one_less(evidence: Any, contract: Any) -> None:
    one, two = {"columns": (NUMBER,)}, {"columns": (NUMBER, replace(WHOLE, name="y"))}
    assert "column 'y' is new" in reason(evidence, contract, one, two)
    assert "column 'y' is gone" in reason(evidence, contract, two, one)


def test_the_order_of_columns_is_not_the_clients_matter(evidence: Any, contract: Any) -> None:
    other = replace(WHOLE, name="y")
    assert reason(evidence, contract, {"columns": (NUMBER, other)}, {"columns": (other, NUMBER)}) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": replace(NUMBER, name="z")}, "another name"),
        ({"target": replace(WHOLE, name="x")}, "answers are no longer a number"),
        ({"target": replace(NUMBER, unit="km")}, "the target has another unit"),
        ({"task": "classification"}, "answers are no longer"),
        ({"classes": ("b", "a")}, ""),
        ({"classes": ("a", "b", "c")}, "the classes are others"),
        ({"classes": ("a",)}, "the classes are others"),
    ],
)
def test_answers_stay_of_the_same_kind(evidence: Any, contract: Any, changes: dict[str, Any], said: str) -> None:
    before = {"target": NUMBER, "classes": ("a", "b")}
    found = reason(evidence, contract, before, {**before, **changes})
    assert bool(found) == bool(said)
    assert said in found


@pytest.mark.parametrize(
    ("one_row", "many_rows", "passed"),
    [
        (0.001, 0.010, True),
        (0.003, 0.030, True),  # exactly three times
        (0.0031, 0.010, False),
        (0.001, 0.031, False),
        (float("nan"), 0.010, False),
    ],
)
def test_no_call_takes_many_times_the_champions(evidence: Any, one_row: float, many_rows: float, passed: bool) -> None:
    champion = Cost(one_row=0.001, many_rows=0.010, rows=90, size=MEGABYTE)
    ours = replace(champion, one_row=one_row, many_rows=many_rows)
    verdict = LatencyWithin(3, 2).judge(evidence(cost=ours, champion_cost=champion))
    assert verdict.passed == passed
    if passed is False and one_row == 0.001:
        assert (verdict.figure, verdict.limit) == (pytest.approx(31), pytest.approx(30))
        assert "90 rows in 31 ms, the champion 10 ms" in verdict.reason


def test_microseconds_refuse_nobody(evidence: Any) -> None:
    champion = Cost(one_row=1e-6, many_rows=1e-6, rows=90, size=10)
    shown = evidence(cost=Cost(one_row=0.002, many_rows=0.002, rows=90, size=MEGABYTE), champion_cost=champion)
    assert LatencyWithin(3, 2).judge(shown).passed
    assert SizeWithin(3, 1).judge(shown).passed
    assert not LatencyWithin(3, 1.9).judge(shown).passed
    assert not SizeWithin(3, 1 - 1e-6).judge(shown).passed


@pytest.mark.parametrize(("size", "passed"), [(MEGABYTE, True), (6 * MEGABYTE, True), (6 * MEGABYTE + 1, False)])
def test_no_graph_is_many_times_the_champions(evidence: Any, size: int, passed: bool) -> None:
    champion = Cost(one_row=1e-5, many_rows=1e-4, rows=90, size=2 * MEGABYTE)
    verdict = SizeWithin(3, 1).judge(evidence(cost=replace(champion, size=size), champion_cost=champion))
    assert verdict.passed == passed
    assert "the champion 2 MB" in verdict.reason
