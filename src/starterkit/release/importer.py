"""A bundle is opened, and brought in as a version of prod's model on this process's server."""

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from starterkit.contract import Contract
from starterkit.data.dataset import ROWS_FILE
from starterkit.errors import Refused, UserError
from starterkit.files import scratch_folder
from starterkit.progress import Progress, silent, step
from starterkit.release.bundle import (
    EVIDENCE,
    EVIDENCE_PLACE,
    MANIFEST_FILE,
    MODEL_FOLDER,
    MOST_FILES,
    RECORD_FILE,
    RUN_FOLDER,
    SIGNATURE_FILE,
    Manifest,
    Record,
    Sealed,
    require_trust,
    seal_all,
)
from starterkit.release.history import COPIED_FROM, tags_in_prod
from starterkit.serving.predictor import CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE, Predictor
from starterkit.settings import Settings, Stage
from starterkit.tracking.queries import fetch_model
from starterkit.tracking.receiver import Receiver
from starterkit.tracking.registry import BUNDLE, CONTRACT, ModelRegistry, Version, address_of

# --- Opening a bundle: nothing of it is believed before its signature, its digests and its contract agree.

_NEEDED = (
    RECORD_FILE,
    f"{RUN_FOLDER}/{ROWS_FILE}",
    *(f"{MODEL_FOLDER}/{name}" for name in ("MLmodel", CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE)),
)
_MOST_MANIFEST = 1_000_000
_MOST_SIGNATURE = 1000
_BLOCK = 1 << 20
_AGAIN = "Get the file again from who made it; somebody may have altered it"
_ENCRYPTED = 0x1


@dataclass(frozen=True)
class Opened:
    """A bundle that is what its signer signed. `model` and `run` hold its files; `digest` names it."""

    manifest: Manifest
    digest: str
    key: str
    record: Record
    model: Path
    run: Path

    @property
    def evidence(self) -> bytes:
        """The `evidence.json` on which staging's gate decided."""
        return (self.run / self.record.version[EVIDENCE_PLACE] / "evidence.json").read_bytes()


@contextmanager
def opened(file: Path, name: str, trusted: Iterable[str], progress: Progress = silent) -> Iterator[Opened]:
    """A bundle's files in a scratch folder, after every check that needs no server.

    Bundles of the public keys in `trusted` are taken.

    Raises
    ------
    UserError
        There is no such file, or it is no bundle.
    Refused
        It is not what a trusted key has signed, or not a version of this problem that staging's gate passed.
    ContractError
        The model does not open, or does not answer here as it did there.
    """
    with scratch_folder("bundle") as folder:
        with step(progress, "check the bundle") as note:
            found = _open(file, name, trusted, folder)
            _require_whole(found, name)
            note.text = f"{found.manifest}, signed with key {found.key}"
        yield found


def _open(file: Path, name: str, trusted: Iterable[str], folder: Path) -> Opened:
    hint = "Name the file that `starterkit bundle` wrote"
    try:
        with ZipFile(file) as bundle:
            entries = _entries(bundle)
            text = _read(bundle, entries[MANIFEST_FILE], _MOST_MANIFEST)
            key = require_trust(text, _read(bundle, entries[SIGNATURE_FILE], _MOST_SIGNATURE), trusted)
            manifest = Manifest.from_json(text)
            _require_origin(manifest, name)
            _require_listed(manifest, entries)
            for path, sealed in manifest.files.items():
                _unpack(bundle, entries[path], sealed, folder / path)
    except FileNotFoundError:
        raise UserError(f"there is no file {file}", hint) from None
    except IsADirectoryError:
        raise UserError(f"{file} is a folder", hint) from None
    except (BadZipFile, EOFError, NotImplementedError, UnicodeDecodeError):
        raise UserError(f"{file} is no bundle, or not a whole one", f"{hint}, or copy it again") from None
    return Opened(
        manifest=manifest,
        digest=hashlib.sha256(text).hexdigest(),
        key=key,
        record=Record.from_json((folder / RECORD_FILE).read_bytes()),
        model=folder / MODEL_FOLDER,
        run=folder / RUN_FOLDER,
    )


def _entries(bundle: ZipFile) -> Mapping[str, ZipInfo]:
    if any(entry.header_offset < 0 for entry in bundle.infolist()):  # the system refuses to look there
        raise BadZipFile
    entries = {entry.filename: entry for entry in bundle.infolist()}
    if not {MANIFEST_FILE, SIGNATURE_FILE} <= entries.keys():
        raise UserError(
            f"{bundle.filename} is no bundle: it has no manifest.json with a signature",
            "Name the file that `starterkit bundle` wrote",
        )
    if len({name.casefold() for name in entries}) < len(bundle.infolist()):
        raise Refused("the bundle holds a file twice", _AGAIN)
    if len(entries) > MOST_FILES + 2:
        raise Refused(f"the bundle holds more than {MOST_FILES} files", _AGAIN)
    return entries


def _require_origin(manifest: Manifest, name: str) -> None:
    if manifest.stage != Stage.STAGING:
        what = f"the bundle holds {manifest}, which was trained in stage {manifest.stage}"
        raise Refused(what, "Only what staging's gate has passed goes to prod: bundle it with KIT_STAGE=staging")
    if manifest.model != f"{Stage.STAGING}.{name}":
        what = f"the bundle holds {manifest}, and this project's model is {Stage.STAGING}.{name}"
        raise Refused(what, "Name a bundle of this project, or give the command in the other one")


def _require_listed(manifest: Manifest, entries: Mapping[str, ZipInfo]) -> None:
    given = entries.keys() - {MANIFEST_FILE, SIGNATURE_FILE}
    if unlisted := given - manifest.files.keys():
        raise Refused(f"the bundle holds {min(unlisted)[:80]!r}, which its manifest does not list", _AGAIN)
    if missing := manifest.files.keys() - given:
        raise Refused(f"the bundle lacks {min(missing)}", _AGAIN)
    if needed := set(_NEEDED) - given:
        raise Refused(f"the bundle lacks {min(needed)}, without which no version is whole", "Bundle the version again")


def _read(bundle: ZipFile, entry: ZipInfo, most: int) -> bytes:
    _require_plain(entry)
    if entry.file_size > most:
        raise Refused(f"the bundle's {entry.filename} is larger than {most:,} bytes", _AGAIN)
    with bundle.open(entry) as content:
        return content.read(most)


def _unpack(bundle: ZipFile, entry: ZipInfo, sealed: Sealed, to: Path) -> None:
    """Write a file as its manifest has it, and never more bytes: zipfile reads no more than an entry says it has."""
    _require_plain(entry)
    altered = Refused(f"{entry.filename} in the bundle is not the file that was signed", _AGAIN)
    if entry.file_size != sealed.size:
        raise altered
    to.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    try:
        with bundle.open(entry) as content, to.open("wb") as written:
            while block := content.read(_BLOCK):
                digest.update(block)
                written.write(block)
    except (BadZipFile, EOFError):  # a checksum, a header that differs from the list at the end, or bytes that lack
        raise altered from None
    if digest.hexdigest() != sealed.sha256:
        raise altered


def _require_plain(entry: ZipInfo) -> None:
    """As the kit writes them: what is not compressed cannot burst."""
    if entry.compress_type != ZIP_STORED or entry.flag_bits & _ENCRYPTED:
        what = f"{entry.filename[:80]!r} in the bundle is compressed or encrypted, which no bundle's files are"
        raise Refused(what, "Name the very file that `starterkit bundle` wrote, not one that was packed again")


def _require_whole(found: Opened, name: str) -> None:
    """The parts are of one version, its gate has passed it, and it answers on this machine, too."""
    predictor = Predictor(found.model)
    contract: Contract = predictor.contract
    manifest, again = found.manifest, "Bundle the version again"
    if contract.problem != name:
        raise Refused(f"the bundle's model is of problem '{contract.problem}', not '{name}'", again)
    if (contract.lineage.stage, contract.lineage.commit) != (manifest.stage, manifest.commit):
        raise Refused("the bundle's contract.json and its manifest.json tell of different trainings", again)
    tags = contract.lineage.to_tags()
    if any(found.record.version.get(key) != value for key, value in tags.items() if key in ("run", "data_digest")):
        raise Refused("the bundle's contract.json and its record.json tell of different trainings", again)
    if found.record.version.get(CONTRACT, predictor.digest) != predictor.digest:
        raise Refused("the bundle's contract.json is not the one that staging's gate judged", again)
    if found.record.version.get("gate") != "passed":
        raise Refused(f"{manifest} has not passed staging's gate", again)
    evidence = found.record.version.get(EVIDENCE)
    if not evidence or evidence != _digest_of_evidence(found):
        raise Refused("the evidence in the bundle is not what the version's gate has left", again)


def _digest_of_evidence(found: Opened) -> str:
    path = f"{RUN_FOLDER}/{found.record.version.get(EVIDENCE_PLACE)}/evidence.json"
    sealed = found.manifest.files.get(path)
    return sealed.sha256 if sealed else ""


# --- Bringing a bundle in: its very files, as a version of prod's model on this process's server.


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


def bring_in(registry: ModelRegistry, found: Opened, progress: Progress = silent) -> Version:
    """Make a version of a bundle that is `opened`, nobody's champion yet. The same bundle makes one version.

    Killed half-way, it leaves no version; the next call removes what was left and begins anew.

    Raises
    ------
    Refused
        Another process brings it in right now, or the server gives back other files than it was given.
    """
    with step(progress, "bring it in") as note:
        receiver = Receiver(registry.connection, registry.model)
        receiver.clear(BUNDLE, found.digest)
        earlier = _earlier(registry, found)
        version = earlier or _bring(registry, receiver, found)
        note.text = f"{version}, which was here already" if earlier else str(version)
    return version


def _earlier(registry: ModelRegistry, found: Opened) -> Version | None:
    for version in registry.versions():
        if version.tags.get(BUNDLE) == found.digest:
            _require_same(registry, address_of(version), str(version), found)
            return version
    return None


def _bring(registry: ModelRegistry, receiver: Receiver, found: Opened) -> Version:
    record, source = found.record, str(found.manifest)
    mark = {BUNDLE: found.digest, COPIED_FROM: source, "signed_by": found.key}
    name, tags = f"from staging version {found.manifest.version}", dict(record.run) | mark
    told = tags_in_prod(record.version, source) | mark
    with receiver.receive(name, tags, record.metrics, found.run, found.model) as (run, model_id):
        _require_same(registry, f"models:/{model_id}", "the server", found)  # before it is a version
        return registry.register(run, model_id, told, f"A copy of {source}")


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
