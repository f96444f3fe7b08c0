"""`Observation`: all that a window of the prediction log shows of a version, as figures, as JSON, and for its page."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from starterkit.feedback.drift import Drift
from starterkit.feedback.tables import micros

PARTS_OF_TIME = 24
"""Into so many parts a window is cut for what changes within it."""


@dataclass(frozen=True)
class Window:
    """From when to before when."""

    start: datetime
    end: datetime

    @classmethod
    def before(cls, end: datetime | None, minutes: float) -> "Window":
        """So many minutes before a moment; before now without one."""
        until = end or datetime.now(UTC)
        return cls(until - timedelta(minutes=minutes), until)

    @property
    def micros(self) -> tuple[int, int]:
        """In µs since 1970."""
        return micros(self.start), micros(self.end)


@dataclass(frozen=True, kw_only=True)
class Quality:
    """A metric over labelled rows: the figure, its 95% interval where there is one, and the held-out rows' figure.

    `worse` is how much worse than these it is, as a share of what is left to improve; `worse_low` the interval's end
    that is kinder to the model.
    """

    metric: str
    decides: bool
    part: str
    rows: int
    figure: float
    low: float
    high: float
    before: float | None
    worse: float | None
    worse_low: float | None


@dataclass(frozen=True, kw_only=True)
class Observation:
    """All that a window shows of a version."""

    model: str
    version: str
    title: str
    target: str
    unit: str
    window: Window
    rows: int
    requests: int
    others: Mapping[str, int]
    refused_requests: int
    refused: Mapping[str, int]
    latency: Mapping[str, float]
    labelled: int
    drifts: Sequence[Drift]
    qualities: Sequence[Quality]
    columns: Mapping[str, Mapping[str, Any]]
    series: Mapping[str, Sequence[float | None]]
    notes: Sequence[str] = field(default=())

    @property
    def figures(self) -> dict[str, float]:
        """Everything that a rule may name and MLflow keeps. A figure that is not known is not there."""
        found: dict[str, float | None] = {
            "rows": self.rows,
            "requests": self.requests,
            "refused": self.refused_requests,
            "refused_share": self.refused_requests / max(1, self.refused_requests + self.requests),
            "labelled": self.labelled,
            "labelled_share": self.labelled / self.rows if self.rows else None,
            **{f"latency_{name}_ms": seconds * 1000 for name, seconds in self.latency.items()},
        }
        if compared := [one for one in self.drifts if one.is_enough]:
            found["drifted_columns"] = sum(one.drifted for one in compared)
            found |= {f"drift.{one.column}": one.distance for one in compared}
            found |= {f"missing.{one.column}": one.missing for one in compared}
        for name, column in self.columns.items():
            found |= {f"{word}.{name}": column[word] for word in ("out_of_range", "unseen") if column.get(word)}
        for one in self.qualities:
            if not one.part:
                found |= {one.metric: one.figure, f"{one.metric}_low": one.low, f"{one.metric}_high": one.high}
                if one.decides:
                    found |= {"quality_loss": one.worse, "quality_loss_low": one.worse_low}
        return {name: float(value) for name, value in found.items() if value is not None and np.isfinite(value)}

    @property
    def content(self) -> dict[str, Any]:
        """The same as JSON."""
        told = {name: value for name, value in vars(self).items() if name not in ("window", "drifts", "qualities")}
        return {
            "format": 1,
            **told,
            "start": self.window.start.isoformat(timespec="milliseconds"),
            "end": self.window.end.isoformat(timespec="milliseconds"),
            "drifts": [asdict(one) | {"is_enough": one.is_enough} for one in self.drifts],
            "qualities": [asdict(one) for one in self.qualities],
            "figures": self.figures,
        }
