"""`Tally`: counts a window's batches one after the other and lets each go, so that memory does not grow with them."""

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.contract import Contract, Prediction
from starterkit.feedback.drift import Counts
from starterkit.feedback.observation import PARTS_OF_TIME, Window
from starterkit.feedback.reference import PREDICTION, ColumnReference, Reference, plain_value
from starterkit.metrics import Metric

if TYPE_CHECKING:
    import pyarrow as pa

_MOST_LABELLED = 10_000
"""So many labelled rows, drawn evenly, are kept for the figures of quality and their intervals."""
_SEED = 65_537
_LATENCY_ENDS = np.geomspace(1e-5, 100, 141)
"""In seconds; each end is 12% above the one before."""
_LATENCY_STEP = float(np.log(_LATENCY_ENDS[1] / _LATENCY_ENDS[0]))
_ROW_BYTES = 4
_NO_PART = -1


@dataclass(frozen=True)
class Watched:
    """The version that is watched, and what is known of it."""

    model: str
    version: str
    contract: Contract
    reference: Reference
    metrics: tuple[Metric, ...]
    deciding: Metric


@dataclass
class ColumnTally:
    counts: Counts
    missing: int = 0
    outside: int = 0


class Tally:
    """What of a window is kept: counts by bin, by part of time and by latency, and some labelled rows."""

    def __init__(self, watched: Watched, window: Window) -> None:
        reference = watched.reference
        self._version, self._classes = watched.version, watched.contract.classes
        self._references = [one for one in (*reference.columns, reference.answers) if one.counts]
        self._asked = {one.name for one in reference.columns}
        self._slices = [one for one in reference.columns if one.is_slice]
        self._begin, end = window.micros
        self._width = max(1, -(-(end - self._begin) // PARTS_OF_TIME))
        self.columns: dict[str, ColumnTally] = {}
        self.volume = np.zeros(PARTS_OF_TIME, np.int64)
        self.waits = np.zeros((PARTS_OF_TIME, len(_LATENCY_ENDS) + 1), np.int64)
        self.labels = Labelled(len(self._slices))
        self.others: Counter[str] = Counter()
        self.otherwise: dict[str, list[str]] = {}
        self.lacking: set[str] = set()
        self.rows = self.requests = 0

    @property
    def latencies(self) -> dict[str, float]:
        total = self.waits.sum(axis=0)
        asked = (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
        found = {name: latency_quantile(total, share) for name, share in asked}
        return {name: seconds for name, seconds in found.items() if seconds is not None}

    def add(self, batch: "pa.RecordBatch") -> None:
        table = _Table(batch)
        if not table.rows:
            return
        if (version := table.version) != self._version:
            self.others[version] += table.rows
            if missing := sorted(self._asked - table.names.keys()):
                self.otherwise.setdefault(version, missing)
            return
        self.rows += table.rows
        parts = np.clip((table.micros - self._begin) // self._width, 0, PARTS_OF_TIME - 1)
        self.volume += np.bincount(parts, minlength=PARTS_OF_TIME)
        first = table.first_rows
        self.requests += int(first.sum())
        with np.errstate(divide="ignore"):
            waited = np.ceil(np.log(table.numbers("latency")[first] / _LATENCY_ENDS[0]) / _LATENCY_STEP)
        waited = np.clip(np.nan_to_num(waited), 0, len(_LATENCY_ENDS)).astype(np.int64)
        cells = parts[first] * self.waits.shape[1] + waited
        self.waits += np.bincount(cells, minlength=self.waits.size).reshape(self.waits.shape)
        for one in self._references:
            if one.name in table.names:
                self._count(one, table)
            else:
                self.lacking.add(one.name)
        self._keep_labelled(table, parts)

    def _count(self, one: ColumnReference, table: "_Table") -> None:
        tally = self.columns.setdefault(one.name, ColumnTally(np.zeros(len(one.counts), np.int64)))
        if one.categories:
            found, missing = table.tally(one)
        else:
            ordered = np.sort(table.numbers(one.name))  # a third of what it takes to look each value up
            missing = int(np.isnan(ordered).sum())
            known = ordered[: len(ordered) - missing]
            found = np.diff(np.searchsorted(known, one.edges, side="right"), prepend=0, append=len(known))
            tally.outside += 0 if one.low is None else int(np.searchsorted(known, one.low))
            tally.outside += 0 if one.high is None else len(known) - int(np.searchsorted(known, one.high, side="right"))
        tally.counts += found
        tally.missing += missing

    def _keep_labelled(self, table: "_Table", parts: NDArray[np.integer]) -> None:
        rows, drawn = self.labels.draw(np.flatnonzero(table.known("label")))
        if not len(rows):
            return
        labels, answers = (table.plain(name, rows, bool(self._classes)) for name in ("label", PREDICTION))
        shares = (table.numbers(name)[rows] for name in table.names if name.startswith("probability."))
        probabilities = np.column_stack([np.empty((len(rows), 0)), *shares])
        codes = np.full((len(rows), len(self._slices)), _NO_PART)
        for place, one in enumerate(self._slices):
            if one.name in table.names:
                codes[:, place] = _parts(one, table, rows)
        self.labels.add(drawn, labels, answers, probabilities, parts[rows], codes, table.people(rows))


def _parts(one: ColumnReference, table: "_Table", rows: NDArray[np.integer]) -> NDArray[np.integer]:
    if one.categories:
        return table.codes(one)[rows]
    values = table.numbers(one.name)[rows]
    return np.where(np.isnan(values), _NO_PART, np.searchsorted(one.parts, values))


def latency_quantile(counts: Counts, share: float, times: float = 1) -> float | None:
    """The middle of the cell in which this share of the counts is reached; None without counts."""
    total = counts.sum()
    if not total:
        return None
    cell = int(np.searchsorted(np.cumsum(counts), share * total))
    ends = (_LATENCY_ENDS[max(0, cell - 1)], _LATENCY_ENDS[min(cell, len(_LATENCY_ENDS) - 1)])
    return float(np.sqrt(ends[0] * ends[1]) * times)


# --- Labelled rows, of which a part is kept that was drawn evenly.


@dataclass(frozen=True)
class LabelledRows:
    labels: NDArray[Any]
    answers: Prediction
    when: NDArray[np.integer]
    parts: NDArray[np.integer]
    people: NDArray[np.integer]

    def suit(self, metric: Metric) -> bool:
        """Whether the metric can judge them."""
        return len(self.labels) > 0 and (not metric.probabilities or self.answers.probabilities is not None)

    def of(self, chosen: NDArray[np.bool_]) -> "LabelledRows":
        people = pd.factorize(self.people[chosen])[0]
        answers = self.answers.of_rows(chosen)
        return LabelledRows(self.labels[chosen], answers, self.when[chosen], self.parts[chosen], people)


class Labelled:
    """Keeps the rows of the smallest of random numbers, so that each row is as likely to be kept."""

    def __init__(self, slices: int) -> None:
        self._random = np.random.default_rng(_SEED)
        self._slices = slices
        self._parts: list[tuple[NDArray[Any], ...]] = []
        self._held = self.seen = 0
        self._limit = 1.0

    def draw(self, rows: NDArray[np.integer]) -> tuple[NDArray[np.integer], NDArray[np.float64]]:
        """Which of some labelled rows may be kept, with their random numbers."""
        self.seen += len(rows)
        drawn = self._random.random(len(rows))
        chosen = drawn < self._limit
        return rows[chosen], drawn[chosen]

    def add(self, drawn: NDArray[np.float64], *columns: NDArray[Any]) -> None:
        """Rows with their random numbers: labels, answers, probabilities, parts of time and of columns, people."""
        self._parts.append((drawn, *columns))
        self._held += len(drawn)
        if self._held > 4 * _MOST_LABELLED:
            self._thin()

    def _thin(self) -> None:
        joined = tuple(np.concatenate(column) for column in zip(*self._parts, strict=True))
        if len(joined[0]) > _MOST_LABELLED:
            chosen = np.argpartition(joined[0], _MOST_LABELLED)[:_MOST_LABELLED]
            joined = tuple(column[np.sort(chosen)] for column in joined)
            self._limit = float(joined[0].max())
        self._parts, self._held = [joined], len(joined[0])

    def drawn(self) -> LabelledRows:
        if not self._parts:
            nothing = np.empty(0, np.int64)
            return LabelledRows(
                np.empty(0), Prediction(np.empty(0)), nothing, np.empty((0, self._slices), np.int64), nothing
            )
        self._thin()
        _, labels, answers, probabilities, when, parts, people = self._parts[0]
        answered = Prediction(answers, probabilities if probabilities.shape[1] else None)
        # Numbered from 0 in the order in which they are met: a hash is another one in each process.
        return LabelledRows(labels, answered, when, parts, pd.factorize(people)[0])


# --- A batch as the log gives it.


class _Table:
    def __init__(self, batch: "pa.RecordBatch") -> None:
        self._column, self.rows = batch.column, batch.num_rows
        self.names = dict.fromkeys(batch.schema.names)
        self._numbers: dict[str, NDArray[np.float64]] = {}

    def numbers(self, name: str) -> NDArray[np.float64]:
        """n numbers; NaN is a missing one."""
        if name not in self._numbers:
            import pyarrow as pa

            column = self._column(name)
            if pa.types.is_dictionary(column.type) or pa.types.is_null(column.type):
                made = np.full(self.rows, np.nan)
            else:
                made = column.cast(pa.float64()).to_numpy(zero_copy_only=False)
            self._numbers[name] = made
        return self._numbers[name]

    @property
    def micros(self) -> NDArray[np.int64]:
        return self._column("time").cast("int64").to_numpy()

    @property
    def version(self) -> str:
        return self._column("version")[0].as_py()

    @property
    def first_rows(self) -> NDArray[np.bool_]:
        """Which rows are the first of their request: an id ends in its row's number."""
        column = self._column("id")
        width = column.type.byte_width
        held = np.frombuffer(column.buffers()[1], np.uint8)[column.offset * width :][: self.rows * width]
        return np.logical_not(held.reshape(self.rows, width)[:, -_ROW_BYTES:].any(axis=1))

    def known(self, name: str) -> NDArray[np.bool_]:
        """Which rows have a value."""
        return ~self._column(name).is_null(nan_is_null=True).to_numpy(zero_copy_only=False)

    def tally(self, one: ColumnReference) -> tuple[Counts, int]:
        """Rows by category, the last of them all others, and how many are missing."""
        codes = self.codes(one)
        known = codes[codes != _NO_PART]
        return np.bincount(known, minlength=len(one.counts)), len(codes) - len(known)

    def codes(self, one: ColumnReference) -> NDArray[np.integer]:
        """For each row the place of its category, the number of categories for any other, -1 where it is missing."""
        import pyarrow as pa

        column = self._column(one.name)
        if not pa.types.is_dictionary(column.type):
            column = column.dictionary_encode()
        is_boolean = isinstance(one.categories[0], bool)
        places = {value: place for place, value in enumerate(one.categories)}
        known = [plain_value(value, is_boolean) for value in column.dictionary.to_pylist()]
        lookup = np.array([_NO_PART if v is None else places.get(v, len(places)) for v in known] + [_NO_PART])
        indices = column.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
        return lookup[indices]

    def plain(self, name: str, rows: NDArray[np.integer], classifies: bool) -> NDArray[Any]:
        """Some rows' labels or answers: numbers of a regression, else classes as they are."""
        if not classifies:
            return self.numbers(name)[rows]
        return np.array(self._column(name).take(rows).to_pylist())

    def people(self, rows: NDArray[np.integer]) -> NDArray[Any]:
        """Whose each of some rows is: its record key's, or its own."""
        keys, ids = (self._column(name).take(rows).to_pylist() for name in ("key", "id"))
        return np.array([hash(key if key is not None else one) for key, one in zip(keys, ids, strict=True)], np.int64)
