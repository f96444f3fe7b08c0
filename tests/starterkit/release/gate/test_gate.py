"""The gate asks every check, the kit's and the project's, and a check that fails refuses."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from starterkit.errors import KitError, SettingsError
from starterkit.release.gate import Decision, Gate
from starterkit.release.gate.comparison import Rule, compare_with_champion
from starterkit.settings import GateSettings
from starterkit.verdict import Check, Cost, Evidence, Frozen, Verdict

NAN = float("nan")
CHECKS = [
    "policy", "parity", "estimator", "holdout", "leak", "limit rmse", "baseline", "champion", "slices", "gain",
    "calibration", "extrapolation", "signature", "latency", "size", "robustness",
]  # fmt: skip


def decide(shown: Evidence, checks: tuple[Any, ...] = (), **settings: Any) -> Decision:
    decision = Gate(GateSettings(**settings), shown.metric.task, checks).decide(shown)
    assert decision.passed == (decision.refusals == ())
    return decision


def refusals(shown: Evidence, checks: tuple[Any, ...] = (), **settings: Any) -> dict[str, Verdict]:
    return {verdict.check: verdict for verdict in decide(shown, checks, **settings).refusals}


def test_every_check_is_asked_of_a_sound_model_and_after_a_refusal(evidence, contract):
    decision = decide(evidence(error=0.9), limits={"rmse": {"max": 60}})
    assert [verdict.check for verdict in decision.verdicts] == CHECKS
    assert decision.refusals == ()
    shown = evidence(error=0.9, contract=contract(largest=1.0))
    shown = replace(shown, challenger=replace(shown.challenger, scores={"rmse": NAN}))
    assert list(refusals(shown, limits={"rmse": {"max": 60}})) == ["parity", "limit rmse", "baseline"]


@pytest.mark.parametrize(
    ("task", "name"), [("regression", "accuracy"), ("classification", "rmse"), ("regression", "x")]
)
def test_a_limit_for_another_tasks_metric_is_refused_by_name(task, name):
    with pytest.raises(SettingsError, match=rf"gate\.limits\.{name} is no metric for {task}.*Use "):
        Gate(GateSettings(limits={name: {"max": 1}}), task)


SETTINGS = {
    "tolerance": 0.25, "min_rows": 50, "undecided": "pass", "undecided_slices": "refuse", "leak_limit": 0.5,
    "heavier": 4, "latency_floor_ms": 7, "size_floor_mb": 0.3,
}  # fmt: skip


def test_every_setting_reaches_its_check(evidence):
    """Each limit is shown by the verdict that it belongs to, in that verdict's unit."""
    cheap, half = Cost(one_row=0.001, many_rows=0.001, rows=90, size=1000), {"left": np.arange(400) < 200}
    shown = evidence(error=0.5, cost=cheap, champion_cost=cheap, slices=half)

    def limits_of(shown: Evidence) -> dict[str, Any]:
        decision = decide(shown, limits={"rmse": {"max": 60}}, **SETTINGS)
        return {verdict.check: verdict.limit for verdict in decision.verdicts}

    whole, left = (compare_with_champion(shown, Rule(0.25, 50), rows) for rows in (None, half["left"]))
    assert limits_of(shown) == {
        "policy": None, "parity": 1e-5, "estimator": 1e-5, "holdout": 0, "leak": 0.5, "limit rmse": 60,
        "baseline": shown.baseline.scores["rmse"],
        "champion": whole.margin, "slices": left.margin, "gain": 0.5, "calibration": None, "extrapolation": None,
        "signature": None, "latency": pytest.approx(7), "size": pytest.approx(0.3), "robustness": None,
    }  # fmt: skip
    heavy = limits_of(replace(shown, champion_cost=replace(cheap, one_row=0.01, size=1_000_000)))
    assert (heavy["latency"], heavy["size"]) == (pytest.approx(7), 4)
    for cost, refused in (
        ({"size": 300_000}, []),
        ({"size": 300_001}, ["size"]),
        ({"one_row": 0.007}, []),
        ({"one_row": 0.007001}, ["latency"]),
    ):
        assert list(refusals(replace(shown, cost=replace(cheap, **cost)), **SETTINGS)) == refused


@pytest.mark.parametrize("undecided", ["pass", "refuse"])
@pytest.mark.parametrize("undecided_slices", ["pass", "refuse"])
def test_what_becomes_of_too_few_rows_is_set_apart_for_slices(evidence, undecided, undecided_slices):
    shown = evidence(error=0.5, rows=49, slices={"all": np.ones(49, bool)})
    found = refusals(shown, **{**SETTINGS, "undecided": undecided, "undecided_slices": undecided_slices})
    expected = {"baseline": undecided, "champion": undecided, "slices": undecided_slices, "gain": undecided}
    assert list(found) == [name for name, word in expected.items() if word == "refuse"]


class Own(Check):
    """A project's own check, by what it does."""

    name = "own"

    def __init__(self, does: Callable[[Evidence], Any]) -> None:
        self._does = does

    def judge(self, evidence: Evidence) -> Verdict:
        return self._does(evidence)


class Nameless(Check):
    def judge(self, evidence: Evidence) -> Verdict:
        raise ZeroDivisionError


def told(**said: Any) -> Own:
    """A check that says this."""
    return Own(lambda _: Verdict(**{"check": "own", "passed": True, "reason": "fine", **said}))


@pytest.mark.parametrize("passed", [True, False])
def test_a_projects_own_check_decides_too(evidence, passed):
    assert decide(evidence(error=0.9), (told(passed=passed),)).passed == passed


@pytest.mark.parametrize(
    ("check", "name", "reason"),
    [
        (Own(lambda shown: shown.features["nowhere"]), "own", "the check itself failed: KeyError"),
        (Nameless(), "Nameless", "the check itself failed: ZeroDivisionError"),
        (Own(lambda _: None), "own", "the check gave a NoneType, not a Verdict"),
        (Own(lambda _: True), "own", "the check gave a bool, not a Verdict"),
        (told(passed=NAN), "own", "the check gave a verdict whose 'passed' is a float, not true or false"),
        (told(figure=np.array(1.0)), "own", "the check gave a verdict whose 'figure' is a ndarray, not a number"),
        (told(limit="1"), "own", "the check gave a verdict whose 'limit' is a str, not a number"),
        # named where it happened, not where it was noticed
        (Own(Nameless().judge), "own", f"({__file__}, line {Nameless.judge.__code__.co_firstlineno + 1})"),
    ],
)
def test_a_check_that_fails_refuses(evidence, check, name, reason):
    found = refusals(evidence(error=0.9), (check,))
    assert list(found) == [name]
    assert reason in found[name].reason
    assert found[name].passed is False


def test_what_a_check_says_that_stopped_is_kept(evidence):
    def stop(_: Evidence) -> None:
        raise KitError("it has no figure", "Mend it")

    stopped = Verdict(check="own", passed=False, reason="it has no figure", hint="Mend it")
    assert refusals(evidence(error=0.9), (Own(stop),)) == {"own": stopped}


@pytest.mark.parametrize(
    ("given", "outcome", "said"),
    [
        ({}, "passed", "relative difference"),
        ({"beside": None, "beside_fault": "it is lost"}, "refused", "it is lost"),
        ({"beside": None}, "off", "switched off by gate.checks"),
    ],
)
def test_an_estimator_that_was_asked_all_the_same_is_heard(evidence, given, outcome, said):
    found = Gate(GateSettings(checks={"estimator": False}), "regression").decide(evidence(**given)).verdicts
    (heard,) = (one for one in found if one.check == "estimator")
    assert (heard.outcome, said in heard.reason) == (outcome, True)


def test_bounds_of_the_stage_and_the_frozen_holdout(evidence):
    frozen = Frozen(why="drift", allowed=0.1, rows=9, figure=2.0, naive=1.0)
    gate = Gate(GateSettings(limits={"r2": {"min": 0.99}}), "regression", tolerance=1e-6)
    refused = [one.check for one in gate.decide(evidence(error=0.9, frozen=frozen)).refusals]
    assert refused == ["parity", "limit r2", "frozen holdout"]


@pytest.mark.parametrize("name", ["policy", "parity", "holdout", "leak", "champion", "slices", "latency"])
def test_a_check_that_is_off_is_shown_and_not_asked(evidence, name):
    shown = evidence(origin="elsewhere", overlap=None, leaks={"age": 1.0}, error=9)
    decision = Gate(GateSettings(checks={name: False}), "regression").decide(shown)
    verdict = next(one for one in decision.verdicts if one.check == name)
    assert (verdict.off, verdict.passed, verdict.outcome) == (True, True, "off")
    assert "switched off by gate.checks" in verdict.reason
    assert verdict not in (*decision.asked, *decision.refusals)


def test_a_check_that_there_is_not_cannot_be_switched_off():
    with pytest.raises(SettingsError, match=r"parrity is no check \(did you mean parity\?\).*Name one of"):
        Gate(GateSettings(checks={"parrity": False}), "regression")
    with pytest.raises(SettingsError, match=r"gate\.checks\.zzz is no check\. Name one of"):
        Gate(GateSettings(checks={"zzz": False}), "regression")
