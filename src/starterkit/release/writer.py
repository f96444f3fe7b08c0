"""Writing a bundle: a version that its gate passed, with what speaks for it, under a signature."""

import hashlib
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from starterkit.contract import Contract
from starterkit.data.dataset import ROWS_FILE
from starterkit.errors import Refused, UserError
from starterkit.files import scratch_folder, whole_file
from starterkit.progress import Progress, silent, step
from starterkit.release.bundle import (
    EVIDENCE_PLACE,
    MANIFEST_FILE,
    MODEL_FOLDER,
    RECORD_FILE,
    RUN_FOLDER,
    SIGNATURE_FILE,
    Manifest,
    Record,
    SigningKey,
    is_safe,
    seal_all,
)
from starterkit.serving.predictor import CONTRACT_FILE, Predictor
from starterkit.tracking.queries import fetch_file, fetch_model, look_up
from starterkit.tracking.registry import ModelRegistry, Version, address_of, require_judged

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
        raise Refused(what, f"Ask it: {_ask(version)}")
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
    require_judged(version, model)
    place = version.tags.get(EVIDENCE_PLACE, "")  # of the decision that counts, not of all that were asked for
    path = f"{RUN_FOLDER}/{place}"
    if not is_safe(path) or fetch_file(connection, version.run, place, (folder / path).parent) is None:
        raise Refused(f"the gate's evidence about {version} is gone", f"Ask again: {_ask(version)}")
    try:
        sent = Record.of(record.tags, version.tags, record.metrics)
    except (KeyError, ValueError):
        raise Refused(f"{version} or its run was not made by this kit", "Train a new version") from None
    (folder / RECORD_FILE).write_bytes(sent.to_json())
    return contract


def _ask(version: Version) -> str:
    return f"`starterkit promote --version {version.number}`"


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
