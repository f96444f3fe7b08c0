"""`Compared`: what a challenger in the shadow said, beside what was answered, and what turned out to be true."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select

from starterkit.feedback.blocks import ERASED
from starterkit.feedback.observation import Window
from starterkit.feedback.predictions import PredictionLog
from starterkit.feedback.tables import first_id, labels, predictions, shadows

_MOST_REQUESTS = 100_000


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two versions over the rows that both have scored.

    `agreement` is the share of rows with the same answer, `difference` the mean distance of numbers. `errors` are the
    share of wrong classes, or the root of the mean squared error, over labelled rows: of the champion, and of the
    shadow. Latencies are seconds at 95%: the champion's with reading the request, the shadow's of the model alone.
    """

    champion: str
    shadow: str
    requests: int
    rows: int
    agreement: float
    difference: float | None
    labelled: int
    errors: tuple[float, float] | None
    latency: tuple[float, float]


def compare_shadow(log: PredictionLog, window: Window) -> list[Compared]:
    """Each pair of versions in a window, over its newest 100,000 requests.

    Raises
    ------
    LogUnavailable
    """
    low, high = (first_id(one) for one in window.micros)
    both = select(
        predictions.c.id,
        predictions.c.schema.label("champion"),
        predictions.c.block,
        predictions.c.latency.label("waited"),
        shadows.c.schema.label("shadow"),
        shadows.c.answers,
        shadows.c.latency,
    ).join(shadows, shadows.c.id == predictions.c.id)
    both = both.where(predictions.c.id >= low, predictions.c.id < high)
    told = select(labels.c.id, labels.c.row, labels.c.value).order_by(labels.c.number)
    told = told.where(labels.c.id >= low, labels.c.id < high)
    with log.connection() as connection:
        found = connection.execute(both.order_by(predictions.c.id.desc()).limit(_MOST_REQUESTS)).all()
        known = {(one.id, one.row): one.value for one in connection.execute(told)}
        pairs = sorted({(one.champion, one.shadow) for one in found})
        schemas = {number: log.schema_of(connection, number) for pair in pairs for number in pair}
    return [
        _compared(schemas[first], schemas[second], [one for one in found if (one.champion, one.shadow) == pair], known)
        for pair in pairs
        for first, second in [pair]
    ]


def _compared(champion: Any, shadow: Any, found: list[Any], known: dict[tuple[bytes, int], float]) -> Compared:
    place = len(champion.inputs)
    said = np.concatenate([np.frombuffer(one.block).reshape(-1, champion.width)[:, place] for one in found])
    heard = np.concatenate([np.frombuffer(one.answers).reshape(-1, shadow.width - place)[:, 0] for one in found])
    truth = np.array([*_labels(champion, found, known)])
    if champion.labels and champion.labels != shadow.labels:  # codes count the version's own classes
        codes = np.array([champion.labels.get(name, np.nan) for name in shadow.labels])
        heard = codes[heard.astype(int)]
    kept = said != ERASED
    said, heard, truth = said[kept], heard[kept], truth[kept]
    has_label = ~np.isnan(truth)
    is_class = bool(champion.classes)
    errors = None
    if has_label.any():
        pair = (said[has_label], heard[has_label])
        errors = (_error(pair[0], truth[has_label], is_class), _error(pair[1], truth[has_label], is_class))
    return Compared(
        champion=champion.version,
        shadow=shadow.version,
        requests=len(found),
        rows=len(said),
        agreement=float(np.mean(said == heard)) if len(said) else 0.0,
        difference=None if is_class or not len(said) else float(np.mean(np.abs(said - heard))),
        labelled=int(has_label.sum()),
        errors=errors,
        latency=(_p95([one.waited for one in found]), _p95([one.latency for one in found])),
    )


def _labels(champion: Any, found: list[Any], known: dict[tuple[bytes, int], float]) -> Iterator[float]:
    for one in found:
        for row in range(len(one.block) // (8 * champion.width)):
            yield known.get((one.id, row), np.nan)


def _error(answers: NDArray[np.float64], truth: NDArray[np.float64], is_class: bool) -> float:
    return float(np.mean(answers != truth)) if is_class else float(np.sqrt(np.mean((answers - truth) ** 2)))


def _p95(micros: list[int]) -> float:
    return float(np.quantile(micros, 0.95)) / 1e6
