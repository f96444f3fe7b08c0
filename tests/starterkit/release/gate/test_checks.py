"""Whether the figures can be believed, and what clients would notice: each check is seen to pass and to refuse."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from starterkit.contract import Column, Parity, Treatment
from starterkit.release.gate import checks
from starterkit.verdict import Check, Contamination, Cost, Evidence, Frozen, RobustnessResult, Verdict

NAN = float("nan")
PARITY = Parity(rows=1000, measure="relative difference", largest=1e-7, allowed=1e-5, scale=1.0)


WAVERS = "; the estimator answers 3 of {} rows otherwise when it is asked for them one by one"


def refused(check: str, reason: str, hint: str, figure: Any = None, limit: Any = None) -> Verdict:
    return Verdict(check=check, passed=False, reason=reason, hint=hint, figure=figure, limit=limit)


def judged(check: Check, shown: Evidence) -> tuple[Any, ...]:
    """Whether it passes, why, by which figure and of which limit; the two are left out where there are none."""
    verdict = check.judge(shown)
    figures = () if verdict.figure is None else (pytest.approx(verdict.figure, nan_ok=True), verdict.limit)
    assert (verdict.check, verdict.undecided, verdict.hint) == (check.name, False, "")
    return verdict.passed, verdict.reason, *figures


@pytest.mark.parametrize(
    ("changes", "passed", "said"),
    [
        ({}, True, ""),
        ({"largest": 1e-5}, True, ""),
        ({"largest": 1.1e-5}, False, ""),
        ({"largest": NAN}, False, ""),
        ({"flipped_labels": 1200}, False, "; 1,200 labels changed"),
        ({"probed": 9}, True, "; no rows in another leaf"),
        ({"probed": 9, "flipped_leaves": 1}, False, "; 1 row in another leaf"),
        ({"flipped_labels": 2, "probed": 9, "flipped_leaves": 2}, False, "; 2 labels changed; 2 rows in another leaf"),
        ({"alone": 300, "unstable": 3, "unstable_allowed": 0.01}, True, WAVERS.format(300)),
    ],
)
@pytest.mark.parametrize("tolerance", [None, 1e-5])
def test_parity(evidence, contract, changes, passed, said, tolerance):
    parity = replace(PARITY, **changes)
    reason = f"relative difference {parity.largest:.2g} over 1,000 rows, 1e-05 allowed{said}"
    shown = evidence(contract=contract(parity=parity))
    assert judged(checks.ParityProven(tolerance), shown) == (passed, reason, parity.largest, 1e-5)


def test_a_graph_that_was_held_to_less_than_the_stage_asks_is_refused(evidence):
    reason, hint = "its graph was held to 1e-05, and this stage allows 1e-06", "Export it again here, or look at"
    found = checks.ParityProven(1e-6).judge(evidence())
    assert found == refused("parity", reason, found.hint, 1e-5, 1e-6)
    assert found.hint.startswith(hint)


@pytest.mark.parametrize(
    ("changes", "passed", "said"),
    [
        ({}, True, ""),
        ({"largest": 2e-5}, False, ""),
        ({"flipped_labels": 1}, False, "; 1 labels differ"),
        ({"alone": 300, "unstable": 3, "unstable_allowed": 0.01}, True, WAVERS.format(300)),
        ({"alone": 299, "unstable": 3, "unstable_allowed": 0.01}, False, WAVERS.format(299)),
    ],
)
def test_the_estimator_itself(evidence, changes, passed, said):
    beside = replace(PARITY, **changes)
    reason = f"relative difference {beside.largest:.2g} over 1,000 rows of the data, 1e-05 allowed{said}"
    assert judged(checks.AgainstEstimator(), evidence(beside=beside)) == (passed, reason, beside.largest, 1e-5)


def test_an_estimator_that_cannot_be_asked_refuses_and_one_that_nobody_asked_is_off(evidence):
    lost = checks.AgainstEstimator().judge(evidence(beside=None, beside_fault="run 7 has no estimator"))
    assert lost == refused("estimator", "run 7 has no estimator", "Train it again with the project as it is now")
    off = checks.AgainstEstimator().judge(evidence(beside=None))
    assert (off.check, off.passed, off.outcome) == ("estimator", True, "off")
    assert "starterkit gate --against-estimator" in off.reason


@pytest.mark.parametrize(
    ("overlap", "passed", "said", "figure"),
    [
        ({"trained_on": 0}, True, "trained on none of the 400 holdout rows", 0),
        ({"trained_on": 7}, False, "trained on 7 of the 400 holdout rows", 7),
        ({"trained_on": 1, "alike": 3}, False, "1 of the 400 holdout rows; 3 have the same features", 1),
        ({"trained_on": 0, "alike": 3}, True, "none of the 400 holdout rows; 3 have the same features", 0),
        ({"trained_on": 3, "copied": 400}, False, "trained on 3 of the 400 holdout rows; 400 stand in the training", 3),
        ({"trained_on": 0, "copied": 40}, True, "", 0),
        ({"trained_on": 0, "copied": 41}, False, "under another identifier", 0),
        ({"trained_on": 0, "copied": 320, "usual": 0.8}, False, "under another identifier", 0),
        ({"trained_on": 0, "copied": 400, "coarse": True}, True, "", 0),
        ({"trained_on": None}, False, "does not say which rows it was trained on: train again", None),
        (None, False, "train again with this version of the kit, and with the masking key that is here", None),
    ],
)
def test_holdout(evidence, overlap, passed, said, figure):
    verdict = checks.HoldoutUnseen().judge(evidence(overlap=overlap and Contamination(**overlap)))
    assert (verdict.check, verdict.passed, verdict.figure) == ("holdout", passed, figure)
    assert (verdict.limit, said in verdict.reason) == (None if figure is None else 0, True)
    copied = "under another identifier" in verdict.reason
    assert (copied, verdict.hint[:17]) in ((False, ""), (not passed, "Remove the copies"))


def test_a_holdout_of_another_time_than_the_rows_it_is_drawn_from_is_told(evidence):
    passed, reason, *_ = judged(checks.HoldoutUnseen(), evidence(timed=True))
    assert (passed, reason.split("; ")[0], "a drift does not show" in reason) == (
        True, "trained on none of the 400 holdout rows", True,
    )  # fmt: skip


ALONE = "'{}' alone removes {} of the naive guess's loss"
ADVICE = "removes nearly all of the naive guess's loss. Drop it, or name it in Problem(strong=…)"


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ({}, (True, "the problem declares every feature as strong")),
        ({"a": 0.4, "b": 0.9}, (True, ALONE.format("b", "90%"), 0.9, 0.97)),
        ({"a": -0.5}, (True, ALONE.format("a", "-50%"), -0.5, 0.97)),
        ({"a": 0.97}, (True, ALONE.format("a", "97%"), 0.97, 0.97)),
        ({"a": NAN}, (False, f"alone 'a' (nan%) {ADVICE}", NAN, 0.97)),
        ({"a": 0.98, "b": 0.99, "c": 0.1}, (False, f"alone 'a' (98.0%), 'b' (99.0%) {ADVICE}", 0.99, 0.97)),
    ],
)
def test_leak(evidence, shares, expected):
    shown = evidence(leaks={"strong": 1.0, **shares}, strong=("strong",))
    assert judged(checks.NoFeatureAlone(0.97), shown) == expected


def test_columns_that_give_the_target_away_in_another_manner(evidence):
    found = checks.NoFeatureAlone(0.97).judge(evidence(giveaways={"'a' and 'b'": "make it", "'c'": "has its gaps"}))
    assert found == refused("leak", "'a' and 'b' make it; 'c' has its gaps", found.hint)
    assert "Problem(strong=…)" in found.hint


@pytest.mark.parametrize(
    ("figures", "expected"),
    [
        ((), (True, "the problem declares none")),
        ((0.01, 0.05), (True, "first; second", 0.01, 0.05)),
        ((0.01, 0.06), (False, "second", 0.06, 0.05)),
        ((0.01, NAN), (False, "second", NAN, 0.05)),
        ((0.07, 0.06), (False, "first; second", 0.07, 0.05)),
    ],
)
def test_robustness(evidence, figures, expected):
    words = ("first", "second")[: len(figures)]
    reactions = (RobustnessResult(figure=one, limit=0.05, words=word) for one, word in zip(figures, words, strict=True))
    assert judged(checks.StaysRobust(), evidence(reactions=tuple(reactions))) == expected


BANDS: Mapping[str, Treatment] = {"age": "generalise"}
BOTH: Mapping[str, Treatment] = {"age": "mock", "b": "generalise"}


@pytest.mark.parametrize(
    ("then", "now", "said", "hint"),
    [
        (("staging", {}), ("staging", {}), "trained in stage staging, every column raw", None),
        (("dev", BANDS), ("dev", BANDS), "trained in stage dev, 'age' in bands", None),
        (("test", BOTH), ("test", BOTH), "'age' made up, 'b' in", None),
        (("dev", BANDS), ("staging", {}), "in stage dev, and only versions of stage staging may come", "Train it in"),
        (("staging", BANDS), ("staging", {}), "'age' in bands, now raw", "under today's policy"),
        (("dev", {}), ("dev", BANDS), "'age' raw, now in bands", "under today's policy"),
        (("test", {"age": "mock"}), ("test", BANDS), "'age' made up, now in bands", "under today's policy"),
        (("dev", BANDS), (None, BANDS), "nobody said which stage this is", ""),
    ],
)
def test_policy(evidence, contract, then, now, said, hint):
    lineage = replace(contract().lineage, stage=then[0], policy=then[1])
    verdict = checks.PolicyKept().judge(evidence(contract=contract(lineage=lineage), origin=now[0], policy=now[1]))
    assert (verdict.check, verdict.passed) == ("policy", hint is None)
    assert said in verdict.reason
    assert (hint or "") in verdict.hint


NUMBER = Column(name="x", role="feature", type="float", unit="m", sensitivity="plain", minimum=0, maximum=9)
WHOLE = replace(NUMBER, type="integer")
LABEL = replace(NUMBER, type="string", minimum=None, maximum=None, categories=("a", "b"))
OTHER = replace(WHOLE, name="y")


def of(*columns: Column) -> dict[str, Any]:
    return {"columns": columns}


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (of(NUMBER), of(NUMBER), ""),
        (of(WHOLE), of(NUMBER), ""),
        (of(NUMBER), of(WHOLE), "takes a whole number instead of a number"),
        (of(NUMBER), of(LABEL), "takes a text instead of a number"),
        (of(NUMBER), of(replace(NUMBER, minimum=-1, maximum=10)), ""),
        (of(NUMBER), of(replace(NUMBER, minimum=None, maximum=None)), ""),
        (of(NUMBER), of(replace(NUMBER, minimum=1)), "nothing below 1"),
        (of(NUMBER), of(replace(NUMBER, maximum=8)), "nothing above 8"),
        (of(replace(NUMBER, minimum=None)), of(NUMBER), "nothing below 0"),
        (of(replace(NUMBER, maximum=None)), of(NUMBER), "nothing above 9"),
        (of(NUMBER), of(replace(NUMBER, nullable=True)), ""),
        (of(replace(NUMBER, nullable=True)), of(NUMBER), "no longer takes a missing value"),
        (of(NUMBER), of(replace(NUMBER, unit="km")), "has another unit"),
        (of(LABEL), of(LABEL), ""),
        (of(LABEL), of(replace(LABEL, categories=("a", "b", "c"))), ""),
        (of(LABEL), of(replace(LABEL, categories=())), ""),
        (of(LABEL), of(replace(LABEL, categories=("a",))), "takes fewer categories"),
        (of(replace(LABEL, categories=())), of(LABEL), "takes fewer categories"),
        (of(replace(WHOLE, minimum=None, maximum=None, categories=(1, 9))), of(WHOLE), ""),
        (of(replace(WHOLE, minimum=None, maximum=None, categories=(1, 10))), of(WHOLE), "nothing above 9"),
        (of(NUMBER), of(NUMBER, OTHER), "column 'y' is new"),
        (of(NUMBER, OTHER), of(NUMBER), "column 'y' is gone"),
        (of(NUMBER, OTHER), of(OTHER, NUMBER), ""),
        ({}, {"target": replace(NUMBER, name="z")}, "another name"),
        ({}, {"target": WHOLE}, "answers are no longer a number"),
        ({}, {"target": replace(NUMBER, unit="km")}, "the target has another unit"),
        ({}, {"task": "classification"}, "answers are no longer"),
        ({}, {"classes": ("b", "a")}, ""),
        ({}, {"classes": ("a", "b", "c")}, "the classes are others"),
        ({}, {"classes": ("a",)}, "the classes are others"),
        ({}, of(OTHER) | {"classes": ("a",)}, "'y' is new; column 'age' is gone; the classes are others. A model"),
    ],
)
def test_signature(evidence, contract, before, after, said):
    served = {"target": NUMBER, "classes": ("a", "b"), **before}
    shown = evidence(contract=contract(**{**served, **after}), champion_contract=contract(**served))
    passed, reason = judged(checks.SignatureKept(), shown)
    assert passed == (not said)
    assert (said or "requests stay valid, the answers of the same kind") in reason


CHAMPION = Cost(one_row=0.001, many_rows=0.010, rows=90, size=2_000_000)


@pytest.mark.parametrize(
    ("one_row", "many_rows", "expected"),
    [
        # whichever call is nearer to its own limit is shown: 2 of 3 ms against 9 of 30, 1 of 3 against 20 of 30
        (0.002, 0.009, (True, "1 row in 2 ms, the champion 1 ms; 90 rows in 9 ms, the champion 10 ms", 2, 3)),
        (0.001, 0.020, (True, "1 row in 1 ms, the champion 1 ms; 90 rows in 20 ms, the champion 10 ms", 20, 30)),
        (0.003, 0.030, (True, "1 row in 3 ms, the champion 1 ms; 90 rows in 30 ms, the champion 10 ms", 3, 3)),
        (0.0031, 0.010, (False, "1 row in 3.1 ms, the champion 1 ms; 90 rows in 10 ms, the champion 10 ms", 3.1, 3)),
        (0.001, 0.031, (False, "1 row in 1 ms, the champion 1 ms; 90 rows in 31 ms, the champion 10 ms", 31, 30)),
        (NAN, 0.010, (False, "1 row in nan ms, the champion 1 ms; 90 rows in 10 ms, the champion 10 ms", NAN, 3)),
    ],
)
def test_latency(evidence, one_row, many_rows, expected):
    ours = replace(CHAMPION, one_row=one_row, many_rows=many_rows)
    assert judged(checks.LatencyWithin(3, 2), evidence(cost=ours, champion_cost=CHAMPION)) == expected
    alone = judged(checks.LatencyWithin(3, 2), evidence(cost=replace(ours, rows=1), champion_cost=CHAMPION))[1]
    assert alone == expected[1].replace("90 rows", "1 row")


@pytest.mark.parametrize(("size", "shown"), [(1_000_000, "1"), (6_000_000, "6"), (6_000_001, "6"), (7_000_000, "7")])
def test_size(evidence, size, shown):
    found = judged(checks.SizeWithin(3, 1), evidence(cost=replace(CHAMPION, size=size), champion_cost=CHAMPION))
    assert found == (size <= 6_000_000, f"{shown} MB, the champion 2 MB", size / 1e6, 6.0)


@pytest.mark.parametrize("check", [checks.LatencyWithin(3, 2), checks.SizeWithin(3, 1)])
@pytest.mark.parametrize("costs", [{"cost": None}, {"champion_cost": None}])
def test_a_cost_that_was_not_measured_is_not_compared(evidence, check, costs):
    assert judged(check, evidence(**costs)) == (True, "no champion to measure against")


OVER = "rmse {:g} over the 1,098 rows of the frozen holdout"


@pytest.mark.parametrize(
    ("figure", "serving", "passed", "said", "limit"),
    [
        (2.0, None, True, "", None),
        (2.5, 2.0, True, ", the champion's is 2 and 0.5 worse is allowed", 0.5),
        (2.75, 2.0, False, ", the champion's is 2 and 0.5 worse is allowed", 0.5),
        (3.0, None, False, " is not better than a naive guess's 3", 3.0),
        (3.5, 9.0, False, " is not better than a naive guess's 3", 3.0),
        (NAN, None, False, " is not better than a naive guess's 3", 3.0),
    ],
)
def test_what_was_known_before_a_retraining_is_not_forgotten(evidence, figure, serving, passed, said, limit):
    frozen = Frozen(why="drift", allowed=0.25, rows=1098, figure=figure, serving=serving, naive=3.0)
    verdict = checks.GuardedByFrozen().judge(evidence(frozen=frozen))
    assert verdict == Verdict(
        check="frozen holdout", passed=passed, reason=OVER.format(figure) + said, limit=limit,
        figure=pytest.approx(figure, nan_ok=True),
    )  # fmt: skip
