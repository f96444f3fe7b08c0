"""A version's way to another server: one signed file that holds the model and what speaks for it.

Here is what a bundle is: its manifest, its record, the keys that sign it, and how it is written. Each process knows one
MLflow server, so another one brings it in (`importer.py`). See docs/promotion-two-servers.md.
"""

import binascii
import hashlib
import json
import os
import secrets
import shutil
from base64 import b64decode, b64encode
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from pydantic import TypeAdapter

from starterkit.contract import Contract, Lineage
from starterkit.data.dataset import ROWS_FILE
from starterkit.errors import Refused, SettingsError, UserError
from starterkit.files import keep_secret, scratch_folder, whole_file
from starterkit.progress import Progress, silent, step
from starterkit.serving.predictor import CONTRACT_FILE, Predictor
from starterkit.tracking.queries import fetch_file, fetch_model, look_up
from starterkit.tracking.registry import CONTRACT, ModelRegistry, Version, address_of, require_judged

# --- What a bundle holds, and what it is of: ``manifest.json``.

FORMAT = 1
MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "manifest.sig"
MODEL_FOLDER = "model"
RUN_FOLDER = "run"
RECORD_FILE = "record.json"
REFERENCE_FILE = "reference.json"
"""How inputs and answers were distributed in training, for the monitor of the stage that it goes to."""

MOST_BYTES = 4 * 1024**3
MOST_FILES = 1000
_SPECIAL = set('\\:*?"<>|')
_AGAIN = "Bundle the version again"


@dataclass(frozen=True)
class Sealed:
    """A file's size in bytes and its SHA-256."""

    size: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """A bundle's contents.

    `made` is when the version was registered, not when it was bundled: the same version makes the same bundle, byte
    for byte. `files` are all files beside the manifest and its signature, by their paths in the bundle.
    """

    model: str
    version: int
    stage: str
    commit: str
    made: str
    files: Mapping[str, Sealed]
    format: int = FORMAT

    def __str__(self) -> str:
        return f"{self.model} version {self.version}"

    def to_json(self) -> bytes:
        """The bytes that are signed."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> "Manifest":
        """Read a manifest whose signature is good. A trusted key can sign nonsense, too.

        Raises
        ------
        Refused
            It is no manifest, is of another format, or names a file where none may be.
        """
        try:
            said = json.loads(text)["format"]
            if said != FORMAT:
                what = f"the bundle has format {str(said)[:20]}, and this kit reads {FORMAT}"
                raise Refused(what, "Use the same version of the kit on both sides")
            manifest = TypeAdapter(cls).validate_json(text)
        except (ValueError, KeyError, TypeError, RecursionError):
            raise Refused("the bundle's manifest.json is no manifest", _AGAIN) from None
        for name, file in manifest.files.items():
            if not is_safe(name):
                raise Refused(f"the bundle has a file outside of its folders: {name[:80]!r}", _AGAIN)
            if file.size < 0:
                raise Refused(f"the bundle's manifest.json gives {name} no size", _AGAIN)
        if len(manifest.files) > MOST_FILES or sum(file.size for file in manifest.files.values()) > MOST_BYTES:
            what = f"the bundle holds more than {MOST_FILES} files or {MOST_BYTES // 1024**3} GB"
            raise Refused(what, "Such a model has to be moved by other means")
        return manifest


def is_safe(name: str) -> bool:
    """Whether a file of this name stays within the model's or the run's folder, on every system."""
    parts = name.split("/")
    in_folder = len(parts) > 1 and parts[0] in (MODEL_FOLDER, RUN_FOLDER)
    plain = all(part and part.rstrip(" .") == part and not set(part) & _SPECIAL for part in parts)
    return name == RECORD_FILE or (in_folder and plain and name.isprintable())


def seal_all(folder: Path) -> dict[str, Sealed]:
    """The files below a folder by their paths in it, sorted."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): _seal(path) for path in paths}


def _seal(path: Path) -> Sealed:
    with path.open("rb") as file:
        return Sealed(path.stat().st_size, hashlib.file_digest(file, "sha256").hexdigest())


# --- What MLflow says of a version and its run, as far as it goes to another server: ``record.json``.

_OF_A_RUN = ("task", "metric", "greater_is_better", "holdout_rows")
EVIDENCE = "evidence"
"""The tag of a version that holds the SHA-256 of its gate's evidence."""

EVIDENCE_PLACE = "evidence_place"
"""The tag that names the folder of its run in which the evidence is."""

_SENT = ("gate", EVIDENCE, EVIDENCE_PLACE, CONTRACT)


@dataclass(frozen=True)
class Record:
    """The tags of the version and of its run, and the run's metrics.

    Only tags that the kit itself writes: MLflow's own name the user, the repository's address and the ids of the
    server that they come from.
    """

    run: Mapping[str, str]
    version: Mapping[str, str]
    metrics: Mapping[str, float]

    @classmethod
    def of(cls, run: Mapping[str, str], version: Mapping[str, str], metrics: Mapping[str, float]) -> "Record":
        """What goes along of all that MLflow says.

        Raises
        ------
        KeyError, ValueError
            Version or run were not made by this kit.
        """
        return cls(
            run=Lineage.from_tags(run).to_tags() | {name: run[name] for name in _OF_A_RUN if name in run},
            version=Lineage.from_tags(version).to_tags() | {name: version[name] for name in _SENT if name in version},
            metrics=dict(metrics),
        )

    def to_json(self) -> bytes:
        return json.dumps(asdict(self), indent=1, sort_keys=True, ensure_ascii=False).encode() + b"\n"

    @classmethod
    def from_json(cls, text: bytes) -> "Record":
        """Read a record; tags that this kit would not send stay behind.

        Raises
        ------
        Refused
            It is no record.
        """
        try:
            read = TypeAdapter(cls).validate_json(text)
            return cls.of(read.run, read.version, read.metrics)
        except (ValueError, KeyError, TypeError):
            raise Refused("the bundle's record.json is no record", _AGAIN) from None


# --- The Ed25519 keys of bundles: who signs has the secret half, who trusts has the public one.

KEY_FILE = "secrets/KIT_PROMOTION__SIGNING_KEY"
_SEED_BYTES = 32
_ID_LETTERS = 16
_MAKE = "Run `starterkit keys` in the stage that signs, and write the line that it prints into config/prod.yaml"
_NO_KEY = SettingsError(
    "promotion.signing_key is no Ed25519 key: neither an open PEM nor the base64 of 32 bytes",
    f"Run `starterkit keys --new`, which writes one to {KEY_FILE}",
)


class SigningKey:
    """The secret half: a PEM without a password, or the base64 of the key's 32 bytes.

    Raises
    ------
    SettingsError
        It is neither.
    """

    def __init__(self, secret: str) -> None:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            if "-----BEGIN" in secret:
                key = load_pem_private_key(secret.encode(), None)
            else:
                key = Ed25519PrivateKey.from_private_bytes(b64decode(secret.strip(), validate=True))
        except (ValueError, TypeError, UnsupportedAlgorithm):  # what they say may repeat the secret
            raise _NO_KEY from None
        if not isinstance(key, Ed25519PrivateKey):
            raise _NO_KEY
        self._key = key

    @property
    def public(self) -> str:
        """The public half, in base64."""
        return b64encode(self._key.public_key().public_bytes_raw()).decode()

    @property
    def id(self) -> str:
        return key_id(self.public)

    def sign(self, content: bytes) -> bytes:
        """What stands in a bundle's ``manifest.sig``."""
        signature = b64encode(self._key.sign(content)).decode()
        return json.dumps({"key": self.id, "signature": signature}).encode() + b"\n"


def key_id(public: str) -> str:
    """What people call a key: the beginning of the SHA-256 of its public half."""
    return hashlib.sha256(b64decode(public)).hexdigest()[:_ID_LETTERS]


def make_key(root: Path, *, renew: bool = False) -> SigningKey:
    """Make a key in the ignored folder of secrets, unless there is one; with `renew`, the earlier one goes."""
    seed = b64encode(secrets.token_bytes(_SEED_BYTES)).decode()
    return SigningKey(keep_secret(root / KEY_FILE, seed, renew=renew))


def require_trust(content: bytes, signature: bytes, trusted: Iterable[str]) -> str:
    """See that a trusted key has signed this content; its id comes back.

    Raises
    ------
    Refused
        No key is trusted, another key has signed, or the signature is of other content.
    """
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    known = {key_id(public): public for public in trusted}
    if not known:
        raise Refused("promotion.trusted_keys is empty, and so nobody can tell who made the bundle", _MAKE)
    signer, signed = _read_signature(signature)
    if signer not in known:
        what = f"the bundle is signed with key {signer}, which promotion.trusted_keys does not name"
        raise Refused(what, f"Bundle the version again with a trusted key ({', '.join(known)}), or trust that one")
    try:
        Ed25519PublicKey.from_public_bytes(b64decode(known[signer])).verify(signed, content)
    except (InvalidSignature, ValueError):
        what = f"the bundle's manifest.json is not what key {signer} has signed"
        raise Refused(what, "Get the file again from who made it; somebody may have altered it") from None
    return signer


def _read_signature(text: bytes) -> tuple[str, bytes]:
    try:
        said = json.loads(text)
        signer, signed = str(said["key"]), b64decode(said["signature"], validate=True)
    except (ValueError, TypeError, KeyError, binascii.Error, RecursionError):
        raise Refused("the bundle's manifest.sig is no signature", _AGAIN) from None
    if len(signer) != _ID_LETTERS or not set(signer) <= set("0123456789abcdef"):  # it is shown to people
        raise Refused("the bundle's manifest.sig names no key", _AGAIN)
    return signer, signed


# --- Writing a bundle: a version that its gate passed, with what speaks for it, under a signature.

_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date that a zip file knows


@dataclass(frozen=True)
class Written:
    """A bundle on disk. `digest` is the SHA-256 of its manifest, and names the bundle; `key` is the signer's id."""

    file: Path
    manifest: Manifest
    digest: str
    key: str


def write_bundle(
    registry: ModelRegistry, version: Version, key: SigningKey, file: Path, progress: Progress = silent
) -> Written:
    """Write a version with its run's record into one signed file. An earlier bundle of that name is replaced.

    Raises
    ------
    UserError
        `file` is something else than a bundle, or cannot be written there.
    Refused
        The gate has not passed the version, or its run is not whole.
    ContractError
        The version's files are not whole.
    """
    _require_room(file)
    if version.tags.get("gate") != "passed":
        what = f"{version} has not passed its gate, and only what has is bundled"
        raise Refused(what, f"Ask it: `starterkit promote --version {version.number}`")
    with scratch_folder("bundle") as folder:
        with step(progress, "fetch the version") as note:
            contract = _fetch(registry, version, folder)
            note.text = str(version)
        with step(progress, "bundle") as note:
            files = seal_all(folder)
            manifest = Manifest(
                model=version.model,
                version=version.number,
                stage=contract.lineage.stage,
                commit=contract.lineage.commit,
                made=f"{version.created:%Y-%m-%dT%H:%M:%SZ}",
                files=files,
            )
            text = manifest.to_json()
            Manifest.from_json(text)  # the other side asks the same
            _write(file, folder, {MANIFEST_FILE: text, SIGNATURE_FILE: key.sign(text)}, sorted(files))
            note.text = f"{len(files)} files, {file.stat().st_size / 1e6:.1f} MB, signed with key {key.id}"
    return Written(file, manifest, hashlib.sha256(text).hexdigest(), key.id)


def _fetch(registry: ModelRegistry, version: Version, folder: Path) -> Contract:
    """All that goes into the bundle, below `folder`."""
    connection = registry.connection
    model, run = folder / MODEL_FOLDER, folder / RUN_FOLDER
    run.mkdir()
    fetch_model(connection, address_of(version), model)
    Predictor(model)  # it opens, and answers as it should
    contract = Contract.from_json((model / CONTRACT_FILE).read_bytes())
    record = look_up(connection, version.run)
    if record is None or fetch_file(connection, version.run, ROWS_FILE, run) is None:
        what = f"the run of {version} is gone, or has no record of its rows: no gate could judge it"
        raise Refused(what, "Train a new version")
    fetch_file(connection, version.run, REFERENCE_FILE, run)  # older ones have none, and are not monitored
    require_judged(version, model)
    place = version.tags.get(EVIDENCE_PLACE, "")  # of the decision that counts, not of all that were asked for
    path = f"{RUN_FOLDER}/{place}"
    if not is_safe(path) or fetch_file(connection, version.run, place, (folder / path).parent) is None:
        hint = f"Ask again: `starterkit promote --version {version.number}`"
        raise Refused(f"the gate's evidence about {version} is gone", hint)
    try:
        sent = Record.of(record.tags, version.tags, record.metrics)
    except (KeyError, ValueError):
        raise Refused(f"{version} or its run was not made by this kit", "Train a new version") from None
    (folder / RECORD_FILE).write_bytes(sent.to_json())
    return contract


def _write(file: Path, folder: Path, first: Mapping[str, bytes], paths: list[str]) -> None:
    """The same content makes the same bytes: sorted, without dates, and not compressed, which zlibs do differently."""
    with whole_file(file) as new, ZipFile(new, "w", ZIP_STORED) as bundle:
        for name, content in first.items():
            bundle.writestr(_entry(name), content)
        for name in paths:
            with (folder / name).open("rb") as source, bundle.open(_entry(name), "w", force_zip64=True) as target:
                shutil.copyfileobj(source, target, 1 << 20)


def _entry(name: str) -> ZipInfo:
    entry = ZipInfo(name, _EPOCH)
    entry.create_system = 3  # what it would be depends on the machine
    entry.external_attr = 0o100644 << 16
    return entry


def _require_room(file: Path) -> None:
    if not file.parent.is_dir():
        raise UserError(f"there is no folder {file.parent}", "Make it, or name another file")
    if not os.access(file.parent, os.W_OK):
        raise UserError(f"{file.parent} cannot be written", "Name a file in a folder of yours")
    if file.exists() and not _is_bundle(file):
        raise UserError(f"{file} is there, and is no bundle", "Name a new file")


def _is_bundle(file: Path) -> bool:
    try:
        with ZipFile(file) as found:
            return {MANIFEST_FILE, SIGNATURE_FILE} <= set(found.namelist())
    except (OSError, BadZipFile):
        return False
