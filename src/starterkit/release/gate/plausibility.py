"""Checks on figures that are too good, or odd: a person may say why they are true."""

import numpy as np

from starterkit.contract import Prediction, Scalar
from starterkit.release.gate.comparison import groups_of, student
from starterkit.release.gate.quality import Undecided
from starterkit.verdict import Candidate, Check, Evidence, Verdict, has_contrast


class Believable(Check):
    """The version as a whole is not better than knowledge gets: what is may know the target.

    It is refused where it removes nearly all of the naive guess's loss and its champion does not, and undecided where
    it removes more than half of its champion's, or where one feature says more by itself than that champion does. A
    first version is undecided where one feature by itself says nearly all.

    Parameters
    ----------
    limit
        The largest share of the naive guess's loss that it may remove.
    undecided
        What becomes of a version whose gain nobody explains.
    """

    name = "gain"
    _most_gained = 0.5
    _gained_by_one = 0.2
    _most_by_one = 0.8

    def __init__(self, limit: float, undecided: Undecided) -> None:
        self._limit = limit
        self._undecided = undecided

    def judge(self, evidence: Evidence) -> Verdict:
        naive, ours = (_plain_loss(evidence, one) for one in (evidence.baseline, evidence.challenger))
        theirs = _plain_loss(evidence, evidence.champion) if evidence.champion else naive
        if not (naive > 0 and theirs > 0):
            return Verdict(check=self.name, passed=True, reason="nothing is left to gain")
        share, served = 1 - ours / naive, 1 - theirs / naive
        reason = f"it removes {share:.1%} of the naive guess's loss"
        whole = evidence.challenger.prediction.probabilities is not None or not evidence.contract.classes
        if whole and share > self._limit >= served and not evidence.strong:
            reason += ". Which column is recorded after the target, or made of it?"
            return Verdict(check=self.name, passed=False, reason=reason, hint=_SAY, figure=share, limit=self._limit)
        alone = {name: one for name, one in evidence.leaks.items() if name not in evidence.strong}
        best = max(alone, key=lambda name: alone[name], default="")
        figure, most, by_one = share, self._limit, bool(best) and alone[best] > self._most_by_one
        if evidence.champion is not None:
            figure, most = 1 - ours / theirs, self._most_gained
            reason = f"it removes {figure:.0%} of the champion's loss" if figure > 0 else "it gains nothing"
            by_one = bool(best) and alone[best] > served and figure > self._gained_by_one
        if by_one:
            reason += f", '{best}' alone {alone[best]:.0%} of the naive guess's"
        unsure = by_one or (evidence.champion is not None and figure > most)
        return Verdict(
            check=self.name,
            passed=not unsure or self._undecided == "pass",
            reason=reason,
            hint=_SAY if unsure else "",
            figure=figure,
            limit=most,
            undecided=unsure,
        )


_SAY = "Look for a leak; if there is none, say with --reason why it is true, or Problem(strong=…)"


def _plain_loss(evidence: Evidence, candidate: Candidate) -> float:
    """The mean squared error, the log loss, or the share of wrong labels, as the leaks are counted."""
    prediction, actual = candidate.prediction, evidence.actual
    if not evidence.contract.classes:
        return float(np.mean((prediction.values.astype(np.float64) - actual) ** 2))
    if evidence.challenger.prediction.probabilities is None or prediction.probabilities is None:
        return float(np.mean(prediction.values != actual))
    known = evidence.contract.classes if candidate is not evidence.champion else _classes_of_champion(evidence)
    own = np.zeros(len(actual))
    for place, label in enumerate(known):
        own[actual == label] = prediction.probabilities[actual == label, place]
    return float(np.mean(-np.log(np.clip(own, 1e-15, 1))))


def _classes_of_champion(evidence: Evidence) -> tuple[Scalar, ...]:
    return evidence.champion_contract.classes if evidence.champion_contract else evidence.contract.classes


class Calibrated(Check):
    """A classifier's probabilities are about as sure as they should be, also where the metric looks at labels or order.

    The figure is the slope of the outcome's log odds over the answered ones: 1 is right, and a half is a model that is
    twice as sure as it may be. It is refused where the whole interval says so.

    Parameters
    ----------
    undecided
        What becomes of a version whose interval does not tell.

    Notes
    -----
    Source: Cox, "Two further applications of a model for binary regression", Biometrika 45 (1958); the interval is by
    the sandwich over rows, or groups.
    """

    name = "calibration"
    _least = 0.5
    _as_before = 0.8

    def __init__(self, undecided: Undecided) -> None:
        self._undecided = undecided

    def judge(self, evidence: Evidence) -> Verdict:
        prediction = evidence.challenger.prediction
        if prediction.probabilities is None or not evidence.contract.classes:
            return Verdict(check=self.name, passed=True, reason="the answers are no probabilities")
        slope, low, high = _slope(evidence, prediction, evidence.contract.classes)
        reason = f"slope {slope:.2f}, {low:.2f} to {high:.2f} (1 is right, below {self._least:g} is overconfident)"
        champion = evidence.champion
        if champion is not None and champion.prediction.probabilities is not None:
            before = _slope(evidence, champion.prediction, _classes_of_champion(evidence))[0]
            reason += f"; the champion's is {before:.2f}"
            if slope >= self._as_before * before and before < self._least:
                return Verdict(check=self.name, passed=True, reason=reason, figure=slope, limit=self._least)
        surely = has_contrast(bool(evidence.contract.classes), evidence.actual) and high < self._least
        unsure = not surely and not slope >= self._least
        return Verdict(
            check=self.name,
            passed=not surely and (not unsure or self._undecided == "pass"),
            reason=reason,
            hint="Put CalibratedClassifierCV around the estimator, or say with --reason why it may be" * surely,
            figure=slope,
            limit=self._least,
            undecided=unsure,
        )


def _slope(evidence: Evidence, prediction: Prediction, classes: tuple[Scalar, ...]) -> tuple[float, float, float]:
    """The slope, and the ends of its 90% interval; of more than two classes each against the others, together."""
    assert prediction.probabilities is not None
    places = [1] if len(classes) == 2 else list(range(len(classes)))
    shares = np.clip(prediction.probabilities[:, places].ravel(), 1e-6, 1 - 1e-6)
    odds = np.log(shares / (1 - shares))
    hits = np.column_stack([evidence.actual == classes[place] for place in places]).ravel().astype(np.float64)
    units = np.repeat(groups_of(evidence), len(places))
    terms = np.column_stack([np.ones_like(odds), odds])
    found, bread = np.array([0.0, 1.0]), np.eye(2)
    for _ in range(50):
        expected = 1 / (1 + np.exp(-np.clip(terms @ found, -30, 30)))
        bread = np.linalg.pinv((terms * (expected * (1 - expected) + 1e-9)[:, None]).T @ terms)
        step = bread @ (terms.T @ (hits - expected))
        found = np.clip(found + np.clip(step, -1, 1), -20, 20)
        if np.abs(step).max() < 1e-8:
            break
    count = int(units.max()) + 1
    scores = np.zeros((count, 2))
    np.add.at(scores, units, terms * (hits - expected)[:, None])
    error = float(np.sqrt((bread @ (scores.T @ scores) @ bread)[1, 1]))
    reach = student(0.05, max(4, count - 2)) * error
    return float(found[1]), float(found[1]) - reach, float(found[1]) + reach


class StaysInReach(Check):
    """Rows beyond those of the data get answers that are not far from the target's own."""

    name = "extrapolation"
    _farthest = 10

    def judge(self, evidence: Evidence) -> Verdict:
        reach, before = evidence.reach, evidence.champion_reach
        if reach is None:
            return Verdict(check=self.name, passed=True, reason="classes have no range")
        limit = max(self._farthest, 2 * before if before is not None and np.isfinite(before) else 0)
        reason = f"rows half a range beyond the data's get answers up to {reach:.2g} target widths beyond the target's"
        passed = reach <= limit
        hint = "" if passed else "Give the schema bounds, or another estimator, or say with --reason why it may be"
        return Verdict(check=self.name, passed=passed, reason=reason, hint=hint, figure=reach, limit=limit)


EXPLAINABLE = (Believable.name, Calibrated.name, StaysInReach.name)
"""Checks whose refusal a person may answer."""
