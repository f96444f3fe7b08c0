"""Every check of the gate is seen to pass and to refuse, in both directions of a metric."""

from typing import Any

import numpy as np
import pytest

from starterkit.contract import Column, Contract, Lineage, Parity, Prediction
from starterkit.errors import SettingsError
from starterkit.gate import Gate
from starterkit.metrics import METRICS
from starterkit.settings import GateSettings
from starterkit.verdict import Candidate, Check, Evidence, Verdict

NAN = float("nan")
LINEAGE = ("stage", "run", "commit", "lock_digest", "data_source", "data_digest", "holdout_digest")
COLUMN = Column(name="age", role="feature", type="float", unit="", sensitivity="plain")


def evidence(
    metric: str = "rmse",
    challenger: float = 50.0,
    baseline: float = 80.0,
    champion: float | None = 50.0,
    largest: float = 1e-7,
    **changes: Any,
) -> Evidence:
    """What a sound model would show for a metric that is better when smaller."""
    parity = Parity(rows=100_000, measure="relative difference", largest=largest, allowed=1e-5, scale=1.0)
    contract = Contract(
        problem="p",
        title="t",
        task=METRICS[metric].task,
        columns=(COLUMN,),
        target=COLUMN,
        layout="matrix",
        example={"age": 40.0},
        parity=parity,
        lineage=Lineage(**dict.fromkeys(LINEAGE, "x"), dirty=False),
        digests={},
    )
    actual = np.zeros(90)

    def candidate(name: str, figure: float) -> Candidate:
        return Candidate(name=name, prediction=Prediction(actual), scores={metric: figure})

    shown = {
        "contract": contract,
        "metric": METRICS[metric],
        "actual": actual,
        "features": {"age": actual},
        "challenger": candidate("local.p v2", challenger),
        "baseline": candidate("naive guess", baseline),
        "champion": None if champion is None else candidate("local.p v1", champion),
    }
    return Evidence(**{**shown, **changes})


def refusals(shown: Evidence, checks: tuple[Any, ...] = (), **settings: Any) -> dict[str, Verdict]:
    gate = Gate(GateSettings(**settings), shown.metric.task, checks)
    decision = gate.decide(shown)
    assert decision.passed == (decision.refusals == ())
    return {verdict.check: verdict for verdict in decision.refusals}


def test_a_sound_model_passes_every_check() -> None:
    decision = Gate(GateSettings(limits={"rmse": {"max": 60}}), "regression").decide(evidence())
    assert decision.passed
    assert [verdict.check for verdict in decision.verdicts] == ["parity", "limit rmse", "baseline", "champion"]


@pytest.mark.parametrize(
    ("metric", "challenger", "champion", "refused"),
    [
        ("rmse", 50.0, 50.0, False),
        ("rmse", 50.5, 50.0, False),  # exactly one percent worse
        ("rmse", 50.51, 50.0, True),
        ("rmse", 40.0, 50.0, False),
        ("rmse", NAN, 50.0, True),
        ("rmse", 50.0, NAN, True),
        ("rmse", float("inf"), 50.0, True),
        ("r2", 0.5, 0.5, False),
        ("r2", 0.495, 0.5, False),
        ("r2", 0.494, 0.5, True),
        ("r2", 0.9, 0.5, False),
        ("r2", -0.101, -0.1, False),
        ("r2", -0.102, -0.1, True),
        ("log_loss", 0.102, 0.1, True),
        ("roc_auc", 0.9, 0.95, True),
    ],
)
def test_a_challenger_may_be_a_little_worse_than_the_champion(
    metric: str, challenger: float, champion: float, refused: bool
) -> None:
    worst = -1e9 if METRICS[metric].greater_is_better else 1e9
    found = refusals(evidence(metric, challenger, worst, champion), tolerance=0.01)
    assert ("champion" in found) == refused


def test_the_verdict_on_the_champion_states_both_figures_and_the_limit() -> None:
    verdict = refusals(evidence(challenger=56.0), tolerance=0.01)["champion"]
    assert verdict.reason == "rmse 56 against 50 of local.p v1 on the same 90 rows, 1% worse allowed"
    assert (verdict.figure, verdict.limit) == (56.0, 50.5)
    verdict = refusals(evidence("r2", 0.4, 0.0, 0.5), tolerance=0.1)["champion"]
    assert verdict.limit == pytest.approx(0.45)


def test_the_first_version_has_no_champion_to_beat() -> None:
    assert refusals(evidence(champion=None)) == {}


def test_a_champion_that_cannot_be_compared_refuses() -> None:
    found = refusals(evidence(champion=None, champion_fault="v1 serves, but has another input"))
    assert found["champion"].reason == "v1 serves, but has another input"


@pytest.mark.parametrize(
    ("metric", "challenger", "baseline", "refused"),
    [
        ("rmse", 50.0, 80.0, False),
        ("rmse", 80.0, 80.0, True),  # as good as a guess is not better
        ("rmse", 81.0, 80.0, True),
        ("r2", 0.1, 0.0, False),
        ("r2", -0.1, 0.0, True),
        ("rmse", NAN, 80.0, True),
        ("rmse", 50.0, NAN, True),
        ("roc_auc", NAN, 0.5, True),
    ],
)
def test_a_model_has_to_beat_the_naive_guess(metric: str, challenger: float, baseline: float, refused: bool) -> None:
    found = refusals(evidence(metric, challenger, baseline, None))
    assert ("baseline" in found) == refused
    if refused:
        assert f"{challenger:.4g} is not better than the naive guess's {baseline:.4g}" in found["baseline"].reason


@pytest.mark.parametrize(
    ("limit", "figure", "refused", "stated"),
    [
        ({"max": 60}, 50.0, False, None),
        ({"max": 50}, 50.0, False, None),  # exactly the limit
        ({"max": 49.9}, 50.0, True, 49.9),
        ({"min": 50}, 50.0, False, None),
        ({"min": 50.1}, 50.0, True, 50.1),
        ({"min": 40, "max": 60}, 50.0, False, None),
        ({"min": 60, "max": 70}, 50.0, True, 60),
        ({"min": 30, "max": 40}, 50.0, True, 40),
        ({"max": 60}, NAN, True, 60),
        ({"min": 0}, NAN, True, 0),
    ],
)
def test_a_limit_holds(limit: dict[str, float], figure: float, refused: bool, stated: float | None) -> None:
    found = refusals(evidence(challenger=figure, champion=None), limits={"rmse": limit})
    assert ("limit rmse" in found) == refused
    if refused:
        verdict = found["limit rmse"]
        assert verdict.limit == stated
        assert f"rmse {figure:.4g}" in verdict.reason
        assert f"{stated:g} allowed" in verdict.reason


@pytest.mark.parametrize(
    ("largest", "refused"), [(0.0, False), (1e-5, False), (1.1e-5, True), (NAN, True), (float("inf"), True)]
)
def test_parity_has_to_be_proven(largest: float, refused: bool) -> None:
    found = refusals(evidence(largest=largest))
    assert ("parity" in found) == refused
    if refused:
        assert "over 100,000 rows, 1e-05 allowed" in found["parity"].reason


@pytest.mark.parametrize(
    ("task", "name"), [("regression", "accuracy"), ("classification", "rmse"), ("regression", "x")]
)
def test_a_limit_for_another_tasks_metric_is_refused_by_name(task: Any, name: str) -> None:
    with pytest.raises(SettingsError, match=rf"gate\.limits\.{name} is no metric for {task}.*Use "):
        Gate(GateSettings(limits={name: {"max": 1}}), task)


def test_every_check_is_asked_also_after_a_refusal() -> None:
    found = refusals(evidence(challenger=NAN, largest=1.0), limits={"rmse": {"max": 60}})
    assert list(found) == ["parity", "limit rmse", "baseline", "champion"]


class Cautious(Check):
    """A project's own check: no patient's error may be larger than this."""

    name = "largest error"

    def judge(self, evidence: Evidence) -> Verdict:
        largest = float(np.abs(evidence.actual - evidence.challenger.prediction.values).max())
        return Verdict(check=self.name, passed=largest < 10, reason=f"largest error {largest:g}", figure=largest)


@pytest.mark.parametrize(("error", "refused"), [(1.0, False), (11.0, True)])
def test_a_projects_own_check_decides_too(error: float, refused: bool) -> None:
    shown = evidence(actual=np.full(90, error))
    found = refusals(shown, (Cautious(),))
    assert list(found) == (["largest error"] if refused else [])


class Broken(Check):
    name = "broken"

    def judge(self, evidence: Evidence) -> Verdict:
        return evidence.features["nowhere"]  # type: ignore[return-value]


class Nameless(Check):
    def judge(self, evidence: Evidence) -> Verdict:
        raise ZeroDivisionError


class Silent(Check):
    name = "silent"

    def judge(self, evidence: Evidence) -> Verdict:
        return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("check", "name", "reason"),
    [
        (Broken(), "broken", "the check itself failed: KeyError"),
        (Nameless(), "Nameless", "the check itself failed: ZeroDivisionError"),
        (Silent(), "silent", "the check gave a NoneType, not a Verdict"),
    ],
)
def test_a_check_that_fails_refuses(check: Check, name: str, reason: str) -> None:
    found = refusals(evidence(), (check,))
    assert list(found) == [name]
    assert found[name].reason.startswith(reason)
