"""`Compared`: what a challenger in the shadow said, beside what was answered and what turned out to be true."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import and_, func, select

from starterkit.feedback.blocks import ERASED, Schema
from starterkit.feedback.observation import PARTS_OF_TIME, Window
from starterkit.feedback.predictions import PredictionLog
from starterkit.feedback.report import Chart, Tile, amount, histogram, line, parts_of_time, render, share, span_of
from starterkit.feedback.tables import first_id, labels, newest_labels, predictions, shadows

Numbers = NDArray[np.float64]

PAGE_FILE = "shadow.html"
_MOST_REQUESTS = 100_000
_LEAST_LABELLED = 30
"""Of fewer labels nothing is said."""
_BINS = 24


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Two versions over the rows that both have scored.

    `agreement` is the share of rows with the same answer, `difference` the mean distance of numbers. `errors` are the
    share of wrong classes, or the root of the mean squared error, over labelled rows: of the champion, and of the
    shadow. `more` is the 95% interval of how much larger the shadow's is; below zero it is surely better.
    Latencies are milliseconds at 50% and 95%: the champion's with reading the request, the shadow's of the model alone.
    `answers` are counts of both's answers in the same bins, `parts` how far apart they are through the window.
    """

    model: str
    champion: str
    shadow: str
    start: str
    end: str
    is_class: bool
    answered: int
    requests: int
    rows: int
    agreement: float
    difference: float | None
    labelled: int
    errors: tuple[float, float] | None
    more: tuple[float, float] | None
    latency: tuple[tuple[float, float], tuple[float, float]]
    answers: Mapping[str, Any]
    parts: Sequence[float | None]

    @property
    def verdict(self) -> tuple[str, str]:
        """In words what the labels say of the shadow: `good`, `bad` or `unsure`, and a sentence."""
        if not self.labelled:
            return "unsure", "No label has come yet: which is better is not known"
        if self.more is None:
            return "unsure", f"{self.labelled:,} labels are too few to say which is better"
        if self.more[1] < 0:
            return "good", f"Version {self.shadow} errs less than version {self.champion}"
        if self.more[0] > 0:
            return "bad", f"Version {self.shadow} errs more than version {self.champion}"
        return "unsure", f"Over {self.labelled:,} labels neither is surely better"

    @property
    def content(self) -> dict[str, Any]:
        state, words = self.verdict
        return {**asdict(self), "verdict": words, "state": state}


def compare_shadow(log: PredictionLog, window: Window) -> list[Compared]:
    """Each pair of versions in a window, the newest first, over its newest 100,000 requests.

    Raises
    ------
    LogUnavailable
    """
    low, high = (first_id(one) for one in window.micros)
    both = select(
        predictions.c.id,
        predictions.c.time,
        predictions.c.schema.label("champion"),
        predictions.c.block,
        predictions.c.latency.label("waited"),
        shadows.c.schema.label("shadow"),
        shadows.c.answers,
        shadows.c.latency,
    ).join(shadows, shadows.c.id == predictions.c.id)
    within = predictions.c.id >= low, predictions.c.id < high
    counted = select(predictions.c.schema, func.count().label("requests")).where(*within).group_by(predictions.c.schema)
    with log.connection() as connection:
        newest = both.where(*within).order_by(predictions.c.id.desc()).limit(_MOST_REQUESTS)
        found = connection.execute(newest).all()
        known = newest_labels(connection, and_(labels.c.id >= low, labels.c.id < high))
        answered = {one.schema: one.requests for one in connection.execute(counted)}
        pairs = dict.fromkeys((one.champion, one.shadow) for one in found)
        schema = {number: log.schema_of(connection, number) for pair in pairs for number in pair}
    return [
        _compared(
            (schema[first], schema[second]),
            [one for one in found if (one.champion, one.shadow) == (first, second)],
            known,
            window,
            answered[first],
        )
        for first, second in pairs
    ]


def _compared(
    versions: tuple[Schema, Schema],
    found: Sequence[Any],
    known: Mapping[tuple[bytes, int], float],
    window: Window,
    answered: int,
) -> Compared:
    champion, shadow = versions
    place = len(champion.inputs)
    said = np.concatenate([np.frombuffer(one.block).reshape(-1, champion.width)[:, place] for one in found])
    heard = np.concatenate([np.frombuffer(one.answers).reshape(-1, shadow.width - place)[:, 0] for one in found])
    counts = [len(one.block) // (8 * champion.width) for one in found]
    truth = np.array(
        [known.get((one.id, row), np.nan) for one, n in zip(found, counts, strict=True) for row in range(n)]
    )
    times = np.repeat([one.time for one in found], counts)
    if champion.labels and champion.labels != shadow.labels:  # codes count the version's own classes
        codes = np.array([champion.labels.get(name, np.nan) for name in shadow.labels])
        heard = codes[heard.astype(int)]
    kept = said != ERASED
    said, heard, truth, times = said[kept], heard[kept], truth[kept], times[kept]
    is_class, apart = bool(champion.classes), np.abs(said - heard)
    far = (said != heard).astype(np.float64) if is_class else apart
    has_label = ~np.isnan(truth)
    errors = more = None
    if has_label.any():
        before, after = (_losses(one[has_label], truth[has_label], is_class) for one in (said, heard))
        errors = (_error(before, is_class), _error(after, is_class))
        more = _interval(before, after, is_class)
    return Compared(
        model=champion.model,
        champion=champion.version,
        shadow=shadow.version,
        start=window.start.isoformat(timespec="milliseconds"),
        end=window.end.isoformat(timespec="milliseconds"),
        is_class=is_class,
        answered=answered,
        requests=len(found),
        rows=len(said),
        agreement=float(np.mean(said == heard)) if len(said) else 0.0,
        difference=None if is_class or not len(said) else float(np.mean(apart)),
        labelled=int(has_label.sum()),
        errors=errors,
        more=more,
        latency=(_waited([one.waited for one in found]), _waited([one.latency for one in found])),
        answers=_answers(champion, said, heard),
        parts=_parts(times, far, window),
    )


def _losses(answers: Numbers, truth: Numbers, is_class: bool) -> Numbers:
    return (answers != truth).astype(np.float64) if is_class else (answers - truth) ** 2


def _error(losses: Numbers, is_class: bool) -> float:
    return float(np.mean(losses) if is_class else np.sqrt(np.mean(losses)))


def _interval(before: Numbers, after: Numbers, is_class: bool) -> tuple[float, float] | None:
    """How much larger the error becomes: the mean of paired losses, as of a normal one; None over too few rows."""
    if len(before) < _LEAST_LABELLED:
        return None
    pairs, error = after - before, _error(before, is_class)
    middle, width = float(np.mean(pairs)), 1.96 * float(np.std(pairs, ddof=1)) / len(pairs) ** 0.5
    ends = middle - width, middle + width
    low, high = ends if is_class else (max(0.0, error**2 + one) ** 0.5 - error for one in ends)
    return low, high


def _answers(schema: Schema, said: Numbers, heard: Numbers) -> dict[str, Any]:
    """Counts of both's answers: in each class, or between quantiles of them all."""
    if schema.classes:
        codes = list(schema.labels.values()) or [float(one) for one in schema.classes]
        then, now = ([int(np.sum(one == code)) for code in codes] for one in (said, heard))
        return {"categories": [*schema.classes], "edges": [], "then": [*then, 0], "now": [*now, 0]}
    edges = np.unique(np.quantile(np.r_[said, heard], np.linspace(0, 1, _BINS + 1)[1:-1])) if len(said) else np.empty(0)
    then, now = (np.bincount(np.searchsorted(edges, one), minlength=len(edges) + 1).tolist() for one in (said, heard))
    return {"categories": [], "edges": edges.tolist(), "then": then, "now": now}


def _parts(times: NDArray[np.int64], far: Numbers, window: Window) -> list[float | None]:
    """The mean of each of the window's parts."""
    start, end = window.micros
    part = ((times - start) * PARTS_OF_TIME // (end - start)).clip(0, PARTS_OF_TIME - 1)
    return [float(np.mean(far[part == one])) if np.any(part == one) else None for one in range(PARTS_OF_TIME)]


def _waited(micros: list[int]) -> tuple[float, float]:
    half, most = np.quantile(micros, (0.5, 0.95)) / 1e3
    return float(half), float(most)


# --- And shown.


def shadow_page(compared: Compared, promotion: str, removal: str) -> str:
    """The page of one pair, as `report.monitoring_page` makes the window's; with the commands that end the shadow."""
    one, (state, words) = compared, compared.verdict
    content = one.content | {"promotion": promotion, "removal": removal}
    *names, last = parts_of_time(content, PARTS_OF_TIME)
    known = [part for part in one.parts if part is not None]
    form, far = (share, "of rows with another answer") if one.is_class else (amount, "apart on average")
    svg, ends = histogram(one.answers)
    charts = [Chart("Answers", svg, "the shadow's as bars, the champion's as a line", ends)]
    if len(known) > 1:
        titles = [f"{when}: {form(part)}" for when, part in zip(names, one.parts, strict=True)]
        told = f"{form(min(known))} to {form(max(known))} {far}"
        charts.append(Chart("Difference", line(one.parts, titles), told, (names[0], last)))
    return render("shadow.html", content=content, span=span_of(content), words=words, state=state,
                  tiles=list(_tiles(one)), charts=charts)  # fmt: skip


def _tiles(one: Compared) -> Iterator[Tile]:
    seen = one.requests / one.answered if one.answered else None
    yield Tile("scored by both", amount(one.rows), f"rows; {share(seen)} of the champion's requests")
    if one.difference is None:
        yield Tile("the same answer", share(one.agreement), "of the rows")
    else:
        yield Tile("apart", amount(one.difference), "on average")
    if one.errors:
        name = "wrong" if one.is_class else "error (rms)"
        shown = [share(error) if one.is_class else amount(error) for error in one.errors]
        state = one.verdict[0]
        yield Tile(f"{name}, version {one.shadow}", shown[1], f"{shown[0]} of the champion", state)
        told = "too few" if one.more is None else f"{amount(one.more[0])} to {amount(one.more[1])}"
        yield Tile("more error", told, "at 95%; below 0 is less", state)
    else:
        yield Tile("error", "?", "no label yet", "quiet")
    yield Tile("labels", share(one.labelled / one.rows if one.rows else None), f"{one.labelled:,} rows")
    told = f"half {amount(one.latency[1][0])} ms; the champion's whole answer 95% in {amount(one.latency[0][1])} ms"
    yield Tile("95% scored in", f"{amount(one.latency[1][1])} ms", told)
