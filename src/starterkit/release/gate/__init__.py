"""`Gate`: asks every check and lets a version pass only if all of them do. It reads no file, no server and no clock."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from starterkit.contract import Task
from starterkit.errors import KitError, SettingsError, meant, place_of
from starterkit.metrics import Metric, metrics_for
from starterkit.release.gate.checks import (
    AgainstEstimator,
    GuardedByFrozen,
    HoldoutUnseen,
    LatencyWithin,
    NoFeatureAlone,
    ParityProven,
    PolicyKept,
    SignatureKept,
    SizeWithin,
    StaysRobust,
)
from starterkit.release.gate.comparison import Rule
from starterkit.release.gate.quality import (
    EXPLAINABLE,
    AbsoluteLimit,
    Believable,
    BetterThanBaseline,
    Calibrated,
    NoSliceWorse,
    NotWorseThanChampion,
    StaysInReach,
)
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
    def asked(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if not verdict.off)

    @property
    def refusals(self) -> tuple[Verdict, ...]:
        return tuple(verdict for verdict in self.verdicts if not verdict.passed)


class Gate:
    """The kit's checks with the stage's limits, then the project's own; limits are of the task's metrics or `metrics`.

    `tolerance` is how closely a graph has to answer in this stage.

    Raises
    ------
    SettingsError
        A limit is set for a metric that the problem does not have, or a check is named that there is not.
    """

    def __init__(
        self,
        settings: "GateSettings",
        task: Task,
        checks: Iterable[Check] = (),
        metrics: Iterable[Metric] = (),
        tolerance: float | None = None,
    ) -> None:
        known = dict.fromkeys(metric.name for metric in (*metrics_for(task), *metrics))
        for name in settings.limits:
            if name not in known:
                raise SettingsError(f"gate.limits.{name} is no metric for {task}", f"Use {', '.join(known)}")
        rule = Rule(settings.tolerance, settings.min_rows)
        self._checks: tuple[Check, ...] = (
            PolicyKept(),
            ParityProven(tolerance),
            AgainstEstimator(),
            HoldoutUnseen(),
            NoFeatureAlone(settings.leak_limit),
            *(AbsoluteLimit(name, limit.min, limit.max) for name, limit in settings.limits.items()),
            BetterThanBaseline(rule, settings.undecided),
            NotWorseThanChampion(rule, settings.undecided),
            NoSliceWorse(rule, settings.undecided_slices),
            Believable(settings.leak_limit, settings.undecided),
            Calibrated(settings.undecided),
            StaysInReach(),
            SignatureKept(),
            LatencyWithin(settings.heavier, settings.latency_floor_ms),
            SizeWithin(settings.heavier, settings.size_floor_mb),
            StaysRobust(),
            *checks,
        )
        names = [_name(check) for check in self._checks if not isinstance(check, AbsoluteLimit)]
        for name in settings.checks:
            if name not in names:
                what = f"gate.checks.{name} is no check{meant(name, names)}"
                raise SettingsError(what, f"Name one of {', '.join(names)}")
        self._off = frozenset(name for name, asked in settings.checks.items() if not asked)

    @property
    def asks_estimator(self) -> bool:
        """Whether the version's estimator is to be asked, which takes a while."""
        return AgainstEstimator.name not in self._off

    def decide(self, evidence: Evidence) -> Decision:
        """Every check is asked, also after a refusal: people mend all at once. One that is off is shown, too."""
        asked = {AgainstEstimator.name} if evidence.beside or evidence.beside_fault else set()  # somebody wanted it
        off = self._off - asked
        checks = (*self._checks, GuardedByFrozen()) if evidence.frozen else self._checks
        return Decision(tuple(_off(check) if _name(check) in off else _ask(check, evidence) for check in checks))


def _name(check: Check) -> str:
    return getattr(check, "name", type(check).__name__)


def _off(check: Check) -> Verdict:
    return Verdict(check=_name(check), passed=True, off=True, reason="switched off by gate.checks in this stage")


def _ask(check: Check, evidence: Evidence) -> Verdict:
    name = _name(check)
    try:
        verdict = check.judge(evidence)
    except KitError as error:  # a metric of the project's own that fails for some of the rows
        return Verdict(check=name, passed=False, reason=error.what, hint=error.hint)
    except Exception as error:  # a project's own check may fail in any way, and a check that fails refuses
        # Without its message, which could repeat a person's value.
        reason = f"the check itself failed: {type(error).__name__} ({place_of(error)})"
        return Verdict(check=name, passed=False, reason=reason)
    if not isinstance(verdict, Verdict):
        return Verdict(check=name, passed=False, reason=f"the check gave a {type(verdict).__name__}, not a Verdict")
    if fault := _fault(verdict):
        return Verdict(check=name, passed=False, reason=f"the check gave a verdict whose {fault}")
    if evidence.explanation and name in EXPLAINABLE and not verdict.passed:
        said = f"{verdict.reason}. Explained: {evidence.explanation}"
        return replace(verdict, passed=True, undecided=False, reason=said, hint="")
    return verdict


def _fault(verdict: Verdict) -> str:
    """What of a project's verdict is of no use: NaN counts as true, and the record holds plain numbers only."""
    if not isinstance(verdict.passed, bool | np.bool_):
        return f"'passed' is a {type(verdict.passed).__name__}, not true or false"
    for word, figure in (("figure", verdict.figure), ("limit", verdict.limit)):
        if not (figure is None or isinstance(figure, Real)):
            return f"'{word}' is a {type(figure).__name__}, not a number"
    return ""
