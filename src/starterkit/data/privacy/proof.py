"""`Proof`: what lies beside a prepared data file and says how it was treated, sealed against later hands."""

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from starterkit.contract import Treatment
from starterkit.data.privacy.masking import KEY_FILE, KEY_NAME, StageKey
from starterkit.data.privacy.policy import Policy
from starterkit.errors import DataError
from starterkit.settings import STRENGTH

FORMAT = 1


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The data file's digest, the stage and policy that it was made for, and what the treatment did to it.

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
    def from_json(cls, text: str | bytes, name: str, mend: str) -> "Proof":
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
            raise DataError(f"the proof {name} is not one that this kit wrote", mend)
        return cls(**said)

    def check(
        self, name: str, digest: str, policy: Policy, schema_digest: str, key: StageKey | None, mend: str
    ) -> None:
        """See that the data file of this name and digest is what a stage with this policy may load.

        Raises
        ------
        DataError
            It was altered, or made for another stage, policy, schema or key. The mend is the command that makes it
            anew. A stage that sees raw rows needs no key: it could as well be given the source.
        """
        body, treated = self._body(), not policy.is_raw
        weak = policy.weakest_of(self.policy)
        if self.seal != hashlib.sha256(body).hexdigest():
            raise DataError(f"the proof of {name} was altered", mend)
        if self.file_digest != digest:
            raise DataError(f"{name} is not the file that was prepared: it was altered", mend)
        if self.stage != policy.stage:
            raise DataError(f"{name} was prepared for stage {self.stage}, and this is {policy.stage}", mend)
        if self.schema_digest != schema_digest:
            raise DataError(f"{name} was prepared for another schema or holdout", mend)
        if weak:
            did, asked = self.policy.get(weak, "raw"), policy.treatments[weak]
            raise DataError(f"{name} was prepared under a weaker policy: '{weak}' is {did}, not {asked}", mend)
        if treated and self.key and key is None:
            restore = f"Set {KEY_NAME}, or the file {KEY_FILE}, to the key it was prepared with, or {_lower(mend)}"
            raise DataError(f"{name} cannot be checked: the masking key is not here", restore)
        if self.key and key and self.key != key.fingerprint:
            restore = f"Set {KEY_NAME} to the key it was prepared with, or {_lower(mend)}"
            raise DataError(f"{name} was prepared with another masking key", restore)
        signed = key is not None and hmac.compare_digest(self.signature, key.signature(body))
        if not signed and (treated or (self.key and key)):
            raise DataError(f"the proof of {name} was altered: its signature is not the key's", mend)

    def _body(self) -> bytes:
        said = asdict(self) | {"seal": "", "signature": ""}
        return json.dumps(said, sort_keys=True, separators=(",", ":")).encode()


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]
