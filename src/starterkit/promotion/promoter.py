"""`Promoter` moves the champion's alias: one at a time, written down before and after.

See docs/decisions/0018-promotion.md.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from starterkit.data import Dataset
from starterkit.errors import ContractError, Refused, UserError
from starterkit.evidence import keep_evidence
from starterkit.problem import Problem
from starterkit.progress import Progress, silent, step
from starterkit.promotion.arriving import COPIED_FROM, arrive
from starterkit.promotion.bundle import Opened, bring_in, require_prod
from starterkit.promotion.describing import Describer
from starterkit.promotion.judging import Judge, Promotion
from starterkit.promotion.people import People, people_behind
from starterkit.promotion.reigns import champions, way_here
from starterkit.promotion.settling import alone
from starterkit.registry import Act, Entry, Ledger, ModelRegistry, PromotionLock, UnknownVersion, Version, files_of
from starterkit.settings import Settings, Stage


@dataclass(frozen=True)
class Rollback:
    """The alias went back: to which version, and from which."""

    version: Version
    earlier: Version | None


class Promoter:
    """A problem's champion in one stage.

    Parameters
    ----------
    problem, settings
        What is moved, and what the stage says.
    registry, judge
        The stage's versions, and who asks the gate about them.
    progress
        Called when a step begins and when it ends.
    """

    def __init__(
        self,
        problem: Problem,
        settings: Settings,
        registry: ModelRegistry,
        judge: Judge,
        progress: Progress = silent,
    ) -> None:
        self._problem = problem
        self._settings = settings
        self._registry = registry
        self._progress = progress
        self._judge = judge
        self._describer = Describer(problem, registry)
        self._ledger = Ledger(registry)

    def require_approver(self, approver: str) -> None:
        """See that somebody approves, where the stage asks for it, before anything else is done.

        Raises
        ------
        Unapproved
            Nobody does.
        """
        people_behind(self._settings, approver)

    def promote(
        self, dataset: Dataset, number: int | None = None, *, approver: str = "", patience: float = 0
    ) -> Promotion:
        """Ask the gate about a version that is in this stage's registry, and make it champion if all checks pass.

        Parameters
        ----------
        dataset
            The stage's own data.
        number
            A version; the newest one without it.
        approver
            Who approves, where the stage asks for somebody.
        patience
            For how many seconds to wait while somebody else promotes.

        Raises
        ------
        Unapproved
            The stage asks for an approver, and nobody approved.
        Locked
            Somebody else promotes.
        """
        return self._promote(dataset, lambda: number, approver, patience)

    def bring(self, dataset: Dataset, number: int | None = None, *, approver: str = "") -> Promotion:
        """Copy staging's version (its champion, if none is named) to prod, and do the same with the copy."""
        if self._settings.stage is not Stage.PROD:
            what = f"stage {self._settings.stage} takes no model from another stage"
            raise UserError(what, "Copy to prod alone: `starterkit promote --to prod`")

        def copied() -> int:
            with step(self._progress, "copy from staging") as note:
                version = arrive(self._registry, self._problem.name, number)
                note.text = f"{version}, a copy of {version.tags.get(COPIED_FROM)}"
            return version.number

        return self._promote(dataset, copied, approver)

    def bring_from(self, dataset: Dataset, bundle: Opened, *, approver: str = "") -> Promotion:
        """Make a version of a bundle's files, and do the same with it."""
        require_prod(self._settings)
        return self._promote(dataset, lambda: bring_in(self._registry, bundle, self._progress).version.number, approver)

    def rollback(self, number: int | None = None, *, reason: str, approver: str = "") -> Rollback:
        """Let an earlier champion (the one before, if none is named) serve again.

        Raises
        ------
        UnknownVersion
            The version never was champion, or there is none before.
        Refused
            Its files are gone, or do not answer.
        Unapproved, Locked
            As in `promote`.
        """
        if not reason.strip():
            raise UserError("a rollback needs a reason", "Say it with --reason")
        people = people_behind(self._settings, approver)
        with alone(self._registry, self._settings, people.who, self._progress) as lock:
            target, earlier = self._earlier(number), self._registry.champion()
            entry = self._entry("rollback", target, earlier, people, reason)
            with step(self._progress, "roll back") as note:
                try:
                    self._registry.open(target)
                except ContractError as error:
                    lock.require()
                    self._ledger.append(replace(entry, result="refused", reason=f"{reason}. Its files do not answer"))
                    mend = "Name another one; `starterkit history` shows them"
                    raise Refused(f"{target} cannot serve again: {error.what}", mend) from error
                self._move(lock, target, entry)
                note.text = f"{target} answers and serves again"
        return Rollback(target, earlier)

    def _promote(
        self, dataset: Dataset, choose: Callable[[], int | None], approver: str, patience: float = 0
    ) -> Promotion:
        people = people_behind(self._settings, approver)
        with alone(self._registry, self._settings, people.who, self._progress, patience) as lock:
            judged = self._judge.judge(dataset, choose())
            version, passed = judged.version, judged.decision.passed
            evidence = keep_evidence(self._registry, version, judged.record)
            self._registry.tag(version, {"gate": "passed" if passed else "refused"})
            self._describer.version(version, judged.decision.verdicts)
            # A check's own words stay out: they may repeat a value of a sensitive column.
            refused = ", ".join(verdict.check for verdict in judged.decision.refusals)
            reason = f"the gate refused it: {refused}" if refused else "the gate passed it"
            entry = self._entry("promote", version, judged.earlier, people, reason, evidence)
            if passed:
                self._move(lock, version, entry)
            else:
                lock.require()
                self._ledger.append(replace(entry, result="refused"))
        return Promotion(version, judged.decision, judged.earlier, judged.record)

    def _move(self, lock: PromotionLock, version: Version, entry: Entry) -> None:
        """Intent, alias, outcome. Killed anywhere, the old or the new version serves; `settle` writes what is missing.

        MLflow moves an alias whoever asks. So each step asks first whether the lock is still ours.
        """
        lock.require()
        self._ledger.append(replace(entry, phase="intent"))
        lock.require()
        self._registry.set_champion(version)
        self._ledger.append(replace(entry, result="done"))
        self._describer.model()

    def _entry(
        self, act: Act, version: Version, earlier: Version | None, people: People, reason: str, evidence: str = ""
    ) -> Entry:
        return Entry(
            act=act,
            phase="outcome",
            version=version.number,
            earlier=earlier.number if earlier else None,
            who=people.who,
            approver=people.approver,
            reason=reason,
            evidence=evidence or version.tags.get("evidence", ""),
            commit=version.tags.get("commit", ""),
            files=files_of(self._registry, version),
        )

    def _earlier(self, number: int | None) -> Version:
        """The version to go back to."""
        entries, versions = self._ledger.entries(), {one.number: one for one in self._registry.versions()}
        champion = self._registry.champion()
        now = champion.number if champion else None
        former = [one for one in champions(entries, versions.values()) if one in versions and one != now]
        if number is None:
            before = [one for one in way_here(entries, versions.values()) if one in former]
            if not before:
                what = f"registered model '{self._registry.model}' has no earlier champion"
                raise UnknownVersion(what, "`starterkit history` shows who served when")
            return versions[before[-1]]
        if number == now:
            raise UnknownVersion(f"{champion} serves already", "Name an earlier champion with --to")
        if number not in former:
            names = ", ".join(map(str, former)) or "none"
            what = f"version {number} of '{self._registry.model}' is no earlier champion that is still there"
            raise UnknownVersion(what, f"Name one of: {names}" if former else "There is none yet")
        return versions[number]
