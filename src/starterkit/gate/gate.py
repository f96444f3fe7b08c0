"""`Gate`: asks every check and lets a version pass only if all of them do."""

import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starterkit.contract import Task
from starterkit.errors import SettingsError
from starterkit.gate.checks import HoldoutUnseen, NoFeatureAlone, ParityProven, StaysRobust
from starterkit.gate.clients import LatencyWithin, SignatureKept, SizeWithin
from starterkit.gate.comparison import Rule
from starterkit.gate.quality import AbsoluteLimit, BetterThanBaseline, NoSliceWorse, NotWorseThanChampion
from starterkit.metrics import metrics_for
from starterkit.verdict import Check, Evidence, Verdict

if TYPE_CHECKING:
    from starterkit.settings import GateSettings


@dataclass(frozen=True)
class Decision:
    """Every check's verdict, in the order in which they were asked."""

    verdicts: tuple[Verdict, ...]

    @property
    def passed(self) -> bool:
        return all(verdict.passed for verdict in self.verdicts)

    @property
    def refusals(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if not verdict.passed)


class Gate:
    """The kit's checks with the stage's limits, then the project's own.

    Raises
    ------
    SettingsError
        A limit is set for a metric that this task does not have.
    """

    def __init__(self, settings: "GateSettings", task: Task, checks: Iterable[Check] = ()) -> None:
        known = [metric.name for metric in metrics_for(task)]
        for name in settings.limits:
            if name not in known:
                raise SettingsError(f"gate.limits.{name} is no metric for {task}", f"Use {', '.join(known)}")
        rule = Rule(settings.tolerance, settings.min_rows)
        self._checks: tuple[Check, ...] = (
            ParityProven(),
            HoldoutUnseen(),
            NoFeatureAlone(settings.leak_limit),
            *(AbsoluteLimit(name, limit.min, limit.max) for name, limit in settings.limits.items()),
            BetterThanBaseline(rule, settings.undecided),
            NotWorseThanChampion(rule, settings.undecided),
            NoSliceWorse(rule, settings.undecided_slices),
            SignatureKept(),
            LatencyWithin(settings.heavier, settings.latency_floor_ms / 1000),
            SizeWithin(settings.heavier, settings.size_floor_mb * 1e6),
            StaysRobust(),
            *checks,
        )

    def decide(self, evidence: Evidence) -> Decision:
        """Every check is asked, also after a refusal: people mend all at once."""
        return Decision(tuple(_ask(check, evidence) for check in self._checks))


def _ask(check: Check, evidence: Evidence) -> Verdict:
    name = getattr(check, "name", type(check).__name__)
    try:
        verdict = check.judge(evidence)
    except Exception as error:  # a project's own check may fail in any way, and a check that fails refuses
        return Verdict(check=name, passed=False, reason=f"the check itself failed: {_place(error)}")
    if not isinstance(verdict, Verdict):
        return Verdict(check=name, passed=False, reason=f"the check gave a {type(verdict).__name__}, not a Verdict")
    return verdict


def _place(error: Exception) -> str:
    """The kind of failure and the line, without its message, which could repeat a person's value."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__} ({frame.filename}, line {frame.lineno})"
