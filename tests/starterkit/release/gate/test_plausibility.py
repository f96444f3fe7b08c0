"""Figures that are too good, or odd: each is met on evidence that is made so, and a person's word lets it pass."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from starterkit.contract import Prediction
from starterkit.metrics import METRICS
from starterkit.release.gate import Gate
from starterkit.release.gate.quality import Believable, Calibrated, StaysInReach
from starterkit.settings import GateSettings
from starterkit.verdict import Candidate, Evidence

GAIN = Believable(0.985, "refuse")


@pytest.mark.parametrize(
    ("error", "champion_error", "changes", "outcome"),
    [
        (0.9, 1.0, {}, "passed"),
        (1.3, 1.0, {}, "passed"),
        (0.6, 1.0, {}, "not enough rows"),  # of the squared error 0.36 is left
        (0.75, 1.0, {"leaks": {"age": 0.95}}, "not enough rows"),  # a column says more than the champion
        (0.75, 1.0, {"leaks": {"age": 0.95}, "strong": ("age",)}, "passed"),
        (0.95, 1.0, {"leaks": {"age": 0.95}}, "passed"),
        (0.1, 1.0, {}, "refused"),
        (0.1, 0.11, {}, "passed"),  # the champion knew as much
        (0.1, None, {}, "refused"),
        (0.1, None, {"strong": ("age",)}, "passed"),
        (1.0, None, {"leaks": {"age": 0.85}}, "not enough rows"),
    ],
)
def test_gain(evidence, error, champion_error, changes, outcome):
    verdict = GAIN.judge(evidence(error=error, champion_error=champion_error, **changes))
    assert verdict.outcome == outcome, verdict.reason
    assert ("--reason" in verdict.hint) == (outcome != "passed")


@pytest.fixture
def sure(evidence: Any, contract: Any) -> Any:
    """Evidence over 400 rows of two classes, whose log odds are told as many times as given."""

    def make(times: float, champion: float | None = None, metric: str = "accuracy") -> Evidence:
        random = np.random.default_rng(3)
        odds = random.normal(0, 1.5, 400)
        actual = odds > random.logistic(0, 1, 400)

        def candidate(scale: float) -> Candidate:
            chance = 1 / (1 + np.exp(-scale * odds))
            return Candidate(
                name="v", prediction=Prediction(chance > 0.5, np.column_stack([1 - chance, chance])), scores={}
            )

        known = contract(task="classification", classes=(False, True))
        return evidence(
            contract=known, champion_contract=known, metric=METRICS[metric], actual=actual,
            challenger=candidate(times), champion=None if champion is None else candidate(champion),
            baseline=candidate(0.0),
        )  # fmt: skip

    return make


@pytest.mark.parametrize(
    ("times", "champion", "outcome"),
    [(1, None, "passed"), (4, None, "refused"), (4, 1, "refused"), (4, 4, "passed"), (0.3, 1, "passed"),
     (2.2, 1, "not enough rows")],
)  # fmt: skip
def test_calibration(sure, times, champion, outcome):
    verdict = Calibrated("refuse").judge(sure(times, champion))
    assert verdict.outcome == outcome, verdict.reason
    assert verdict.figure == pytest.approx(Calibrated("refuse").judge(sure(1)).figure / times, rel=0.02)


@pytest.mark.parametrize(
    ("reach", "before", "passed"),
    [(None, None, True), (9, None, True), (11, None, False), (11, 6, True), (13, 6, False), (np.inf, None, False)],
)
def test_extrapolation(evidence, reach, before, passed):
    assert StaysInReach().judge(evidence(reach=reach, champion_reach=before)).passed == passed


def test_a_person_may_say_why_and_answers_for_nothing_else(evidence):
    shown = replace(evidence(error=0.1, reach=50.0, leaks={"age": 1.0}), explanation="measured by another device")
    decision = Gate(GateSettings(), "regression").decide(shown)
    said = {one.check: one.reason for one in decision.verdicts if "measured by another device" in one.reason}
    assert (list(said), [one.check for one in decision.refusals]) == (["gain", "extrapolation"], ["leak"])
