"""The rule of non-regression, for the whole holdout and for each slice, and how sure a difference is.

See docs/decisions/0012-statistics.md.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starterkit.contract import LEAST_PEOPLE, Prediction, Scalar
from starterkit.metrics import Metric, WeightedFigure, is_broken
from starterkit.verdict import Candidate, Comparison, Evidence, Outcome, has_contrast

# --- How sure a difference between two versions is, when both answered the same rows.

_CELLS = 2_000_000
"""Weights held at once: 16 MB, however many rows there are."""
_SEED = 7919
_LEAST_DEFINED = 0.99


@dataclass(frozen=True)
class Shortfall:
    """Between which bounds one version is worse than another, in the metric's own unit; negative where it is better.

    `units` counts what is independent: rows, or groups. The bounds are NaN for fewer than five of them, and where too
    many resamples have no figure, such as those that lack a class.
    """

    low: float
    high: float
    units: int


def paired_shortfall(
    metric: Metric, challenger: WeightedFigure, champion: WeightedFigure, groups: NDArray[np.integer], error_rate: float
) -> Shortfall:
    """The shortfall of the challenger over n rows, with an interval by the bootstrap's standard error.

    Each resample draws rows with replacement, the same for both, so that what is hard for both cancels out. Rows of
    one group are drawn together, for they are not independent. The ends are Student's for so many units: they hold for
    fifteen rows, and for a thousandth of an error rate, where no two thousand resamples have a quantile. The same rows
    give the same interval, always.

    Parameters
    ----------
    groups
        For each of n rows the number of its group, from 0. Where rows are independent, each has its own.
    error_rate
        The chance of each bound to be on the wrong side: 0.05 gives the two bounds of a 90% interval.

    Notes
    -----
    Source: Efron and Tibshirani, "An Introduction to the Bootstrap" (1993), chapters 6 and 12.
    """
    sign, units = -1 if metric.greater_is_better else 1, _count(groups)
    drawn = [
        sign * (challenger(weights) - champion(weights))
        for weights in _resamples(groups, metric.resamples(len(groups)))
    ]
    differences = np.concatenate(drawn)
    defined = differences[np.isfinite(differences)]
    if units < LEAST_PEOPLE or len(defined) < _LEAST_DEFINED * len(differences):
        return Shortfall(float("nan"), float("nan"), units)
    once = np.ones((1, len(groups)))
    found = float(sign * (challenger(once) - champion(once))[0])
    reach = student(error_rate, units - 1) * float(defined.std()) * np.sqrt(units / (units - 1))
    return Shortfall(found - reach, found + reach, units)


def student(error_rate: float, freedom: int) -> float:
    """The point that Student's t with so many degrees of freedom, four or more, exceeds with this chance.

    Notes
    -----
    Source: Abramowitz and Stegun, "Handbook of Mathematical Functions" (1964), 26.7.5: to 1% at four degrees and a
    chance of a thousandth, and closer everywhere else.
    """
    z = NormalDist().inv_cdf(1 - error_rate)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / freedom**power for power, term in enumerate(terms, 1))


def _resamples(groups: NDArray[np.integer], resamples: int) -> Iterator[NDArray[np.float64]]:
    """Weights for some of the resamples at a time, b × n."""
    random, units = np.random.default_rng(_SEED), _count(groups)
    at_once = max(1, _CELLS // len(groups))
    for begin in range(0, resamples, at_once):
        count = min(at_once, resamples - begin)
        draws = random.integers(0, units, (count, units)) + units * np.arange(count)[:, None]
        times = np.bincount(draws.ravel(), minlength=count * units).reshape(count, units)
        yield times[:, groups].astype(np.float64)


def _count(groups: NDArray[np.integer]) -> int:
    return int(groups.max()) + 1


# --- The rule of non-regression, for the whole holdout and for each slice of it. See docs/decisions/0012-statistics.md.
#
# A version passes when, on the same rows, the interval of its shortfall stays within the margin, and there are enough
# rows to believe that. It is worse when the interval is all beyond the margin, however few the rows, for the interval
# knows how few they are. Anything else is "not enough rows".

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
        Below so many independent rows, or groups, no version is called not worse.
    error_rate
        The chance that a version just outside of the margin passes, and that one as good is called worse.
    """

    tolerance: float
    min_rows: int
    error_rate: float = 0.05


def compare_with_champion(evidence: Evidence, rule: Rule, rows: NDArray[np.bool_] | None = None) -> Comparison:
    """Challenger against champion over the holdout, or over some of its rows (n booleans)."""
    assert evidence.champion is not None
    assert evidence.champion_contract is not None
    return compare_with(evidence, evidence.champion, evidence.champion_contract.classes, rule, rows)


def compare_with(
    evidence: Evidence, other: Candidate, classes: Sequence[Scalar], rule: Rule, rows: NDArray[np.bool_] | None = None
) -> Comparison:
    """Challenger against any other that answered the same rows; `classes` are those of the other's probabilities."""
    chosen = np.ones(len(evidence.actual), bool) if rows is None else rows
    actual, metric = evidence.actual[chosen], evidence.metric
    answers, served = (one.prediction.of_rows(chosen) for one in (evidence.challenger, other))
    ours = metric.weighted(actual, answers, evidence.contract.classes)
    theirs = metric.weighted(actual, served, classes)
    once = np.ones((1, len(actual)))
    figure, serving = float(ours(once)[0]), float(theirs(once)[0])
    margin = rule.tolerance * metric.loss(serving)
    groups = groups_of(evidence, chosen)
    found = paired_shortfall(metric, ours, theirs, groups, rule.error_rate)
    differing = len(np.unique(groups[_differ(metric, actual, answers, served)]))
    broken, same = is_broken(answers), _same(metric, answers, served)
    told = rows is not None or has_contrast(bool(evidence.contract.classes), evidence.actual)
    enough = told and found.units >= rule.min_rows and differing >= LEAST_DIFFERING
    by_chance = 0.5**differing  # that as few rows all speak for the same one of two that are alike
    surely = told and by_chance <= rule.error_rate and found.low > margin
    outcome: Outcome = "not enough rows"
    if not broken and (same or (enough and found.high <= margin)):
        outcome = "not worse"
    elif broken or (np.isfinite(serving) and not np.isfinite(figure)) or surely:
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

    An interval shrinks with the root of the number of rows, until it is within the margin or all beyond it.
    """
    room = abs(margin - shortfall)
    if not (room > 0 and np.isfinite(half_width)):
        return 0
    exact = units * (half_width / room) ** 2
    digits = 10 ** max(0, len(str(int(exact))) - 2)
    return max(least, int(np.ceil(exact / digits)) * digits)


def groups_of(evidence: Evidence, chosen: NDArray[np.bool_] | slice = slice(None)) -> NDArray[np.integer]:
    """For each row, or each chosen one, the number of what is independent: its group, or itself."""
    if evidence.groups is None:
        return np.arange(len(evidence.actual[chosen]))
    return np.unique(evidence.groups[chosen], return_inverse=True)[1]


def _differ(metric: Metric, actual: NDArray[Any], one: Prediction, other: Prediction) -> NDArray[np.bool_]:
    """Which of n rows speak for one of the two. For the accuracy they do where one alone is right."""
    if metric.name == "accuracy":
        return (one.values == actual) != (other.values == actual)
    if not metric.probabilities or one.probabilities is None or other.probabilities is None:
        return one.values != other.values
    return (one.probabilities != other.probabilities).any(axis=1)


def _same(metric: Metric, one: Prediction, other: Prediction) -> bool:
    pairs: list[tuple[Any, Any]] = [(one.values, other.values)]
    if metric.probabilities:  # others look at labels alone
        pairs.append((one.probabilities, other.probabilities))
    return all(np.array_equal(mine, yours) for mine, yours in pairs if mine is not None)


# --- How sure a classifier is, beside how sure it may be.


def calibration_slope(
    evidence: Evidence, prediction: Prediction, classes: tuple[Scalar, ...]
) -> tuple[float, float, float]:
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
    error = float(np.sqrt(max(0.0, (bread @ (scores.T @ scores) @ bread)[1, 1])))  # rounding
    reach = student(0.05, max(4, count - 2)) * error
    return float(found[1]), float(found[1]) - reach, float(found[1]) + reach
