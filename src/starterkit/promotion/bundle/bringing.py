"""Bringing a bundle in: its very files, as a version of prod's model on this process's server."""

from dataclasses import dataclass

from starterkit.errors import Refused, UserError
from starterkit.progress import Progress, silent, step
from starterkit.promotion.arriving import COPIED_FROM
from starterkit.promotion.bundle.manifest import MODEL_FOLDER, seal_all
from starterkit.promotion.bundle.opening import Opened
from starterkit.promotion.bundle.record import EVIDENCE, EVIDENCE_PLACE
from starterkit.registry import ModelRegistry, Version, address_of
from starterkit.scratch import scratch_folder
from starterkit.settings import Settings, Stage
from starterkit.tracking import Receiver, SentRun, fetch_model

BUNDLE = "bundle"
"""The tag of runs and versions that holds the SHA-256 of the manifest that they came with."""

_ITS_STAGES_OWN = ("gate", EVIDENCE, EVIDENCE_PLACE)


@dataclass(frozen=True)
class Arrival:
    """A version that came with a bundle; `new` unless an earlier call has brought it."""

    version: Version
    new: bool


def require_prod(settings: Settings) -> None:
    """A bundle goes to prod alone.

    Raises
    ------
    UserError
        The stage is another one.
    """
    if settings.stage is not Stage.PROD:
        what = f"a bundle goes to stage prod alone, and this is {settings.stage}"
        raise UserError(what, "Set KIT_STAGE=prod: code moves up to staging, and the model from there")


def bring_in(registry: ModelRegistry, found: Opened, progress: Progress = silent) -> Arrival:
    """Make a version of a bundle's files, which is nobody's champion yet. The same bundle makes one version.

    Killed half-way, it leaves no version; the next call removes what was left and begins anew.

    Parameters
    ----------
    registry
        Prod's versions, on the server to which the bundle goes.
    found
        A bundle that `opened` has checked.

    Raises
    ------
    Refused
        Another process brings it in right now, or the server gives back other files than it was given.
    """
    with step(progress, "bring it in") as note:
        receiver = Receiver(registry.connection, registry.model)
        receiver.clear(BUNDLE, found.digest)
        arrival = _earlier(registry, found) or _bring(registry, receiver, found)
        note.text = str(arrival.version) if arrival.new else f"{arrival.version}, which was here already"
    return arrival


def _earlier(registry: ModelRegistry, found: Opened) -> Arrival | None:
    for version in registry.versions():
        if version.tags.get(BUNDLE) == found.digest:
            _require_same(registry, address_of(version), str(version), found)
            return Arrival(version, new=False)
    return None


def _bring(registry: ModelRegistry, receiver: Receiver, found: Opened) -> Arrival:
    record, source = found.record, str(found.manifest)
    mark = {BUNDLE: found.digest, COPIED_FROM: source, "signed_by": found.key}
    sent = SentRun(
        name=f"from staging version {found.manifest.version}",
        tags=dict(record.run) | mark,
        metrics=record.metrics,
        files=found.run,
    )
    told = {key: value for key, value in record.version.items() if key not in _ITS_STAGES_OWN}
    told |= mark | {"staging_evidence": record.version.get(EVIDENCE, "")}
    with receiver.receive(sent, found.model) as (run, model_id):
        _require_same(registry, f"models:/{model_id}", "the server", found)  # before it is a version
        version = registry.register(run, model_id, told, f"A copy of {source}")
    return Arrival(version, new=True)


def _require_same(registry: ModelRegistry, address: str, owner: str, found: Opened) -> None:
    """The server gives back what the bundle holds, and nothing else."""
    with scratch_folder() as scratch:
        fetch_model(registry.connection, address, scratch)
        given = seal_all(scratch)
    prefix = f"{MODEL_FOLDER}/"
    sealed = {path.removeprefix(prefix): one for path, one in found.manifest.files.items() if path.startswith(prefix)}
    if given != sealed:
        name = min(set(given.items()) ^ set(sealed.items()), key=lambda item: item[0])[0]
        what = f"{owner} has another {name} than the bundle"
        raise Refused(what, "See who writes to MLflow's artifacts, delete that version, and bring the bundle in again")
