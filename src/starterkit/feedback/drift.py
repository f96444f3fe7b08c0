"""How far a window's values have moved from the training reference, and how sure that is. From counts alone.

Significance and size are two questions: a small window is never sure, and a large one is sure of what does not matter.
A column has drifted when both say so. See docs/decisions/0031-monitoring.md.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from starterkit.feedback.reference import ColumnReference

Counts = NDArray[np.int64]

ERROR_RATE = 0.005
"""The chance that a window without drift is called drifted, over all of its columns."""
SMALLEST = 0.1
"""A smaller distance matters to nobody: a tenth of a standard deviation, or of the Jensen-Shannon distance's range."""
LEAST_ROWS = 30
"""Of fewer rows nothing is said."""
_BINS = 10
_EXPECTED = 5.0


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One column of a window beside the reference.

    `distance` is Wasserstein's in the reference's standard deviations for numbers, Jensen and Shannon's for categories;
    `chance` that of so large a difference where nothing moved, corrected for all columns. `psi` is less its own noise,
    `noise`. `missing` and `missing_before` are shares.
    """

    column: str
    rows: int
    measure: str
    test: str
    distance: float
    chance: float
    psi: float
    noise: float
    missing: float
    missing_before: float
    drifted: bool

    @property
    def is_enough(self) -> bool:
        return self.rows >= LEAST_ROWS


def drift_of(references: Sequence[ColumnReference], counts: Sequence[Counts], missing: Sequence[int]) -> list[Drift]:
    """Every column beside its reference; chances are Holm's, over all of them.

    Of each column come the window's rows by its bins or categories, and how many rows have no value.

    Notes
    -----
    Source: Holm, "A simple sequentially rejective multiple test procedure", Scandinavian J. of Statistics 6 (1979).
    """
    alone = [_chance(one, found) for one, found in zip(references, counts, strict=True)]
    lacking = [
        homogeneity(np.array([one.missing, one.rows]), np.array([gone, found.sum()]))
        for one, found, gone in zip(references, counts, missing, strict=True)
    ]
    corrected = holm([*alone, *lacking])
    made = []
    for place, (one, found, gone) in enumerate(zip(references, counts, missing, strict=True)):
        rows = int(found.sum())
        before, now = one.missing / max(1, one.rows + one.missing), gone / max(1, rows + gone)
        far = distance(one, found)
        index, noise = population_stability(one, found)
        moved = rows >= LEAST_ROWS and corrected[place] < ERROR_RATE and far >= SMALLEST
        gaps = corrected[len(alone) + place] < ERROR_RATE and abs(now - before) >= SMALLEST
        made.append(
            Drift(
                column=one.name,
                rows=rows,
                measure="Jensen-Shannon" if one.categories else "Wasserstein",
                test="chi-squared" if one.categories else "Kolmogorov-Smirnov",
                distance=far,
                chance=min(corrected[place], corrected[len(alone) + place]),
                psi=index - noise,
                noise=noise,
                missing=now,
                missing_before=before,
                drifted=bool(moved or gaps),
            )
        )
    return made


def _chance(reference: ColumnReference, found: Counts) -> float:
    known = np.array(reference.counts)
    return homogeneity(known, found) if reference.categories else kolmogorov(known, found)


def distance(reference: ColumnReference, found: Counts) -> float:
    known = np.array(reference.counts)
    if not (known.sum() and found.sum()):
        return 0.0
    return jensen_shannon(known, found) if reference.categories else wasserstein(reference, found)


def kolmogorov(known: Counts, found: Counts) -> float:
    """The chance of so large a gap between two samples' shares below a value, over the bins' ends; too large, if wrong.

    Notes
    -----
    Source: Smirnov, "Table for estimating the goodness of fit", Annals of Mathematical Statistics 19 (1948).
    """
    from scipy.special import kolmogorov as survival

    m, n = int(known.sum()), int(found.sum())
    if not (m and n):
        return 1.0
    gap = np.abs(np.cumsum(known) / m - np.cumsum(found) / n).max()
    return float(survival(gap * np.sqrt(m * n / (m + n))))


def homogeneity(known: Counts, found: Counts) -> float:
    """The chance of so different shares, by Pearson's chi-squared; cells too rare for it count as one."""
    from scipy.special import chdtrc

    m, n = int(known.sum()), int(found.sum())
    both = known + found
    if not (m and n):
        return 1.0
    rare = both * min(m, n) / (m + n) < _EXPECTED
    cells = np.array([np.append(side[~rare], side[rare].sum()) for side in (known, found)])
    cells = cells[:, cells.sum(axis=0) > 0]
    if cells.shape[1] < 2:
        return 1.0
    expected = np.outer((m, n), cells.sum(axis=0) / (m + n))
    return float(chdtrc(cells.shape[1] - 1, ((cells - expected) ** 2 / expected).sum()))


def wasserstein(reference: ColumnReference, found: Counts) -> float:
    """The area between the two shares below a value, in standard deviations. What is beyond the last ends is at them.

    Notes
    -----
    Source: Vallender, "Calculation of the Wasserstein distance between probability distributions on the line" (1974).
    """
    known, edges = np.array(reference.counts), np.array(reference.edges)
    gaps = np.abs(np.cumsum(known) / known.sum() - np.cumsum(found) / found.sum())[:-1]
    if len(edges) < 2 or not reference.deviation:  # one value, or two, and no width to measure by
        return float(gaps.max(initial=0.0))
    return float((np.diff(edges) * (gaps[1:] + gaps[:-1]) / 2).sum() / reference.deviation)


def jensen_shannon(known: Counts, found: Counts) -> float:
    """The distance of two distributions over the same categories, from 0 to 1.

    Notes
    -----
    Source: Lin, "Divergence measures based on the Shannon entropy", IEEE Transactions on Information Theory 37 (1991).
    """
    from scipy.special import rel_entr

    p, q = known / known.sum(), found / found.sum()
    middle = (p + q) / 2
    bits = (rel_entr(p, middle) + rel_entr(q, middle)).sum() / np.log(2)
    return float(np.sqrt(max(0.0, bits / 2)))


def population_stability(reference: ColumnReference, found: Counts) -> tuple[float, float]:
    """The index over ten bins or the categories, and what two samples of one distribution have on average.

    That is (bins - 1)(1/m + 1/n): a fixed limit of 0.1 or 0.2 calls small windows drifted that are not.

    Notes
    -----
    Source: Yurdakul, "Statistical properties of population stability index", Western Michigan University (2018).
    """
    known = np.array(reference.counts)
    if not reference.categories and len(known) > _BINS:
        starts = np.unique(np.searchsorted(np.cumsum(known), np.arange(_BINS) * known.sum() / _BINS, side="right"))
        known, found = np.add.reduceat(known, starts), np.add.reduceat(found, starts)
    used = (known > 0) | (found > 0)
    known, found = known[used], found[used]
    m, n = int(known.sum()), int(found.sum())
    if not (m and n):
        return 0.0, 0.0
    p, q = (known + 0.5) / (m + 0.5 * len(known)), (found + 0.5) / (n + 0.5 * len(found))
    return float(((q - p) * np.log(q / p)).sum()), (len(known) - 1) * (1 / m + 1 / n)


def holm(chances: Sequence[float]) -> list[float]:
    """Each chance, corrected for all of them."""
    order = np.argsort(chances, kind="stable")
    stepped = np.array(chances)[order] * np.arange(len(chances), 0, -1)
    corrected = np.empty(len(chances))
    corrected[order] = np.minimum(1, np.maximum.accumulate(stepped))
    return corrected.tolist()
