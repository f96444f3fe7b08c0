"""A policy carried out: rows as a stage may see them, under pseudonyms from the stage's key, and the proof of it."""

import hashlib
import hmac
import json
import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr

from starterkit.contract import Treatment
from starterkit.data.policy import Policy, emptied, generalised
from starterkit.data.synthetic import mock_rows
from starterkit.errors import DataError
from starterkit.files import keep_secret
from starterkit.settings import STRENGTH, Stage, StageKey

if TYPE_CHECKING:
    import pandas as pd

# --- The secret from which a stage's pseudonyms come, and the file in which it is kept.

KEY_NAME = "KIT_PRIVACY__KEY"
KEY_FILE = f"secrets/{KEY_NAME}"


def find_key(stage: Stage, given: SecretStr | None, root: Path) -> StageKey | None:
    """The stage's key from the settings or its file; None where there is none."""
    secret = given.get_secret_value() if given else _read(root / KEY_FILE)
    return StageKey(secret, stage) if secret else None


def make_key(stage: Stage, given: SecretStr | None, root: Path) -> StageKey:
    """The stage's key. Without one, a secret is made and kept, for its owner to read.

    Of two processes that make one at once both get the same.
    """
    found = find_key(stage, given, root)
    if found:
        return found
    secret = keep_secret(root / KEY_FILE, secrets.token_hex(32))
    if not secret:
        raise DataError(f"{KEY_FILE} is empty", "Remove it, and a new key is made; or put the earlier key there")
    return StageKey(secret, stage)


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8").strip()
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError):
        raise DataError(f"{KEY_FILE} cannot be read", "Make it a UTF-8 file that you may read") from None


# --- Names for records that say nothing about them to who lacks the key.


def pseudonyms(values: "pd.Series", key: StageKey) -> "pd.Series":
    """The pseudonym of each of n values."""
    return values.map(lambda value: key.pseudonym(str(value))).astype("str")


def row_keys(values: "pd.Series", key: StageKey, purpose: str = "row") -> NDArray[np.uint64]:
    """64 bits of another HMAC for each of n values: enough to see that two rows share a record."""
    digests = (key.digest(purpose, str(value))[:8] for value in values)
    return np.frombuffer(b"".join(digests), dtype=">u8").astype(np.uint64)


# --- A policy carried out: rows as a stage may see them.


def mask_rows(policy: Policy, frame: "pd.DataFrame", key: StageKey | None) -> "pd.DataFrame":
    """The rows with features and target as the stage may see them; identifiers are left to whoever drops them.

    A dropped feature stays as one value in all rows, so that the same estimator can be fitted. Types stay.

    Raises
    ------
    DataError
        What `Policy.require_possible` raises, or no made-up rows can be drawn.
    """
    policy.require_possible()
    model = [column for column in policy.columns if column.role in ("feature", "target")]
    if policy.mocks:
        drawn = [column for column in model if policy.treatments[column.name] != "drop"]
        drawn.sort(key=lambda column: column.role == "target")
        seed = int.from_bytes(key.digest("mock", "")[:8], "big") if key else 0
        group = next((column.name for column in policy.columns if column.role == "group"), None)
        made = mock_rows(drawn, frame, seed, frame[group].to_numpy() if group else None)
        frame = _with(frame, {column.name: made[column.name] for column in drawn})
    ways = {"generalise": generalised, "drop": emptied}
    treated = [(ways[how], column) for column in model if (how := policy.treatments[column.name]) in ways]
    return _with(frame, {column.name: way(column, frame[column.name]) for way, column in treated})


def _with(frame: "pd.DataFrame", columns: "dict[str, pd.Series]") -> "pd.DataFrame":
    """Not `assign(**columns)`: a column may be called ``self``."""
    frame = frame.copy()
    for name, values in columns.items():
        frame[name] = values
    return frame


# --- `Proof`: what lies beside a prepared data file and says how it was masked, sealed against later hands.

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The data file's digest, the stage and policy that it was made for, and what the masking did to it.

    `seal` is a digest over all else, `signature` an HMAC of the same with the key whose fingerprint is `key`; whoever
    edits both files can make a new seal, but no signature.
    """

    file_digest: str
    stage: str
    problem: str
    policy: Mapping[str, Treatment]
    schema_digest: str
    key: str
    made: str
    source: str
    source_digest: str
    fraction: float
    rows: Mapping[str, int]
    crowds: list[dict[str, Any]] = field(default_factory=list)
    overlap: Mapping[str, int] = field(default_factory=dict)
    shifts: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    quality: Mapping[str, Any] = field(default_factory=dict)
    format: int = FORMAT
    seal: str = ""
    signature: str = ""

    def sealed(self, key: StageKey | None) -> "Proof":
        """This proof with its seal, and the signature where there is a key."""
        body = self._body()
        signature = key.signature(body) if key else ""
        return replace(self, seal=hashlib.sha256(body).hexdigest(), signature=signature)

    def to_json(self) -> str:
        """The file's content."""
        return json.dumps(asdict(self), indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes, name: str, hint: str) -> "Proof":
        """Read a proof back.

        Raises
        ------
        DataError
            It is not one.
        """
        try:
            said = json.loads(text)
            known = said.get("format") == FORMAT and {one.name for one in fields(cls)} == set(said)
            known = known and isinstance(said["policy"], dict) and set(said["policy"].values()) <= set(STRENGTH)
        except (ValueError, AttributeError, TypeError):
            known, said = False, {}
        if not known:
            raise DataError(f"the proof {name} is not one that this kit wrote", hint)
        return cls(**said)

    def check(
        self, name: str, digest: str, policy: Policy, schema_digest: str, key: StageKey | None, hint: str
    ) -> None:
        """See that the data file of this name and digest is what a stage with this policy may load.

        Raises
        ------
        DataError
            It was altered, or made for another stage, policy, schema or key. The hint is the command that makes it
            anew. A stage that sees raw rows needs no key: it could as well be given the source.
        """
        body, masked = self._body(), not policy.is_raw
        weak = policy.weakest_of(self.policy)
        if self.seal != hashlib.sha256(body).hexdigest():
            raise DataError(f"the proof of {name} was altered", hint)
        if self.file_digest != digest:
            raise DataError(f"{name} is not the file that was prepared: it was altered", hint)
        if self.stage != policy.stage:
            raise DataError(f"{name} was prepared for stage {self.stage}, and this is {policy.stage}", hint)
        if self.schema_digest != schema_digest:
            raise DataError(f"{name} was prepared for another schema or holdout", hint)
        if weak:
            did, asked = self.policy.get(weak, "raw"), policy.treatments[weak]
            raise DataError(f"{name} was prepared under a weaker policy: '{weak}' is {did}, not {asked}", hint)
        if masked and self.key and key is None:
            restore = f"Set {KEY_NAME}, or the file {KEY_FILE}, to the key it was prepared with, or {_lower(hint)}"
            raise DataError(f"{name} cannot be checked: the masking key is not here", restore)
        if self.key and key and self.key != key.fingerprint:
            restore = f"Set {KEY_NAME} to the key it was prepared with, or {_lower(hint)}"
            raise DataError(f"{name} was prepared with another masking key", restore)
        signed = key is not None and hmac.compare_digest(self.signature, key.signature(body))
        if not signed and (masked or (self.key and key)):
            raise DataError(f"the proof of {name} was altered: its signature is not the key's", hint)

    def _body(self) -> bytes:
        said = asdict(self) | {"seal": "", "signature": ""}
        return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
