"""A version's way from staging to prod on one server: the very same files, as a version of prod's model."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

from starterkit.errors import Refused
from starterkit.files import scratch_folder
from starterkit.release.history import HEAD
from starterkit.settings import Stage
from starterkit.tracking.registry import ModelRegistry, Version, address_of

COPIED_FROM = "copied_from"
_ITS_STAGES_OWN = ("gate", "evidence", "evidence_place", HEAD)
"""Tags that are about the version in its own stage. The copy gets its own."""
_WRITTEN_AT_DOWNLOAD = "registered_model_meta"
"""MLflow's client writes the version's own name into what it downloads."""


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
        known = _digests(staging.fetch(source, _folder(scratch, "source")))
        copies = [version for version in registry.versions() if version.source == address_of(source)]
        for earlier in copies:
            if _digests(registry.fetch(earlier, _folder(scratch, f"copy-{earlier.number}"))) == known:
                return earlier
        copy = registry.copy(source, told, f"A copy of {source}")
        if _digests(registry.fetch(copy, _folder(scratch, "made"))) != known:
            registry.delete(copy)
            raise Refused(f"the copy of {source} has other files than {source}", "See who writes to MLflow's artifacts")
    return copy


def tags_in_prod(tags: Mapping[str, str], source: str) -> dict[str, str]:
    """What a version of prod says of itself that was brought from staging's `source`, which has these tags."""
    told = {key: value for key, value in tags.items() if key not in _ITS_STAGES_OWN}
    return told | {COPIED_FROM: source, "staging_evidence": tags.get("evidence", "")}


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


def _folder(scratch: Path, name: str) -> Path:
    made = scratch / name
    made.mkdir()
    return made


def _digests(folder: Path) -> dict[str, str]:
    files = [file for file in folder.rglob("*") if file.is_file() and file.name != _WRITTEN_AT_DOWNLOAD]
    return {str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
