"""`Retrainer`: labelled feedback becomes training data, and what is trained of it meets the same gate as anything else.

The challenger is judged on recent labelled rows that it was not trained on, for the old holdout may be of a world that
is gone; the frozen holdout guards. See docs/decisions/0031-monitoring.md.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from starterkit.data import masked
from starterkit.data.checking import check_frame
from starterkit.data.dataset import Dataset, Rows
from starterkit.data.policy import Policy
from starterkit.errors import DataError, KitError, Refused
from starterkit.feedback.observation import Window
from starterkit.feedback.watcher import PredictionReader, Project
from starterkit.progress import step
from starterkit.release.judgement import Promotion
from starterkit.release.promoter import Promoter
from starterkit.settings import Stage
from starterkit.tracking.lock import Locked, PromotionLock
from starterkit.tracking.registry import Version
from starterkit.tracking.runs import Tracker
from starterkit.verdict import Frozen

if TYPE_CHECKING:
    import pandas as pd

_LOCK_MINUTES = 120
_OPENED = "opened"
_SOURCE = "feedback"


class Steps(Project, Protocol):
    """The pipeline's, of which a retraining is one more way through."""

    @property
    def promoter(self) -> Promoter: ...
    def check(self, *needs: Any) -> None: ...
    def read(self) -> Dataset: ...
    def train(self, dataset: Dataset) -> Any: ...
    def export(self, trained: Any, dataset: Dataset) -> Any: ...
    def register(self, run: str | None = None) -> Version: ...


@dataclass(frozen=True)
class Labelled:
    """Labelled predictions as rows of the data. `nameless` had no record key, so that their side is not known."""

    frame: "pd.DataFrame"
    nameless: int


@dataclass(frozen=True)
class Retrained:
    """What a retraining came to: why it was opened, on how many rows, and what the gate said."""

    why: str
    added: int
    recent: int
    nameless: int
    promotion: Promotion

    @property
    def content(self) -> dict[str, Any]:
        """For the page and the record."""
        judged, passed = self.promotion, self.promotion.decision.passed
        before = f"version {judged.earlier.number}" if judged.earlier else "no champion"
        lines = [
            f"Why: {self.why}.",
            f"Trained on {self.added:,} more labelled rows; judged on {self.recent:,} recent ones that it never saw.",
        ]
        comparison = judged.record.content["comparison"]
        if judged.earlier and comparison.get("serving") is not None:
            metric = judged.record.content["metric"]["name"]
            lines.append(f"{metric} there: {comparison['figure']:.4g}, {before} {comparison['serving']:.4g}.")
        if self.nameless:
            lines.append(f"{self.nameless:,} labelled rows have no record key: which side they are on is not known.")
        lines += [f"Refused by {one.check}: {one.told}." for one in judged.decision.refusals]
        title = f"Version {judged.version.number} answers now" if passed else f"{before} stays: the gate refused"
        return {"title": title, "state": "good" if passed else "unsure", "lines": lines}


class Retrainer:
    """Retrains one problem in one stage, one at a time and not too often."""

    def __init__(self, steps: Steps, reader: PredictionReader) -> None:
        self._problem, self._settings, self._registry = steps.problem, steps.settings, steps.registry
        self._steps, self._reader = steps, reader
        self._policy = Policy.of(self._settings.stage, self._problem.columns, self._settings.privacy)
        self._records = Tracker(self._registry.connection, f"{self._registry.model}.retraining")

    def retrain(self, window: Window, why: str) -> Retrained:
        """Train on the stage's data and a window's labelled rows, and let the gate decide.

        Raises
        ------
        Refused
            The stage trains nothing or hides columns, the last retraining was a moment ago, or labels are too few.
        Locked
            Another retraining is under way.
        KitError
            A step fails. The attempt is kept, and counts for the cool-down.
        """
        self._steps.check("training", "gate")
        self._require_raw()
        with self._alone():
            self._require_cool()
            opened = datetime.now(UTC)
            try:
                done = self._retrain(window, why)
            except KitError as error:
                self._keep(opened, why, f"failed: {error.what}", {})
                raise
            judged = done.promotion
            outcome = f"{judged.version} {'promoted' if judged.decision.passed else 'refused'}"
            scores = judged.record.content["comparison"]
            figures = {name: scores[name] for name in ("figure", "serving") if scores.get(name) is not None}
            self._keep(opened, why, outcome, {**figures, "added_rows": done.added, "recent_rows": done.recent})
            return done

    def _retrain(self, window: Window, why: str) -> Retrained:
        steps = self._steps
        frozen = steps.read()
        with step(steps.progress, "join the labels") as note:
            found = self.labelled(window)
            dataset = self.joined(frozen, found.frame)
            added, recent = len(dataset.training) - len(frozen.training), len(dataset.holdout)
            note.text = f"{added:,} more rows to train on, {recent:,} recent ones to judge by"
        trained = steps.train(dataset)
        version = steps.register(steps.export(trained, dataset).run)
        guard = Frozen(why=why, allowed=self._settings.monitoring.guard, rows=len(frozen.holdout))
        promotion = steps.promoter.promote(dataset, version.number, frozen=(guard, frozen))
        return Retrained(why, added, recent, found.nameless, promotion)

    # --- Labelled rows, on the side that their record has for good.

    def labelled(self, window: Window) -> Labelled:
        """A window's labelled predictions, as rows of the schema.

        Raises
        ------
        Refused
            There are too few.
        DataError
            A row is not what the schema says.
        """
        import pandas as pd

        parts: list[pd.DataFrame] = []
        nameless = 0
        names = [column.name for column in self._problem.features]
        for batch in self._reader.iterate(window.start, window.end):
            known = batch.schema.names
            if not {*names, "key", "label"} <= set(known):
                continue  # another schema: what it was asked is not what is trained on
            frame = batch.select([*names, "id", "key", "time", "label"]).to_pandas()
            frame = frame[frame["label"].notna()]
            nameless += int(frame["key"].isna().sum())
            parts.append(frame[frame["key"].notna()])
        frame = pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()
        least = self._settings.monitoring.least_labelled
        if len(frame) < least:
            without = f", and {nameless:,} without a record key" if nameless else ""
            what = f"{len(frame):,} labelled rows{without}: too few to train on, {least:,} are asked for"
            raise Refused(what, "Wait for more labels, or lower monitoring.least_labelled")
        return Labelled(self._as_rows(frame), nameless)

    def _as_rows(self, frame: "pd.DataFrame") -> "pd.DataFrame":
        """As the schema has them; of a record that stands in it once, and was asked about again, the last row."""
        problem, made = self._problem, {}
        is_record = problem.side_column.role == "identifier"
        if is_record:
            frame = frame.drop_duplicates("key", keep="last")
        for column in problem.columns:
            if column.role == "feature":
                values = frame[column.name]
                made[column.name] = values.astype(object) if values.dtype == "category" else values
            elif column.role == "target":
                made[column.name] = frame["label"]
            elif column.role == "time":
                made[column.name] = frame["time"]
            elif is_record or column.name == problem.side_column.name:
                made[column.name] = frame["key"]
            else:  # the key is the group's: a row of it is known by its prediction
                made[column.name] = [one.hex() for one in frame["id"]]
        table = type(frame)(made)
        return check_frame(problem, table, "the labelled feedback")

    def joined(self, frozen: Dataset, frame: "pd.DataFrame") -> Dataset:
        """The stage's training side and the labelled rows of that side; the holdout is the labelled rows' own."""
        try:
            recent = masked(self._problem, frame, self._policy, None).split(self._problem, _SOURCE)
        except DataError as error:
            raise Refused(f"the labelled feedback cannot be parted: {error.what}", error.hint) from error
        side = self._problem.side_column.name
        training, holdout = _together(frozen.training, recent.training, side), _grouped(recent.holdout, side)
        return replace(
            frozen,
            source=f"{frozen.source} + {_SOURCE}",
            digest=f"{frozen.digest[:32]}{recent.digest[:32]}",
            training=training,
            holdout=holdout,
            recent=_grouped(recent.training, side),
        )

    # --- One at a time, and not too often.

    def _require_raw(self) -> None:
        stage = self._settings.stage
        if stage is Stage.PROD or not self._policy.is_raw:
            what = f"stage {stage} keeps columns of its predictions in bands: nothing is trained on these"
            raise Refused(what, "Retrain in a stage that sees the rows as they are")

    def _require_cool(self) -> None:
        hours = self._settings.monitoring.cooldown_hours
        for _, tags in self._records.figures(1):
            until = datetime.fromisoformat(tags[_OPENED]) + timedelta(hours=hours)
            if until > datetime.now(UTC):
                what = f"the last retraining was opened at {tags[_OPENED][:16]} ({tags.get('outcome', '')})"
                raise Refused(f"{what}: the next one may be at {until:%Y-%m-%d %H:%M} UTC", "Wait until then")

    @contextmanager
    def _alone(self) -> Iterator[None]:
        name = f"{self._registry.model}.retraining"
        lock = PromotionLock(self._registry.connection, name, _LOCK_MINUTES, "starterkit retrain")
        with ExitStack() as stack:
            try:
                stack.enter_context(lock.held())
            except Locked as error:
                raise Locked("another retraining is under way", "Wait for it to end") from error
            yield

    def _keep(self, opened: datetime, why: str, outcome: str, figures: dict[str, float]) -> None:
        with self._records.start(f"retraining {opened:%Y-%m-%d %H:%M:%S}") as run:
            run.tag({_OPENED: opened.isoformat(timespec="seconds"), "why": why, "outcome": outcome})
            run.log_scores(figures)


def _together(old: Rows, new: Rows, side: str) -> Rows:
    import pandas as pd

    parts = [_grouped(old, side), _grouped(new, side)]
    groups = [one.groups for one in parts if one.groups is not None]
    return Rows(
        features=pd.concat([one.features for one in parts], ignore_index=True),
        target=pd.concat([one.target for one in parts], ignore_index=True),
        digest=f"{old.digest[:32]}{new.digest[:32]}",
        keys={name: np.concatenate([one.keys[name] for one in parts]) for name in old.keys},
        groups=np.concatenate(groups) if len(groups) == len(parts) else None,
    )


def _grouped(rows: Rows, side: str) -> Rows:
    """A record that was asked about several times is one person: its rows are not independent."""
    if rows.groups is not None:
        return rows
    return replace(
        rows, groups=next((hashes for name, hashes in rows.keys.items() if name.split("@")[0] == side), None)
    )
