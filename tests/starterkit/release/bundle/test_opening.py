"""What is not exactly what a trusted key has signed is refused, and no server has heard of it."""

import io
import json
import random
import re
import shutil
import stat
import warnings
from base64 import b64decode, b64encode
from dataclasses import replace
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat

from starterkit.contract import Contract
from starterkit.errors import ContractError, KitError, Refused, SettingsError, UserError
from starterkit.release import bundle as bundles
from starterkit.release.importer import _unpack, opened
from starterkit.settings import read_layers, show
from starterkit.tracking.queries import fetch_model


def refusal(file, *keys, name="diabetes", kind=Refused) -> KitError:
    with pytest.raises(kind) as raised, opened(file, name, [key.public for key in keys]):
        pass
    assert "\n" not in str(raised.value)
    assert raised.value.hint
    return raised.value


def flip(name, place=-3):
    def change(files):
        content = bytearray(files[name])
        content[place] ^= 1
        files[name] = bytes(content)

    return change


def within(name, change):
    """What a JSON file of the bundle says, changed by a function."""

    def by(files):
        said = json.loads(files[name])
        change(said)
        files[name] = json.dumps(said).encode()

    return by


def edit(name, **words):
    return within(name, lambda said: said.update(words))


def put(**contents):
    return lambda files: files.update(contents)


EVIDENCE = "run/gate/staging.diabetes-1/0123/evidence.json"
forge = within("manifest.sig", lambda said: said.update(signature=said["signature"].swapcase()))


def without_evidence(files):
    """As a kit wrote it that kept none."""
    within("record.json", lambda said: [said["version"].pop(name) for name in ("evidence", "evidence_place")])(files)
    del files[EVIDENCE]


def listed(path):
    """A manifest that lists a file of this name, and the file."""

    def change(files):
        files[path] = files["model/MLmodel"]
        within("manifest.json", lambda said: said["files"].update({path: said["files"]["model/MLmodel"]}))(files)

    return change


def test_a_bundle_opens_and_says_what_it_is(bundle, key):
    with opened(bundle, "diabetes", [key.public]) as found:
        assert (str(found.manifest), found.manifest.stage) == ("staging.diabetes version 1", "staging")
        assert (found.key, (found.run / "rows.npz").is_file()) == (key.id, True)
        assert (found.run.parent / EVIDENCE).read_text() == '{"passed": true}\n'
        assert [file.name for file in (found.run / "gate/staging.diabetes-1").iterdir()] == ["0123"]
        folder = found.model
    assert not folder.exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (flip("model/model.onnx"), r"model/model\.onnx in the bundle is not the file that was signed"),
        (flip("record.json"), r"record\.json in the bundle is not the file"),
        (flip("run/rows.npz"), r"run/rows\.npz in the bundle is not the file"),
        (lambda files: files.update({"model/MLmodel": files["model/MLmodel"] + b" "}), "MLmodel in the bundle is not"),
        (flip("manifest.json", 20), r"manifest\.json is not what key \w+ has signed"),
        (edit("manifest.json", version=2), r"manifest\.json is not what key"),
        (forge, r"manifest\.json is not what key"),
        (put(**{"manifest.sig": b"no"}), "is no signature"),
        (put(**{"model/more.py": b"import os"}), r"holds 'model/more\.py', which its manifest"),
        (put(**{"../evil": b"x"}), r"holds '\.\./evil', which its manifest does not list"),
        (put(**{"/tmp/evil": b"x"}), "which its manifest does not list"),
        (put(**{"MODEL/mlmodel": b"x"}), "holds a file twice"),
        (lambda files: files.pop("model/conda.yaml"), r"lacks model/conda\.yaml"),
        (put(**{"manifest.json": b" " * 1_000_001}), "larger than 1,000,000 bytes"),
        (put(**{f"x{n}": b"" for n in range(1001)}), "more than 1000 files"),
    ],
)
def test_what_was_altered_on_the_way_is_refused(changed, key, change, said):
    assert re.search(said, refusal(changed(change), key).what)


def test_an_odd_zip_is_refused(bundle, key, tmp_path, changed):
    file = Path(shutil.copy(bundle, tmp_path / "odd.zip"))
    with warnings.catch_warnings(action="ignore"), ZipFile(file, "a") as more:
        more.writestr("model/model.onnx", b"another")
    assert refusal(file, key).what == "the bundle holds a file twice"
    assert "compressed or encrypted" in refusal(changed(lambda files: None, compression=ZIP_DEFLATED), key).what
    content = bytearray(bundle.read_bytes())
    end = content.rindex(b"PK\x05\x06")
    listing = int.from_bytes(content[end + 16 : end + 20], "little")
    content[6] |= 1  # it could burst: said before the first file, and in the list at the end
    content[listing + 8] |= 1
    file.write_bytes(content)
    assert "'manifest.json' in the bundle is compressed or encrypted" in refusal(file, key).what
    content[end + 16 : end + 20] = (listing + 1000).to_bytes(4, "little")
    file.write_bytes(content)
    assert "is no bundle" in str(refusal(file, key, kind=UserError))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (listed("../evil"), "outside of its folders"),
        (listed("/tmp/evil"), "outside of its folders"),
        (listed("model/../../evil"), "outside of its folders"),
        (listed("model/a\\..\\..\\evil"), "outside of its folders"),
        (listed("evil"), "outside of its folders"),
        (listed("model/MLMODEL"), "twice"),
        (edit("manifest.json", format=2), "format 2, and this kit reads 1"),
        (edit("manifest.json", files=[]), "is no manifest"),
        (edit("manifest.json", stage="dev"), "was trained in stage dev"),
        (edit("manifest.json", model="staging.churn"), r"this project's model is staging\.diabetes"),
        (edit("manifest.json", model="prod.diabetes"), r"this project's model is staging\.diabetes"),
        (edit("manifest.json", commit="f" * 40), "tell of different trainings"),
        (edit("manifest.json", files={"model/x": {"size": bundles.MOST_BYTES + 1, "sha256": ""}}), "more than 1000"),
        (edit("manifest.json", files={"model/x": {"size": -1, "sha256": ""}}), "no size"),
        (edit("record.json", version={}), "is no record"),
        (lambda files: files.pop("run/rows.npz"), r"lacks run/rows\.npz, without which"),
        (lambda files: files.pop("model/MLmodel"), "lacks model/MLmodel, without which"),
        (lambda files: files.pop(EVIDENCE), "evidence in the bundle"),
        (put(**{EVIDENCE: b"{}"}), "evidence in the bundle"),
        (without_evidence, "evidence in the bundle"),
        (within("record.json", lambda said: said["version"].update(gate="refused")), "has not passed staging's gate"),
    ],
)
def test_a_trusted_key_cannot_sign_just_anything(changed, key, change, said, tmp_path):
    assert re.search(said, refusal(changed(change, sign=key), key).what)
    assert not list(tmp_path.parent.rglob("evil"))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (edit("model/contract.json", title="Another"), "altered after it was written"),
        (flip("model/model.onnx"), "is not the file that its contract was written for"),
        (flip("model/parity.npz"), "is not the file that its contract was written for"),
    ],
)
def test_a_contract_that_does_not_fit_its_files_is_refused_though_it_is_signed(changed, key, change, said):
    assert said in refusal(changed(change, sign=key), key, kind=ContractError).what


def test_another_problems_model_is_refused_though_its_contract_is_sealed(changed, key):
    def other(**words):
        def change(files):
            contract = Contract.from_json(files["model/contract.json"])
            files["model/contract.json"] = replace(contract, **words).to_json().encode()

        return changed(change, sign=key)

    assert refusal(other(problem="churn"), key).what == "the bundle's model is of problem 'churn', not 'diabetes'"
    with opened(other(), "diabetes", [key.public]) as found:
        lineage = Contract.from_json((found.model / "contract.json").read_bytes()).lineage
    for trained in ({"stage": "dev"}, {"run": "f" * 32}):
        assert "different trainings" in refusal(other(lineage=replace(lineage, **trained)), key).what


def test_a_bundle_of_a_key_that_is_trusted_no_more_is_refused(bundle, key, other_key):
    with opened(bundle, "diabetes", [other_key.public, key.public]):
        pass
    found = refusal(bundle, other_key)
    assert f"signed with key {key.id}, which promotion.trusted_keys does not name" in found.what
    assert other_key.id in found.hint
    assert "trusted_keys is empty" in refusal(bundle).what


@pytest.mark.parametrize("content", [None, b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle_is_the_users_mistake(tmp_path, key, content):
    file = tmp_path / "no.zip"
    if content is not None:
        file.write_bytes(content)
    found = refusal(file, key, kind=UserError)
    assert (found.exit_code, "starterkit bundle" in found.hint) == (2, True)
    assert "is a folder" in refusal(tmp_path, key, kind=UserError).what


def test_no_single_byte_and_no_end_can_be_changed_unseen(bundle, key, tmp_path):
    """What the zip says of itself may change (a date); what comes out of it may not."""
    whole, chance, file = bundle.read_bytes(), random.Random(0), tmp_path / "broken.zip"
    with ZipFile(bundle) as source:
        model = {name: source.read(name) for name in source.namelist() if name.startswith("model/")}
    refused = 0
    for attempt in range(150):
        broken = bytearray(whole)
        if attempt % 5:
            broken[chance.randrange(len(broken))] ^= 1 << chance.randrange(8)
        else:
            del broken[chance.randrange(len(broken)) :]
        file.write_bytes(broken)
        try:
            with opened(file, "diabetes", [key.public]) as found:
                assert {f"model/{one.name}": one.read_bytes() for one in found.model.iterdir()} == model
        except KitError:
            refused += 1
    assert refused > 100


def test_nothing_leads_out_of_its_folder_or_is_written_beyond_its_size(tmp_path):
    inside = "model/MLmodel model/a/b.json run/gate/staging.x-1/gate.html record.json"
    assert all(map(bundles.is_safe, inside.split()))
    leading_out = "model model/ model//x model/. model/.. model/../x ./model/x model/x. model/c:x model/x\0 other/x"
    assert not any(map(bundles.is_safe, ("", *leading_out.split())))
    # A disk is not to be filled by what is refused afterwards.
    with ZipFile(tmp_path / "x.zip", "w") as made:
        made.writestr("model/model.onnx", bytes(1000))
    with ZipFile(tmp_path / "x.zip") as bundle, pytest.raises(Refused, match="not the file that was signed"):
        _unpack(bundle, bundle.infolist()[0], bundles.Sealed(999, "0" * 64), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()


SEED = b64encode(bytes(range(32))).decode()


def pem(key, password: bytes | None = None) -> str:
    how = BestAvailableEncryption(password) if password else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how).decode()


def test_a_key_is_read_in_both_forms_and_signs_as_rfc_8032_has_it():
    written = pem(ed25519.Ed25519PrivateKey.from_private_bytes(b64decode(SEED)))
    assert len({bundles.SigningKey(one).public for one in (written, SEED, f" {SEED}\n")}) == 1
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    key = bundles.SigningKey(b64encode(seed).decode())
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
        bundles.SigningKey(secret)
    assert "starterkit keys" in raised.value.hint
    assert "hunter2" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_new_key_is_its_owners_alone_and_the_settings_read_it(repository):
    made = bundles.make_key(repository)
    file = repository / bundles.KEY_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    layers = read_layers(repository, {})
    read = layers.settings.promotion.signing_key
    assert bundles.SigningKey(read.get_secret_value()).public == made.public
    assert file.read_text().strip() not in str(show(layers))
    assert bundles.make_key(repository).public == made.public
    assert bundles.make_key(repository, renew=True).public != made.public
    assert [one.name for one in file.parent.iterdir()] == [file.name]


def test_a_key_cannot_sign_in_the_name_of_another(key, other_key):
    forged = json.loads(other_key.sign(b"content")) | {"key": key.id}
    with pytest.raises(Refused, match="is not what key"):
        bundles.require_trust(b"content", json.dumps(forged).encode(), [key.public, other_key.public])


NO_SIGNATURES = (
    b"", b"\xff", b"[]", b"{}", b'{"key": "x", "signature": "not base64"}', b"[" * 1000,
    b'{"key": "\\u001b[31mred", "signature": ""}', b'{"key": "0123456789abcdef", "signature": 5}',
)  # fmt: skip


@pytest.mark.parametrize("text", NO_SIGNATURES)
def test_what_is_no_signature_is_one_line(key, text):
    with pytest.raises(Refused, match=r"manifest\.sig (is no signature|names no key)") as raised:
        bundles.require_trust(b"content", text, [key.public])
    assert "\x1b" not in str(raised.value)


def test_a_bundle_is_the_registered_version_and_the_same_each_time(bundle, staging, key, tmp_path):
    again = bundles.write_bundle(staging, staging.version(1), key, tmp_path / "again.zip")
    assert again.file.read_bytes() == bundle.read_bytes()
    fetch_model(staging.connection, "models:/staging.diabetes/1", tmp_path / "model")
    registered = {f"model/{file.name}": file.read_bytes() for file in (tmp_path / "model").iterdir()}
    with ZipFile(bundle) as found:
        assert {name: found.read(name) for name in found.namelist() if name.startswith("model/")} == registered
        assert b"edges" in found.read("run/reference.json")  # so that the other server can watch it
    assert {"model/MLmodel", "model/model.onnx", "model/contract.json", "model/parity.npz"} <= registered.keys()


def test_no_person_no_secret_and_no_row_is_inside(bundle, staged):
    """The record of rows is salted hashes. Ids, rows, the user and MLflow's own tags stay behind."""
    with ZipFile(bundle) as found:
        contents = {name: found.read(name) for name in found.namelist()}
    with np.load(io.BytesIO(contents["run/rows.npz"])) as arrays:
        assert {array.dtype for array in arrays.values()} <= {np.dtype(np.uint64), np.dtype(np.uint8)}
    everything = b"\n".join(contents.values())
    lines = (staged.root / "data" / "diabetes.csv").read_bytes().split()[1:]
    parts = [part for line in lines for part in line.split(b",", 1)]
    assert [part for part in parts if len(part) > 3 and part in everything] == []
    assert [own for own in (b"mlflow.user", b"mlflow.source", b'"process"') if own in everything] == []


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"gate": "refused"}, r"staging\.diabetes version 1 has not passed its gate.*promote --version 1"),
        ({"evidence_place": "gate/nowhere/0123"}, r"the gate's evidence about .* is gone"),
        ({"evidence_place": "../../gate"}, r"the gate's evidence about .* is gone"),
        ({"evidence_place": ""}, r"the gate's evidence about .* is gone"),
    ],
)
def test_what_its_gate_has_not_passed_or_not_kept_is_not_bundled(staging_copy, key, tmp_path, tags, said):
    registry, version = staging_copy
    registry.tag(version, tags)
    with pytest.raises(Refused, match=said):
        bundles.write_bundle(registry, registry.version(1), key, tmp_path / "x.zip")
    assert not (tmp_path / "x.zip").exists()


def test_a_version_whose_rows_nobody_knows_is_not_bundled(staging_copy, key, tmp_path):
    """No gate could judge it on the other side."""
    registry, version = staging_copy
    client = registry.connection.client
    first = client.get_run(version.run)
    run = client.create_run(first.info.experiment_id).info.run_id
    made = registry.register(run, first.data.tags["exported_model_id"], dict(version.tags), "without rows")
    with pytest.raises(Refused, match="version 2 is gone, or has no record of its rows"):
        bundles.write_bundle(registry, made, key, tmp_path / "x.zip")
    assert not list(tmp_path.glob("*x.zip*"))


def test_a_version_whose_files_do_not_answer_is_not_bundled(staging_copy, key, tmp_path, monkeypatch):
    registry, version = staging_copy
    fetch = bundles.fetch_model

    def altered(connection, address, into):
        fetch(connection, address, into)
        (into / "model.onnx").write_bytes(b"another graph")

    monkeypatch.setattr(bundles, "fetch_model", altered)
    with pytest.raises(ContractError, match="is not the file that its contract was written for"):
        bundles.write_bundle(registry, version, key, tmp_path / "x.zip")


def test_something_else_is_not_written_over(staging, key, tmp_path):
    (tmp_path / "file").write_bytes(b"a year's work")
    elsewhere = "is there, and is no bundle"
    for place, said in (("file", elsewhere), ("", elsewhere), ("nowhere/x.zip", "there is no folder")):
        with pytest.raises(UserError, match=said):
            bundles.write_bundle(staging, staging.version(1), key, tmp_path / place)
    assert (tmp_path / "file").read_bytes() == b"a year's work"


def test_an_earlier_bundle_stays_whole_until_the_new_one_is(bundle, staging, key, tmp_path, monkeypatch):
    file = tmp_path / "x.zip"
    shutil.copy(bundle, file)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(bundles.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left"):
        bundles.write_bundle(staging, staging.version(1), key, file)
    assert [one.name for one in tmp_path.iterdir()] == ["x.zip"]
    assert file.read_bytes() == bundle.read_bytes()
