"""The Ed25519 keys of bundles: who signs has the secret half, who trusts has the public one."""

import binascii
import hashlib
import json
import os
import secrets
from base64 import b64decode, b64encode
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from starterkit.errors import Refused, SettingsError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KEY_FILE = "secrets/KIT_PROMOTION__SIGNING_KEY"
_SEED_BYTES = 32
_ID_LETTERS = 16
_MAKE = "Run `starterkit keys` in the stage that signs, and write the line that it prints into config/prod.yaml"
_NO_KEY = SettingsError(
    "promotion.signing_key is no Ed25519 key: neither an open PEM nor the base64 of 32 bytes",
    f"Run `starterkit keys --new`, which writes one to {KEY_FILE}",
)


class SigningKey:
    """The secret half.

    Parameters
    ----------
    secret
        A PEM without a password, or the base64 of the key's 32 bytes.

    Raises
    ------
    SettingsError
        It is neither.
    """

    def __init__(self, secret: str) -> None:
        self._key = _read(secret)

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


def make_key(root: Path) -> SigningKey:
    """Make a new key and keep it in the ignored folder of secrets, for its owner's eyes only. An earlier one goes."""
    seed, file = b64encode(secrets.token_bytes(_SEED_BYTES)).decode(), root / KEY_FILE
    file.parent.mkdir(mode=0o700, exist_ok=True)
    new = file.with_name(f".{file.name}.{secrets.token_hex(4)}")  # a name that the settings pass over
    try:
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as written:
            written.write(seed + "\n")
        new.replace(file)
    finally:
        new.unlink(missing_ok=True)
    return SigningKey(seed)


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
        raise Refused("the bundle's manifest.sig is no signature", "Bundle the version again") from None
    if len(signer) != _ID_LETTERS or not set(signer) <= set("0123456789abcdef"):  # it is shown to people
        raise Refused("the bundle's manifest.sig names no key", "Bundle the version again")
    return signer, signed


def _read(secret: str) -> "Ed25519PrivateKey":
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
    return key
