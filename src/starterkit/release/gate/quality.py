"""Checks on how good the answers are, and whether they are too good. A comparison with NaN is never a pass."""

from dataclasses import replace
from typing import Literal

import numpy as np

from starterkit.contract import LEAST_PEOPLE, Scalar
from starterkit.release.gate.comparison import (
    LEAST_DIFFERING,
    Rule,
    calibration_slope,
    compare_with,
    compare_with_champion,
)
from starterkit.verdict import LEAST_OF_A_CLASS, Candidate, Check, Comparison, Evidence, Verdict, has_contrast

Undecided = Literal["pass", "refuse"]
"""What becomes of a version when there are not enough rows to tell."""


class AbsoluteLimit(Check):
    """A metric is within the bounds that the stage's settings give."""

    def __init__(self, metric: str, minimum: float | None = None, maximum: float | None = None) -> None:
        self.name = f"limit {metric}"
        self._metric = metric
        self._minimum = minimum
        self._maximum = maximum

    def judge(self, evidence: Evidence) -> Verdict:
        figure = evidence.challenger.scores[self._metric]
        within = [f"{self._metric} {figure:.4g}"]
        passed, limit = True, None
        for bound, word, holds in (
            (self._minimum, "at least", lambda bound: figure >= bound),
            (self._maximum, "at most", lambda bound: figure <= bound),
        ):
            if bound is not None:
                within.append(f"{word} {bound:g} allowed")
                if passed:
                    passed, limit = holds(bound), bound
        return self.says(passed, ", ".join(within), figure=figure, limit=limit)


class BetterThanBaseline(Check):
    """The model knows more than a guess that does not look at the row, and not by chance.

    The whole interval has to say better, so that no margin counts.
    """

    name = "baseline"

    def __init__(self, rule: Rule, undecided: Undecided) -> None:
        self._rule = replace(rule, tolerance=0)
        self._undecided = undecided

    def judge(self, evidence: Evidence) -> Verdict:
        metric = evidence.metric
        figure, naive = evidence.challenger.scores[metric.name], evidence.baseline.scores[metric.name]
        better = metric.shortfall(figure, naive) < 0
        word = "better than" if better else "not better than"
        reason = f"{metric.name} {figure:.4g} is {word} the naive guess's {naive:.4g}"
        if not better:
            return self.says(False, reason, figure=figure, limit=naive)
        found = compare_with(evidence, evidence.baseline, evidence.contract.classes, self._rule)
        sure = found.outcome == "not worse"
        passed = sure or (found.outcome != "worse" and self._undecided == "pass")
        if not sure:
            reason += (
                f" on {_units(evidence, found)}: {_in_words(found)}"
                f"{_hint(evidence, found, self._rule, passed, 'Hold out more')}"
            )
        return self.says(passed, reason, figure=figure, limit=naive, undecided=found.outcome != "worse" and not sure)


class NotWorseThanChampion(Check):
    """On the same holdout rows the challenger is not worse than what serves now, as far as the rows can tell."""

    name = "champion"

    def __init__(self, rule: Rule, undecided: Undecided) -> None:
        self._rule = rule
        self._undecided = undecided

    def judge(self, evidence: Evidence) -> Verdict:
        fault = evidence.champion_fault
        if fault is not None:
            return self.says(False, fault.what, hint=fault.hint)
        if evidence.champion is None:
            return self.says(True, "no champion yet: this is the first")
        found = compare_with_champion(evidence, self._rule)
        undecided = found.outcome == "not enough rows"
        passed = self._undecided == "pass" if undecided else found.outcome == "not worse"
        against = f"{evidence.metric.name} {found.figure:.4g} against {found.serving:.4g} of {evidence.champion.name}"
        reason = f"{against} on the same {_units(evidence, found)}: {_in_words(found)}"
        if evidence.champion_overlap is not None and evidence.champion_overlap.trained_on:
            reason += f". The champion was trained on {evidence.champion_overlap.trained_on} of them, which flatters it"
        if undecided:
            reason += _hint(evidence, found, self._rule, passed)
        return self.says(
            passed, reason, figure=found.high, limit=found.margin, undecided=undecided, comparisons={"": found}
        )


class NoSliceWorse(Check):
    """In none of the holdout's parts that the problem names is the challenger worse than what serves now.

    The rule is the one for the whole holdout, so that a part that is worse beyond its interval refuses, however few
    its rows. Looking at k parts gives k chances to be wrong, so that each gets one k-th of the error rate
    (Bonferroni): the chance of refusing a version that is as good everywhere stays the same.
    """

    name = "slices"

    def __init__(self, rule: Rule, undecided: Undecided) -> None:
        self._rule = rule
        self._undecided = undecided

    def judge(self, evidence: Evidence) -> Verdict:
        if not evidence.slices:
            return self.says(True, "the problem names no slices")
        if evidence.champion is None:
            return self.says(True, "no champion to compare with")
        rule = replace(self._rule, error_rate=self._rule.error_rate / len(evidence.slices))
        found = {name: compare_with_champion(evidence, rule, rows) for name, rows in evidence.slices.items()}
        worse = {name: one for name, one in found.items() if one.outcome == "worse"}
        unsure = {name: one for name, one in found.items() if one.outcome == "not enough rows"}
        shown = worse or unsure or found
        metric = evidence.metric
        worst = max(shown.values(), key=lambda one: _beyond(one, metric.loss(one.serving)))
        reason = "; ".join(_slice_in_words(evidence, name, one) for name, one in worse.items())
        if not worse:
            reason = f"none of {len(found)} is worse"
            without = [name for name, one in unsure.items() if _has_no_figure(one)]
            few = [_slice_in_words(evidence, name, one) for name, one in unsure.items() if name not in without]
            reason += f"; too few rows to be sure of {'; '.join(few)}" if few else ""
            reason += f"; {_NO_FIGURE}: {', '.join(without)}" if without else ""
        return self.says(
            not worse and (not unsure or self._undecided == "pass"),
            reason,
            figure=worst.high,
            limit=worst.margin,
            undecided=bool(unsure) and not worse,
            comparisons=found,
        )


_NO_FIGURE = "no figure where the target has one class, or one value, only"


def _has_no_figure(found: Comparison) -> bool:
    return not (np.isfinite(found.figure) or np.isfinite(found.serving))


def _beyond(found: Comparison, loss: float) -> float:
    """How far the interval goes, by the champion's loss, of which each margin is the same share."""
    return float(np.nan_to_num(found.high / (loss or 1), nan=-np.inf))


def _slice_in_words(evidence: Evidence, name: str, found: Comparison) -> str:
    if found.units < LEAST_PEOPLE:
        return f"{name} (fewer than {LEAST_PEOPLE})"
    figures = f"{evidence.metric.name} {found.figure:.4g} against {found.serving:.4g}"
    return f"{name} ({_units(evidence, found)}): {figures}, {_in_words(found)}"


def _units(evidence: Evidence, found: Comparison) -> str:
    return f"{found.units:,} {'rows' if evidence.groups is None else 'groups'}"


def _in_words(found: Comparison) -> str:
    """Where the shortfall lies: ``0.67 better to 1.35 worse, at most 1.13 worse allowed``."""
    if found.same:
        return "the same answers"
    if _has_no_figure(found):
        return _NO_FIGURE
    if not found.low <= found.high:
        return "too many resamples have no figure"
    ends = [f"{abs(end):.3g} {'worse' if end > 0 else 'better'}" for end in (found.low, found.high)]
    return f"{ends[0]} to {ends[1]}, at most {found.margin:.3g} worse allowed"


def _hint(
    evidence: Evidence,
    found: Comparison,
    rule: Rule,
    passed: bool,
    hint: str = "Hold out more, or raise gate.tolerance",
) -> str:
    if not has_contrast(bool(evidence.contract.classes), evidence.actual):
        needed = f"at least {LEAST_OF_A_CLASS} of each of two classes are needed"
    elif found.units < rule.min_rows:
        needed = f"at least {rule.min_rows} are needed (gate.min_rows)"
    elif found.differing < LEAST_DIFFERING:
        needed = f"only {found.differing} differ, at least {LEAST_DIFFERING} are needed"
    elif found.needed > found.units:
        needed = f"about {found.needed:,} would tell"
    else:
        needed = "more would tell"
    return f". Not enough rows: {needed}. " + ("Let pass by gate.undecided" if passed else hint)


# --- Checks on figures that are too good, or odd: a person may say why they are true.


class Believable(Check):
    """The version as a whole is not better than knowledge gets: what is may know the target.

    It is refused where it removes more than `limit` of the naive guess's loss and its champion does not, and undecided
    where it removes more than half of its champion's, or where one feature says more by itself than that champion does.
    A first version is undecided where one feature by itself says nearly all.
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
            return self.says(True, "nothing is left to gain")
        share, served = 1 - ours / naive, 1 - theirs / naive
        reason = f"it removes {share:.1%} of the naive guess's loss"
        whole = evidence.challenger.prediction.probabilities is not None or not evidence.contract.classes
        if whole and share > self._limit >= served and not evidence.strong:
            reason += ". Which column is recorded after the target, or made of it?"
            return self.says(False, reason, hint=_SAY, figure=share, limit=self._limit)
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
        return self.says(
            not unsure or self._undecided == "pass",
            reason,
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
            return self.says(True, "the answers are no probabilities")
        slope, low, high = calibration_slope(evidence, prediction, evidence.contract.classes)
        reason = f"slope {slope:.2f}, {low:.2f} to {high:.2f} (1 is right, below {self._least:g} is overconfident)"
        champion = evidence.champion
        if champion is not None and champion.prediction.probabilities is not None:
            before = calibration_slope(evidence, champion.prediction, _classes_of_champion(evidence))[0]
            reason += f"; the champion's is {before:.2f}"
            if slope >= self._as_before * before and before < self._least:
                return self.says(True, reason, figure=slope, limit=self._least)
        surely = has_contrast(bool(evidence.contract.classes), evidence.actual) and high < self._least
        unsure = not surely and not slope >= self._least
        return self.says(
            not surely and (not unsure or self._undecided == "pass"),
            reason,
            hint="Put CalibratedClassifierCV around the estimator, or say with --reason why it may be" * surely,
            figure=slope,
            limit=self._least,
            undecided=unsure,
        )


class StaysInReach(Check):
    """Rows beyond those of the data get answers that are not far from the target's own."""

    name = "extrapolation"
    _farthest = 10

    def judge(self, evidence: Evidence) -> Verdict:
        reach, before = evidence.reach, evidence.champion_reach
        if reach is None:
            return self.says(True, "classes have no range")
        limit = max(self._farthest, 2 * before if before is not None and np.isfinite(before) else 0)
        reason = f"rows half a range beyond the data's get answers up to {reach:.2g} target widths beyond the target's"
        passed = reach <= limit
        hint = "" if passed else "Give the schema bounds, or another estimator, or say with --reason why it may be"
        return self.says(passed, reason, hint=hint, figure=reach, limit=limit)


EXPLAINABLE = (Believable.name, Calibrated.name, StaysInReach.name)
"""Checks whose refusal a person may answer."""
