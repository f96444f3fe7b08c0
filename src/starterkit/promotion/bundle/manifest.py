"""What a bundle holds, and what it is of: ``manifest.json``. Pure data."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from starterkit.errors import Refused

FORMAT = 1
MANIFEST_FILE = "manifest.json"
SIGNATURE_FILE = "manifest.sig"
MODEL_FOLDER = "model"
RUN_FOLDER = "run"
RECORD_FILE = "record.json"

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
            raw: dict[str, Any] = json.loads(text)
            if raw["format"] != FORMAT:
                what = f"the bundle has format {str(raw['format'])[:20]}, and this kit reads {FORMAT}"
                raise Refused(what, "Use the same version of the kit on both sides")
            files = {str(name): Sealed(int(one["size"]), str(one["sha256"])) for name, one in raw.pop("files").items()}
            model, stage, commit, made = (str(raw[name]) for name in ("model", "stage", "commit", "made"))
            version = int(raw["version"])
        except (ValueError, KeyError, TypeError, AttributeError):
            raise Refused("the bundle's manifest.json is no manifest", _AGAIN) from None
        manifest = cls(model=model, version=version, stage=stage, commit=commit, made=made, files=files)
        manifest._require_sane()
        return manifest

    def _require_sane(self) -> None:
        for name, file in self.files.items():
            if not is_safe(name):
                raise Refused(f"the bundle has a file outside of its folders: {name[:80]!r}", _AGAIN)
            if file.size < 0:
                raise Refused(f"the bundle's manifest.json gives {name} no size", _AGAIN)
        if len(self.files) > MOST_FILES or sum(file.size for file in self.files.values()) > MOST_BYTES:
            what = f"the bundle holds more than {MOST_FILES} files or {MOST_BYTES // 1024**3} GB"
            raise Refused(what, "Such a model has to be moved by other means")


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
