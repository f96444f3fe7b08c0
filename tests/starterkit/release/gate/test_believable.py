"""Figures that are too good, or odd: when they pass, what is said of them, and that a person may explain them."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from scipy.stats import t
from sklearn.linear_model import LogisticRegression

from starterkit.contract import Prediction
from starterkit.metrics import METRICS
from starterkit.release.gate import Gate
from starterkit.release.gate.comparison import calibration_slope
from starterkit.release.gate.quality import _SAY, Believable, Calibrated, StaysInReach, _plain_loss
from starterkit.settings import GateSettings
from starterkit.verdict import Candidate, Check, Evidence, Verdict


def require(check: type[Check], words: tuple[Any, ...], shown: Evidence, outcome: str, **told: Any) -> None:
    """What a check says where it passes, refuses, or has not enough rows to tell, by both rules for the last."""
    for undecided in ("pass", "refuse"):
        passed = outcome == "passed" or (outcome, undecided) == ("not enough rows", "pass")
        expected = Verdict(check=check.name, passed=passed, undecided=outcome == "not enough rows", **told)
        assert check(*words, undecided).judge(shown) == expected


@pytest.fixture
def erring(evidence: Any) -> Any:
    """Evidence over 400 rows of ±size, of which a share is answered wrong by one, and the others right."""

    def make(ours: float, theirs: float | None, size: float = 2.0, **changes: Any) -> Evidence:
        actual, place = np.tile([-size, size], 200), np.arange(400)

        def candidate(share: float) -> Candidate:
            return Candidate(name="v", prediction=Prediction(actual + (place < 400 * share)), scores={})

        champion = None if theirs is None else candidate(theirs)
        return evidence(actual=actual, challenger=candidate(ours), champion=champion, **changes)

    return make


OF_CHAMPION, OF_GUESS = "it removes {:.0%} of the champion's loss", "it removes {:.1%} of the naive guess's loss"
ASKED, ALONE = (
    ". Which column is recorded after the target, or made of it?",
    ", 'age' alone {:.0%} of the naive guess's",
)
LEAK, MOST = {"leaks": {"age": 0.76, "bmi": 0.1}}, {"leaks": {"age": 0.8}}
MORE = {"leaks": {"age": 0.81, "bmi": 0.1}}
STRONG = {"strong": ("age",)}


@pytest.mark.parametrize(
    ("ours", "theirs", "changes", "outcome", "reason", "figure", "limit"),
    [
        (0.9, 1, {}, "passed", OF_CHAMPION.format(0.1), 0.1, 0.5),
        (1, 1, {}, "passed", "it gains nothing", 0, 0.5),
        (1, 0.5, {}, "passed", "it gains nothing", -1, 0.5),
        (0.5, 1, {}, "passed", OF_CHAMPION.format(0.5), 0.5, 0.5),
        (0.45, 1, {}, "not enough rows", OF_CHAMPION.format(0.55), 0.55, 0.5),
        (0.7, 1, LEAK, "not enough rows", OF_CHAMPION.format(0.3) + ALONE.format(0.76), 0.3, 0.5),
        (0.7, 1, {"leaks": {"age": 0.75}}, "passed", OF_CHAMPION.format(0.3), 0.3, 0.5),  # as much as the champion
        (0.7, 1, LEAK | STRONG, "passed", OF_CHAMPION.format(0.3), 0.3, 0.5),
        (0.85, 1, LEAK, "passed", OF_CHAMPION.format(0.15), 0.15, 0.5),
        (0.04, 1, {}, "refused", OF_GUESS.format(0.99) + ASKED, 0.99, 0.985),
        (0.04, 0.06, {}, "refused", OF_GUESS.format(0.99) + ASKED, 0.99, 0.985),
        (0.04, 0.05, {}, "passed", OF_CHAMPION.format(0.2), 0.2, 0.5),  # the champion knew as much
        (0.06, 0.1, {}, "passed", OF_CHAMPION.format(0.4), 0.4, 0.5),
        (0.04, None, {}, "refused", OF_GUESS.format(0.99) + ASKED, 0.99, 0.985),
        (0.04, None, STRONG, "passed", OF_GUESS.format(0.99), 0.99, 0.985),
        (1, None, LEAK, "passed", OF_GUESS.format(0.75), 0.75, 0.985),
        (1, None, MOST, "passed", OF_GUESS.format(0.75), 0.75, 0.985),
        (1, None, MORE, "not enough rows", OF_GUESS.format(0.75) + ALONE.format(0.81), 0.75, 0.985),
        (0.1, None, {"size": 0.5}, "passed", OF_GUESS.format(0.6), 0.6, 0.985),
        (1, 1, {"size": 0}, "passed", "nothing is left to gain", None, None),
        (1, 0, {}, "passed", "nothing is left to gain", None, None),
    ],
)  # fmt: skip
def test_gain(erring, ours, theirs, changes, outcome, reason, figure, limit):
    hint, near = "" if outcome == "passed" else _SAY, None if figure is None else pytest.approx(figure)
    told = {"reason": reason, "hint": hint, "figure": near, "limit": limit}
    require(Believable, (0.985,), erring(ours, theirs, **changes), outcome, **told)


def test_losses_of_classes(evidence, contract):
    """Each version's classes stand in an order of its own; without probabilities the labels have to do."""
    actual, order = np.array(list("abca")), ("b", "a", "c")
    told = np.array([[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0, 0, 1], [0, 0.5, 0.5]])
    right, wrong = Prediction(actual, told), Prediction(np.array(list("abcb")), told[:, [1, 0, 2]])
    one, two, bare = (
        Candidate(name="v", prediction=prediction, scores={})
        for prediction in (right, wrong, Prediction(np.array(list("aaaa"))))
    )
    known, served = contract(classes=("a", "b", "c")), contract(classes=order)
    shown = evidence(
        actual=actual, contract=known, champion_contract=served, challenger=one, champion=two, baseline=bare
    )
    loss = np.mean(-np.log([0.5, 0.5, 1, 1e-15]))
    assert [_plain_loss(shown, each) for each in (one, two, bare)] == [pytest.approx(loss), pytest.approx(loss), 0.5]
    unknown = np.mean(-np.log([0.25, 0.25, 1, 0.5]))
    assert _plain_loss(replace(shown, champion_contract=None), two) == pytest.approx(unknown)
    labels = replace(shown, challenger=Candidate(name="v", prediction=Prediction(actual), scores={}), champion=None)
    assert [_plain_loss(labels, each) for each in (labels.challenger, two, bare)] == [0, 0.25, 0.5]
    assert Believable(0.985, "refuse").judge(labels).outcome == "passed"  # labels alone are never too good
    sure = replace(labels, challenger=replace(one, prediction=Prediction(actual, np.eye(3)[[0, 1, 2, 0]])))
    guess = replace(bare, prediction=Prediction(np.array(list("aaaa")), np.full((4, 3), 1 / 3)))
    assert Believable(0.985, "refuse").judge(replace(sure, baseline=guess)).outcome == "refused"


@pytest.fixture
def sure(evidence: Any, contract: Any) -> Any:
    """Evidence over 400 rows of two classes, whose log odds are told as many times as given."""

    def make(times: float, champion: float | None = None, **changes: Any) -> Evidence:
        random = np.random.default_rng(3)
        odds = random.normal(0, 1.5, 400)
        actual = odds > random.logistic(0, 1, 400)

        def candidate(scale: float) -> Candidate:
            chance = 1 / (1 + np.exp(-scale * odds))
            prediction = Prediction(chance > 0.5, np.column_stack([1 - chance, chance]))
            return Candidate(name="v", prediction=prediction, scores={"accuracy": 0.9})

        known = contract(task="classification", classes=(False, True))
        given = {
            "contract": known, "champion_contract": known, "metric": METRICS["accuracy"], "actual": actual,
            "challenger": candidate(times), "champion": None if champion is None else candidate(champion),
            "baseline": candidate(0.0),
        }  # fmt: skip
        return evidence(**given | changes)

    return make


ONE_CLASS = {"actual": np.arange(400) % 50 == 0}


@pytest.mark.parametrize(
    ("times", "champion", "outcome", "changes"),
    [
        (1, None, "passed", {}), (4, None, "refused", {}), (4, 1, "refused", {}), (4, 4, "passed", {}),
        (0.3, 1, "passed", {}), (2.2, 1, "not enough rows", {}), (2.2, 1.9, "not enough rows", {}),
        (8, 4, "refused", {}), (4, None, "not enough rows", ONE_CLASS),
    ],
)  # fmt: skip
def test_calibration(sure, times, champion, outcome, changes):
    shown = sure(times, champion, **changes)
    slope, low, high = calibration_slope(shown, shown.challenger.prediction, (False, True))
    reason = f"slope {slope:.2f}, {low:.2f} to {high:.2f} (1 is right, below 0.5 is overconfident)"
    if champion:
        before = calibration_slope(shown, shown.champion.prediction, (False, True))[0]
        reason += f"; the champion's is {before:.2f}"
    hint = "Put CalibratedClassifierCV around the estimator, or say with --reason why it may be"
    told = {"reason": reason, "hint": hint * (outcome == "refused"), "figure": slope, "limit": 0.5}
    require(Calibrated, (), shown, outcome, **told)


def test_without_probabilities_nothing_is_calibrated_and_the_stage_says_what_becomes_of_a_doubt(sure):
    labels = replace(sure(4).challenger, prediction=Prediction(sure(4).challenger.prediction.values))
    told = {"reason": "the answers are no probabilities"}
    require(Calibrated, (), replace(sure(4), challenger=labels), "passed", **told)
    for undecided in ("pass", "refuse"):
        found = Gate(GateSettings(undecided=undecided), "classification").decide(sure(2.2, 1))
        assert [one.passed for one in found.verdicts if one.check == "calibration"] == [undecided == "pass"]


@pytest.mark.parametrize(("classes", "units"), [(2, None), (2, 5), (2, 90), (3, None), (3, 40)])
def test_the_slope_and_its_interval_are_the_textbooks(evidence, contract, classes, units):
    random = np.random.default_rng(5)
    known = tuple("abc"[:classes])
    shares = random.dirichlet(np.ones(classes), 200)
    shares[:2] = np.eye(classes)[:2]  # as sure as can be
    actual = np.array([random.choice(known, p=0.5 * row + 0.5 / classes) for row in shares])
    groups = None if units is None else random.permutation(np.arange(200) % units)
    shown = evidence(contract=contract(classes=known), actual=actual, groups=groups)
    told = shares[:, 1:] if classes == 2 else shares
    odds = np.log(np.clip(told, 1e-6, 1 - 1e-6) / np.clip(1 - told, 1e-6, 1 - 1e-6)).ravel()
    hits = (actual[:, None] == np.array(known[1:] if classes == 2 else known)).ravel()
    fitted = LogisticRegression(C=np.inf, tol=1e-12, max_iter=1000).fit(odds[:, None], hits)
    slope = fitted.coef_[0, 0]
    chance = fitted.predict_proba(odds[:, None])[:, 1]
    terms = np.column_stack([np.ones_like(odds), odds])
    bread = np.linalg.inv(terms.T @ (terms * (chance * (1 - chance))[:, None]))
    of = np.repeat(np.arange(200) if groups is None else groups, told.shape[1])
    scores = np.array([(terms * (hits - chance)[:, None])[of == unit].sum(axis=0) for unit in np.unique(of)])
    reach = t.ppf(0.95, max(4, len(scores) - 2)) * np.sqrt((bread @ scores.T @ scores @ bread)[1, 1])
    found = calibration_slope(shown, Prediction(actual, shares), known)
    near = 0.002 if units == 5 else 1e-5  # Student's point is to a thousandth there
    assert found[0] == pytest.approx(slope, rel=1e-4)
    assert (found[0] - found[1], found[2] - found[0]) == (
        pytest.approx(reach, rel=near),
        pytest.approx(reach, rel=near),
    )


@pytest.mark.parametrize("sign", [-1, 1])
def test_a_slope_that_no_row_contradicts_has_an_end(evidence, contract, sign):
    odds = np.linspace(-2, 2, 40)
    chance = 1 / (1 + np.exp(-odds))
    shown = evidence(contract=contract(classes=(False, True)), actual=sign * odds > 0)
    found = calibration_slope(shown, Prediction(odds > 0, np.column_stack([1 - chance, chance])), (False, True))
    assert (found[0], found[1] <= found[0] <= found[2]) == (pytest.approx(20 * sign), True)


FAR = "rows half a range beyond the data's get answers up to {:.2g} target widths beyond the target's"


@pytest.mark.parametrize(
    ("reach", "before", "passed", "limit"),
    [(9, None, True, 10), (10, None, True, 10), (11, None, False, 10), (11, 6, True, 12), (13, 6, False, 12),
     (12, np.inf, False, 10), (np.inf, None, False, 10)],
)  # fmt: skip
def test_extrapolation(evidence, reach, before, passed, limit):
    found = StaysInReach().judge(evidence(reach=reach, champion_reach=before))
    assert (found.hint == "", "--reason" in found.hint) == (passed, not passed)
    told = {"reason": FAR.format(reach), "hint": found.hint, "figure": reach, "limit": limit}
    assert found == Verdict(check="extrapolation", passed=passed, **told)
    assert StaysInReach().judge(evidence()).reason == "classes have no range"


@pytest.mark.parametrize("error", [0.1, 0.6])
def test_a_person_may_say_why_and_answers_for_nothing_else(evidence, error):
    shown = evidence(error=error, reach=50.0, leaks={"age": 1.0})
    explained = replace(shown, explanation="measured by another device")
    before, after = (
        {one.check: one for one in Gate(GateSettings(undecided="refuse"), "regression").decide(each).verdicts}
        for each in (shown, explained)
    )
    for check in ("gain", "extrapolation"):
        said = f"{before[check].reason}. Explained: measured by another device"
        assert not before[check].passed
        assert after.pop(check) == replace(before.pop(check), passed=True, undecided=False, reason=said, hint="")
    assert (before, next(check for check, one in after.items() if not one.passed)) == (after, "leak")
