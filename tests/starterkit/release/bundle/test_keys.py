"""The keys of bundles: in which forms they are read, where a new one is kept, and what a signature is worth."""

import json
import stat
from base64 import b64decode, b64encode

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from starterkit.errors import Refused, SettingsError
from starterkit.release.bundle import KEY_FILE, SigningKey, make_key, require_trust
from starterkit.settings import read_layers, show

SEED = b64encode(bytes(range(32))).decode()


def pem(key, password: bytes | None = None) -> str:
    how = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how).decode()


def test_a_key_is_read_in_both_forms_and_signs_as_rfc_8032_has_it():
    written = pem(ed25519.Ed25519PrivateKey.from_private_bytes(b64decode(SEED)))
    assert SigningKey(written).public == SigningKey(SEED).public == SigningKey(f" {SEED}\n").public
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = SigningKey(b64encode(seed).decode())
    assert b64decode(key.public).hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    signature = "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"  # noqa: E501
    assert b64decode(json.loads(key.sign(b""))["signature"]).hex() == signature


@pytest.mark.parametrize(
    "secret",
    [
        "hunter2-hunter2",
        "",
        b64encode(bytes(31)).decode(),
        b64encode(bytes(33)).decode(),
        "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----",
        pem(ec.generate_private_key(ec.SECP256R1())),
        pem(ed25519.Ed25519PrivateKey.from_private_bytes(bytes(32)), b"password"),
    ],
)
def test_what_is_no_key_is_refused_without_repeating_it(secret):
    with pytest.raises(SettingsError) as raised:
        SigningKey(secret)
    assert "starterkit keys" in raised.value.hint
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_new_key_is_its_owners_alone_and_the_settings_read_it(repository):
    made = make_key(repository)
    file = repository / KEY_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    layers = read_layers(repository, {})
    read = layers.settings.promotion.signing_key
    assert SigningKey(read.get_secret_value()).public == made.public
    assert file.read_text().strip() not in str(show(layers))
    assert make_key(repository).public == made.public
    assert make_key(repository, renew=True).public != made.public
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_a_key_cannot_sign_in_the_name_of_another(key, other_key):
    forged = json.loads(other_key.sign(b"content")) | {"key": key.id}
    with pytest.raises(Refused, match="is not what key"):
        require_trust(b"content", json.dumps(forged).encode(), [key.public, other_key.public])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"key": "x", "signature": "not base64"}',
        b'{"key": "\\u001b[31mred", "signature": ""}',
        b'{"key": "0123456789abcdef", "signature": 5}',
        b"[" * 1000,
    ],
)
def test_what_is_no_signature_is_one_line(key, text):
    with pytest.raises(Refused, match=r"manifest\.sig (is no signature|names no key)") as raised:
        require_trust(b"content", text, [key.public])
    assert "\x1b" not in str(raised.value)
