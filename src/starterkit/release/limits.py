"""By which rules a version was judged, held against those that are committed."""

import json

from starterkit.errors import Refused
from starterkit.release.lineage.provenance import git
from starterkit.settings import (
    GATEKEEPERS,
    Rules,
    Settings,
    Stage,
    below_floor,
    files_of,
    in_words,
    looser,
    rules_in,
    rules_of,
    rules_of_files,
)


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
