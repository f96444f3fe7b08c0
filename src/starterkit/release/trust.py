"""Whether a version is the one that its gate judged, and the champion the one that the history knows.

See docs/decisions/0025-trust.md. It loads nothing that the serving image does not have.
"""

import hashlib
from collections.abc import Iterable, Sequence
from hmac import compare_digest
from typing import NamedTuple

from starterkit.errors import ContractError, Refused
from starterkit.files import scratch_folder
from starterkit.release.history import COPIED_FROM, Entry, Ledger, champions, serving
from starterkit.settings import GATEKEEPERS, Stage
from starterkit.tracking.queries import read_file
from starterkit.tracking.registry import BUNDLE, CHAMPION, CONTRACT, SIGNATURE, ModelRegistry, Version

_EVIDENCE_FILE = "evidence.json"


class Doubt(NamedTuple):
    """Why a version may not be what it is taken for, and the command that settles it.

    `before` says that an earlier kit made it, which kept no digest to compare with: a word to people, and no refusal.
    """

    what: str
    hint: str
    before: bool = False


def champion_doubts(registry: ModelRegistry, champion: Version) -> list[Doubt]:
    """Why the champion may be none: what the gate, the history, and the digests in it say against it."""
    entries = Ledger(registry).entries()
    return [*_alias_doubts(registry, entries, champion), *version_doubts(registry, entries, champion)]


def history_doubts(registry: ModelRegistry) -> list[Doubt]:
    """What speaks against the champion, against its files, and against the evidence of every version that served."""
    entries, versions = Ledger(registry).entries(), {one.number: one for one in registry.versions()}
    champion = versions.get(registry.aliases().get(CHAMPION, 0))
    found = champion_doubts(registry, champion) if champion else []
    if champion:
        try:
            with scratch_folder() as folder:
                registry.fetch(champion, folder)
        except ContractError as error:
            found.append(Doubt(error.what, error.hint))
    for number in champions(entries):
        if number in versions:
            found += evidence_doubts(registry, entries, versions[number])
    return found


def version_doubts(registry: ModelRegistry, entries: Iterable[Entry], version: Version) -> list[Doubt]:
    """What the history says against a version's tags, without a look at its files: `ModelRegistry.fetch` has that."""
    known = judged(entries, version)
    if known is None:
        return []  # where such a one is champion, the alias is in doubt
    told, tagged = known.contract, version.tags.get(CONTRACT, "")
    if told != tagged:
        what = f"{version} has another digest of its contract.json in its tags than the history's entry {known.number}"
        return [Doubt(what, f"See who writes to MLflow's tags; {again(version)} asks the gate about what is there")]
    expected = registry.sign(version, told, known.evidence)
    signatures = known.signature, version.tags.get(SIGNATURE, "")
    if expected and not all(compare_digest(expected.encode(), one.encode()) for one in signatures):
        what = f"{version} does not have the signature of this stage's promotion.version_key"
        hint = f"See who writes to MLflow; if the key is new, {again(version)} signs it once the gate has passed it"
        return [Doubt(what, hint)]
    if told:
        return []
    what = f"{version} was judged before the kit kept the digest of what it judges"
    return [Doubt(what, f"{again(version)} writes it down", before=True)]


def judged(entries: Iterable[Entry], version: Version) -> Entry | None:
    """The last entry of the gate's word about a version; an intent has it, too."""
    found = [one for one in entries if one.act == "promote" and one.version == version.number]
    return found[-1] if found else None


def _alias_doubts(registry: ModelRegistry, entries: Sequence[Entry], champion: Version) -> Iterable[Doubt]:
    gate, told = champion.tags.get("gate", "not asked"), serving(entries)
    if entries and entries[-1].phase == "intent" and entries[-1].version == champion.number:
        told = champion.number  # at work, or killed half-way: `doctor --mend` settles that
    back = f"; `starterkit rollback --to {told} --reason …` gives the alias back" if told else ""
    either = f"{again(champion)} asks the gate{back}"
    if gate != "passed":
        yield Doubt(f"{champion} is {CHAMPION}, and its gate has not passed it: {gate}", either)
    if told != champion.number:
        knows = f"version {told}" if told else "no champion"
        what = f"the alias '{CHAMPION}' points at {champion}, and the history knows {knows}: it was moved by hand"
        yield Doubt(what, either)


def again(version: Version) -> str:
    """The command that asks the gate about a version anew."""
    if not version.model.startswith(f"{Stage.PROD}."):
        return f"`starterkit promote --version {version.number}`"
    if BUNDLE in version.tags:
        return "`starterkit promote --to prod --from FILE --approver NAME`"
    source = version.tags.get(COPIED_FROM, "").rpartition(" ")[2]
    named = f" --version {source}" if source.isdigit() else ""
    return f"`starterkit promote --to prod{named} --approver NAME`"


def challenger_doubts(registry: ModelRegistry, version: Version) -> list[Doubt]:
    """Why a version may not come into the shadow: the gate has not passed it, or it is not what the gate passed."""
    entries, gate = Ledger(registry).entries(), version.tags.get("gate", "not asked")
    if gate != "passed" or judged(entries, version) is None:
        word = gate if gate != "passed" else "the history knows of no such word"
        hint = f"`starterkit promote --shadow --version {version.number}` asks it"
        return [Doubt(f"{version} does not come into the shadow: its gate has not passed it: {word}", hint)]
    return version_doubts(registry, entries, version)


def require_trust(registry: ModelRegistry, version: Version, *, answers: bool = True) -> list[str]:
    """See that staging and prod serve what their gate passed; what is only worth a word comes back, a line each.

    `answers` is False for a challenger, which is scored and heard by nobody.

    Raises
    ------
    Refused
        In staging or prod something speaks against the version.
    """
    if registry.stage not in GATEKEEPERS:
        return []
    doubts = champion_doubts(registry, version) if answers else challenger_doubts(registry, version)
    for doubt in doubts:
        if not doubt.before:
            raise Refused(doubt.what, doubt.hint)
    return [f"{doubt.what}. {doubt.hint}" for doubt in doubts]


def require_whole(ledger: Ledger, model: str) -> None:
    """See that the history is as it was written, before anything is added to it that relies on it.

    Raises
    ------
    Refused
        Somebody changed it.
    """
    if broken := ledger.find_break():
        hint = "`starterkit history` shows what is left; `starterkit history --settle REASON` goes on from there"
        raise Refused(f"the history of {model} is broken: {broken}", hint)


# --- The evidence, held against the digests that history and tags have of it.


def read_evidence(registry: ModelRegistry, version: Version) -> bytes | None:
    """The `evidence.json` on which a version's gate decided; None where it is gone."""
    place = version.tags.get("evidence_place", "")
    return read_file(registry.connection, version.run, f"{place}/{_EVIDENCE_FILE}") if place else None


def evidence_doubts(registry: ModelRegistry, entries: Iterable[Entry], version: Version) -> list[Doubt]:
    """What speaks against the evidence of a version's gate."""
    known = judged(entries, version)
    if known is None or not known.evidence:
        return []
    hint = f"See who writes to MLflow's artifacts; {again(version)} asks the gate anew and keeps what it says"
    if version.tags.get("evidence", "") != known.evidence:
        what = f"{version} names other evidence in its tags than the history's entry {known.number}"
        return [Doubt(what, hint)]
    kept = read_evidence(registry, version)
    if kept is None:
        return [Doubt(f"the evidence about {version} is gone, and the history's entry {known.number} names it", hint)]
    if hashlib.sha256(kept).hexdigest() != known.evidence:
        what = f"evidence.json of {version} is not the one that the history's entry {known.number} names: it was edited"
        return [Doubt(what, hint)]
    return []
