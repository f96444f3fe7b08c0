"""`Monitor`: one pass over a window of the prediction log, and what it comes to.

See docs/decisions/0031-monitoring.md.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from starterkit.contract import LEAST_PEOPLE
from starterkit.feedback.drift import drift_of
from starterkit.feedback.observation import PARTS_OF_TIME, Observation, Quality, Window
from starterkit.feedback.reference import ColumnReference
from starterkit.feedback.tally import ColumnTally, LabelledRows, Tally, Watched, latency_quantile
from starterkit.metrics import Metric
from starterkit.release.gate.comparison import paired_shortfall

_ERROR_RATE = 0.025


class Monitor:
    """Looks at windows of one version's predictions."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    def observe(
        self, window: Window, batches: "Iterable[Any]", refused: Mapping[tuple[str, str], int] | None = None
    ) -> Observation:
        """Summarise a window, as `PredictionLog.iterate` and `.refused` give it; other versions are counted alone."""
        counted = Tally(self._watched, window)
        for batch in batches:
            counted.add(batch)
        refused, kept = refused or {}, counted.labels.drawn()
        reasons = {f"{why} ({column})" if column else why: count for (why, column), count in refused.items() if why}
        watched, reference = self._watched, self._watched.reference
        compared = [
            one for one in (*reference.columns, reference.answers) if one.counts and one.name in counted.columns
        ]
        tallies = [counted.columns[one.name] for one in compared]
        drifts = drift_of(compared, [one.counts for one in tallies], [one.missing for one in tallies])
        contract = watched.contract
        return Observation(
            model=watched.model,
            version=watched.version,
            title=contract.title,
            target=contract.target.name,
            unit=contract.target.unit,
            window=window,
            rows=counted.rows,
            requests=counted.requests,
            others=dict(counted.others),
            refused_requests=refused.get(("", ""), sum(reasons.values())),  # a log of before counted reasons alone
            refused=reasons,
            latency=counted.latencies,
            labelled=counted.labels.seen,
            drifts=drifts,
            qualities=self._qualities(kept),
            columns={one.name: _beside(one, tally) for one, tally in zip(compared, tallies, strict=True)},
            series={
                "rows": counted.volume.tolist(),
                "latency_p95_ms": [latency_quantile(one, 0.95, 1000) for one in counted.waits],
                "quality": self._quality_over_time(kept),
            },
            notes=self._notes(counted),
        )

    def _notes(self, counted: Tally) -> list[str]:
        notes: list[str] = []
        if not counted.rows:
            others = f"; {sum(counted.others.values()):,} of other versions" if counted.others else ""
            notes.append(f"no prediction of version {self._watched.version} in this window{others}")
        elif not counted.labels.seen:
            notes.append("no label has come for this window yet, so its quality is not known")
        if counted.lacking:
            notes.append(f"the log does not have {', '.join(sorted(counted.lacking))}: not compared")
        for version, names in counted.otherwise.items():
            notes.append(f"version {version} was asked other columns ({', '.join(names)}): counted alone")
        if hidden := self._watched.reference.hidden:
            notes.append(f"this stage sees {', '.join(hidden)} in bands: not compared")
        return notes

    # --- Live quality, over the labelled rows that were kept.

    def _qualities(self, rows: LabelledRows) -> list[Quality]:
        found = [self._quality(metric, rows, "") for metric in self._watched.metrics if rows.suit(metric)]
        deciding = self._watched.deciding
        if not rows.suit(deciding):
            return found
        for place, column in enumerate(one for one in self._watched.reference.columns if one.is_slice):
            for code, name in enumerate(column.part_names()):
                chosen = rows.parts[:, place] == code
                if chosen.sum() >= LEAST_PEOPLE:
                    found.append(self._quality(deciding, rows.of(chosen), name))
        return found

    def _quality(self, metric: Metric, rows: LabelledRows, part: str) -> Quality:
        weighted = metric.weighted(rows.labels, rows.answers, self._watched.contract.classes)
        figure = float(weighted(np.ones((1, len(rows.labels))))[0])
        reach = paired_shortfall(metric, weighted, lambda w: np.zeros(len(w)), rows.people, _ERROR_RATE)
        low, high = sorted((-reach.low, -reach.high) if metric.greater_is_better else (reach.low, reach.high))
        before = self._watched.reference.scores.get(metric.name) if not part else None
        scale = metric.loss(before) if before is not None else 0.0
        kind = high if metric.greater_is_better else low
        return Quality(
            metric=metric.name,
            decides=metric == self._watched.deciding,
            part=part,
            rows=len(rows.labels),
            figure=figure,
            low=low,
            high=high,
            before=before,
            worse=metric.shortfall(figure, before) / scale if before is not None and scale else None,
            worse_low=metric.shortfall(kind, before) / scale if before is not None and scale else None,
        )

    def _quality_over_time(self, rows: LabelledRows) -> list[float | None]:
        """The deciding metric in those of the window's parts that have labels."""
        deciding = self._watched.deciding
        quality: list[float | None] = [None] * PARTS_OF_TIME
        for part in range(PARTS_OF_TIME if rows.suit(deciding) else 0):
            chosen = rows.when == part
            if (size := int(chosen.sum())) >= LEAST_PEOPLE:
                some = rows.of(chosen)
                weighted = deciding.weighted(some.labels, some.answers, self._watched.contract.classes)
                figure = float(weighted(np.ones((1, size)))[0])
                quality[part] = figure if np.isfinite(figure) else None
        return quality


def _beside(reference: ColumnReference, tally: ColumnTally) -> dict[str, Any]:
    """A column's shares then and now, and what of it should not be."""
    rows = max(1, int(tally.counts.sum()) + tally.missing)
    then = np.array(reference.counts) / max(1, sum(reference.counts))
    now = tally.counts / max(1, tally.counts.sum())
    return {
        "unit": reference.unit,
        "edges": list(reference.edges),
        "categories": list(reference.categories),
        "then": [round(float(one), 6) for one in then],
        "now": [round(float(one), 6) for one in now],
        "out_of_range": tally.outside / rows,
        "unseen": max(0.0, float(now[-1] - then[-1])) if reference.categories else 0.0,
    }
