"""`Promoter`: a version that the gate passed becomes champion, from this stage, from staging or from a bundle."""

import json
from collections.abc import Callable
from typing import TypedDict, Unpack

from starterkit.data.dataset import Dataset
from starterkit.errors import Refused, UserError
from starterkit.files import scratch_folder
from starterkit.problem import Problem
from starterkit.progress import Progress, silent, step
from starterkit.release.alias import ChampionAlias, alone, approval_by
from starterkit.release.bundle import seal_all
from starterkit.release.descriptions import Describer, Subject
from starterkit.release.history import COPIED_FROM, Ledger, tags_in_prod
from starterkit.release.importer import Opened, bring_in, require_prod
from starterkit.release.judgement import Judge, Promotion, keep_evidence
from starterkit.release.provenance import git
from starterkit.release.trust import evidence_doubts, read_evidence, require_whole, version_doubts
from starterkit.settings import Settings, Stage
from starterkit.settings.floors import (
    GATEKEEPERS,
    Rules,
    below_floor,
    files_of,
    in_words,
    looser,
    rules_in,
    rules_of,
    rules_of_files,
)
from starterkit.tracking.registry import CONTRACT, SIGNATURE, ModelRegistry, Version, address_of
from starterkit.verdict import Frozen


class How(TypedDict, total=False):
    """What is said with a promotion.

    Attributes
    ----------
    approver, explanation
        Who approves, where the stage asks for somebody, and why figures are true that are too good, or odd.
    patience
        For how many seconds to wait while somebody else promotes.
    frozen
        Where the data is a retraining's, whose holdout is of recent rows: what guards it, and the stage's own data.
    shadow
        Let it be the challenger in the shadow instead.
    """

    approver: str
    explanation: str
    patience: float
    frozen: tuple[Frozen, Dataset] | None
    shadow: bool


class Promoter:
    """Makes champions of one problem in one stage."""

    def __init__(
        self, problem: Problem, settings: Settings, registry: ModelRegistry, judge: Judge, progress: Progress = silent
    ) -> None:
        self._problem = problem
        self._settings = settings
        self._registry = registry
        self._progress = progress
        self._judge = judge
        self._describer = Describer(Subject.of(problem), registry)
        self._alias = ChampionAlias(registry, settings, progress)

    def promote(self, dataset: Dataset, number: int | None = None, **how: Unpack[How]) -> Promotion:
        """Ask the gate about a version of this stage (the newest, if none is named); it is champion if all checks pass.

        Raises
        ------
        Unapproved
            The stage asks for an approver, and nobody approved.
        Locked
            Somebody else promotes.
        """
        return self._promote(dataset, lambda: number, **how)

    def bring(self, dataset: Dataset, number: int | None = None, **how: Unpack[How]) -> Promotion:
        """Copy staging's version (its champion, if none is named) to prod, and do the same with the copy."""
        if self._settings.stage is not Stage.PROD:
            what = f"stage {self._settings.stage} takes no model from another stage"
            raise UserError(what, "Copy to prod alone: `starterkit promote --to prod`")

        def copied() -> int:
            with step(self._progress, "copy from staging") as note:
                self._require_stagings_limits(number)
                version = copy_version(self._registry, self._problem.name, number)
                note.text = f"{version}, a copy of {version.tags.get(COPIED_FROM)}"
            return version.number

        return self._promote(dataset, copied, **how)

    def bring_from(self, dataset: Dataset, bundle: Opened, **how: Unpack[How]) -> Promotion:
        """Make a version of a bundle's files, and do the same with it."""
        require_prod(self._settings)
        self._require_limits(bundle.evidence, str(bundle.manifest))

        def brought() -> int:
            return bring_in(self._registry, bundle, self._progress).number

        return self._promote(dataset, brought, **how)

    def _promote(
        self,
        dataset: Dataset,
        choose: Callable[[], int | None],
        approver: str = "",
        explanation: str = "",
        patience: float = 0,
        frozen: tuple[Frozen, Dataset] | None = None,
        shadow: bool = False,
    ) -> Promotion:
        approval = approval_by(self._settings, approver)
        require_committed_rules(self._settings)
        with alone(self._registry, self._settings, approval.who, self._progress, patience) as lock:
            require_whole(Ledger(self._registry), self._registry.model)
            judged = self._judge.judge(dataset, choose(), explanation=explanation, frozen=frozen)
            version, passed = judged.version, judged.decision.passed
            evidence = keep_evidence(self._registry, version, judged.record)
            signature = self._registry.sign(version, judged.contract, evidence) if passed else ""
            tags = {CONTRACT: judged.contract, "gate": "passed" if passed else "refused"}
            if signature or SIGNATURE in version.tags:
                tags[SIGNATURE] = signature
            self._registry.tag(version, tags)
            self._describer.version(version, judged.decision.verdicts)
            # A check's own words stay out: they may repeat a value of a sensitive column.
            refused = ", ".join(verdict.check for verdict in judged.decision.refusals)
            reason = f"the gate refused it: {refused}" if refused else "the gate passed it"
            reason += f"; said of it: {explanation}" if explanation else ""
            reason += f"; retrained, and judged on recent rows, for {frozen[0].why}" if frozen else ""
            limits = rules_of(self._settings.gate, self._settings.export)
            told = {"evidence": evidence, "contract": judged.contract, "signature": signature, "limits": limits}
            entry = self._alias.entry("promote", version, judged.earlier, approval, reason, **told)
            if passed and shadow:
                self._alias.challenge(lock, version, entry)
            elif passed:
                self._alias.move(lock, version, entry)
                self._describer.model()
            else:
                self._alias.refuse(lock, entry)
        return Promotion(version, judged.decision, judged.earlier, judged.record, judged.contract, shadow)

    def _require_stagings_limits(self, number: int | None) -> None:
        """What staging's version was judged by is in its evidence, which is the one that staging's history names."""
        staging = ModelRegistry(self._registry.connection, Stage.STAGING, self._problem.name)
        version, ledger = _gated(staging, number), Ledger(staging)
        require_whole(ledger, staging.model)
        entries = ledger.entries()
        for doubt in (*version_doubts(staging, entries, version), *evidence_doubts(staging, entries, version)):
            if not doubt.before:
                raise Refused(doubt.what, doubt.hint)
        self._require_limits(read_evidence(staging, version) or b"", str(version))

    def _require_limits(self, evidence: bytes, version: str) -> None:
        """Staging's gate was no looser than its committed files are."""
        require_rules(evidence, rules_of_files(self._settings.root, Stage.STAGING), version)


# --- A version's way from staging to prod on one server: the very same files, as a version of prod's model.


def copy_version(registry: ModelRegistry, name: str, number: int | None = None) -> Version:
    """Copy staging's version (its champion, if none is named) to this stage's model; an earlier copy is used again.

    Raises
    ------
    Refused
        Staging has none that its gate passed, or the copy is not what was copied.
    """
    staging = ModelRegistry(registry.connection, Stage.STAGING, name)
    source = _gated(staging, number)
    told = tags_in_prod(source.tags, str(source))
    with scratch_folder() as scratch:
        known = seal_all(staging.fetch(source, scratch / "source"))
        copies = [version for version in registry.versions() if version.source == address_of(source)]
        for earlier in copies:
            if seal_all(registry.fetch(earlier, scratch / f"copy-{earlier.number}")) == known:
                return earlier
        copy = registry.copy(source, told, f"A copy of {source}")
        if seal_all(registry.fetch(copy, scratch / "made")) != known:
            registry.delete(copy)
            raise Refused(f"the copy of {source} has other files than {source}", "See who writes to MLflow's artifacts")
    return copy


def _gated(staging: ModelRegistry, number: int | None) -> Version:
    source = staging.version(number) if number is not None else staging.champion()
    if source is None:
        what = f"registered model '{staging.model}' has no champion on this server"
        raise Refused(what, "Let staging's gate pass one first: `KIT_STAGE=staging starterkit run`")
    again = f"`KIT_STAGE=staging starterkit promote --version {source.number}` asks it"
    if source.tags.get("gate") != "passed":
        raise Refused(f"{source} has not passed staging's gate", again)
    if not source.tags.get("evidence"):
        raise Refused(f"{source} passed staging's gate before that kept its evidence", again)
    if source.tags.get("stage") != Stage.STAGING:
        what = f"{source} was trained in stage {source.tags.get('stage', 'unknown')}, and only staging's models move on"
        raise Refused(what, "Train it in staging")
    return source


# --- By which rules a version was judged, held against those that are committed.


def require_committed_rules(settings: Settings) -> None:
    """See that staging and prod judge by no looser rules than their committed files say. Without git, the files say it.

    Raises
    ------
    Refused
        A file was made looser and not committed.
    """
    stage, root = settings.stage, settings.root
    if stage not in GATEKEEPERS:
        return
    texts = {name: git(root, "show", f"HEAD:./{name}") for name in files_of(stage)}
    committed = {name: text for name, text in texts.items() if text is not None}
    if len(committed) < len(texts):  # no repository, or no commit yet
        return
    hint = f"Commit {' and '.join(files_of(stage))}, so that somebody can look at it, or take the change back"
    for key, said, theirs in looser(rules_of(settings.gate, settings.export), rules_of_files(root, stage, committed)):
        what = f"{key} is {in_words(said)}, looser than the committed {in_words(theirs)}"
        raise Refused(f"{what}, by which stage {stage} judges", hint)


def require_rules(evidence: bytes, committed: Rules, version: str) -> None:
    """See that a version was judged by no looser rules than staging's committed files, nor than any gatekeeper takes.

    Raises
    ------
    Refused
        It was, or its evidence does not say.
    """
    hint = f"Let staging judge it again: `KIT_STAGE=staging starterkit promote --version {version.split()[-1]}`"
    try:
        rules = rules_in(json.loads(evidence))
    except (ValueError, AttributeError, RecursionError):
        rules = {}
    if not rules:
        raise Refused(f"the evidence about {version} does not say by which limits it was judged", hint)
    for key, said, takes in below_floor(rules):
        raise Refused(f"{version} was judged with {key} {in_words(said)}, and {Stage.STAGING} takes {takes}", hint)
    for key, said, theirs in looser(rules, committed):
        what = f"{version} was judged with {key} {in_words(said)}, staging's committed files say {in_words(theirs)}"
        raise Refused(what, hint)
