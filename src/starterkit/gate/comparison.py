"""The rule of non-regression, for the whole holdout and for each slice of it. See docs/decisions/0012-statistics.md.

A version passes when, on the same rows, the interval of its shortfall stays within the margin. It is worse when the
interval goes beyond the margin and is all above zero. Anything else, or too few rows, is "not enough rows".
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from starterkit.contract import Prediction, Scalar
from starterkit.gate.bootstrap import paired_shortfall
from starterkit.metrics import Metric, weighted_figure
from starterkit.verdict import Candidate, Evidence

Outcome = Literal["not worse", "worse", "not enough rows"]

LEAST_DIFFERING = 10
"""With fewer rows, or groups, that speak for one of the two, too many resamples lack them all."""


@dataclass(frozen=True)
class Rule:
    """What counts as not worse.

    Attributes
    ----------
    tolerance
        The margin, as a share of the champion's loss: 0.02 is two percent.
    min_rows
        Below so many independent rows, or groups, nothing is concluded.
    error_rate
        The chance that a version just outside of the margin passes, and that one as good is called worse.
    """

    tolerance: float
    min_rows: int
    error_rate: float = 0.05


@dataclass(frozen=True)
class Comparison:
    """What came of it.

    Attributes
    ----------
    figure, serving
        The metric of the challenger and of the champion.
    margin
        How much worse is tolerated, in the metric's own unit.
    low, high
        The interval of the shortfall.
    same
        Both gave the very same answers.
    units, differing, needed
        How many independent rows, or groups, there are, in how many of them the two differ, and about how many rows
        would tell; 0 where none would.
    """

    outcome: Outcome
    figure: float
    serving: float
    margin: float
    low: float
    high: float
    same: bool
    units: int
    differing: int
    needed: int


def compare_with_champion(evidence: Evidence, rule: Rule, rows: NDArray[np.bool_] | None = None) -> Comparison:
    """Challenger against champion over the holdout, or over some of its rows (n booleans)."""
    assert evidence.champion is not None
    assert evidence.champion_contract is not None
    return compare_with(evidence, evidence.champion, evidence.champion_contract.classes, rule, rows)


def compare_with(
    evidence: Evidence,
    other: Candidate,
    classes: Sequence[Scalar],
    rule: Rule,
    rows: NDArray[np.bool_] | None = None,
) -> Comparison:
    """Challenger against any other that answered the same rows; `classes` are those of the other's probabilities."""
    chosen = np.ones(len(evidence.actual), bool) if rows is None else rows
    actual, metric = evidence.actual[chosen], evidence.metric
    answers, served = _rows_of(evidence.challenger.prediction, chosen), _rows_of(other.prediction, chosen)
    ours = weighted_figure(metric.name, actual, answers, evidence.contract.classes)
    theirs = weighted_figure(metric.name, actual, served, classes)
    once = np.ones((1, len(actual)))
    figure, serving = float(ours(once)[0]), float(theirs(once)[0])
    margin = rule.tolerance * metric.loss(serving)
    groups = _groups(evidence, chosen)
    found = paired_shortfall(metric, ours, theirs, groups, rule.error_rate)
    differing = len(np.unique(groups[_differ(metric, actual, answers, served)]))
    broken, same = _is_broken(answers), _same(metric, answers, served)
    enough = found.units >= rule.min_rows and differing >= LEAST_DIFFERING
    outcome: Outcome = "not enough rows"
    if not broken and (same or (enough and found.high <= margin)):
        outcome = "not worse"
    elif broken or (np.isfinite(serving) and not np.isfinite(figure)) or (enough and found.low > 0):
        outcome = "worse"
    return Comparison(
        outcome=outcome,
        figure=figure,
        serving=serving,
        margin=margin,
        same=same,
        low=found.low,
        high=found.high,
        units=found.units,
        differing=differing,
        needed=_needed(
            found.units, (found.high - found.low) / 2, metric.shortfall(figure, serving), margin, rule.min_rows
        ),
    )


def _needed(units: int, half_width: float, shortfall: float, margin: float, least: int) -> int:
    """About how many rows would tell, if the shortfall stays as it is; 0 where no number can be said.

    An interval shrinks with the root of the number of rows, until it is within the margin or all above zero.
    """
    room = max(margin - shortfall, shortfall)
    if not (room > 0 and np.isfinite(half_width)):
        return 0
    exact = units * (half_width / room) ** 2
    digits = 10 ** max(0, len(str(int(exact))) - 2)
    return max(least, int(np.ceil(exact / digits)) * digits)


def _groups(evidence: Evidence, chosen: NDArray[np.bool_]) -> NDArray[np.integer]:
    if evidence.groups is None:
        return np.arange(int(chosen.sum()))
    return np.unique(evidence.groups[chosen], return_inverse=True)[1]


def _rows_of(prediction: Prediction, rows: NDArray[np.bool_]) -> Prediction:
    probabilities = prediction.probabilities
    return Prediction(prediction.values[rows], None if probabilities is None else probabilities[rows])


def _differ(metric: Metric, actual: NDArray[Any], one: Prediction, other: Prediction) -> NDArray[np.bool_]:
    """Which of n rows speak for one of the two. For the accuracy they do where one alone is right."""
    if metric.name == "accuracy":
        return (one.values == actual) != (other.values == actual)
    if one.probabilities is None or other.probabilities is None:
        return one.values != other.values
    return (one.probabilities != other.probabilities).any(axis=1)


def _is_broken(prediction: Prediction) -> bool:
    """An answer is no number."""
    numbers = prediction.values if prediction.probabilities is None else prediction.probabilities
    return bool(np.isnan(numbers).any())


def _same(metric: Metric, one: Prediction, other: Prediction) -> bool:
    pairs: list[tuple[Any, Any]] = [(one.values, other.values)]
    if metric.name != "accuracy":  # which looks at labels alone
        pairs.append((one.probabilities, other.probabilities))
    return all(np.array_equal(mine, yours) for mine, yours in pairs if mine is not None)
