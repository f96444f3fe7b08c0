"""What is not exactly what a trusted key has signed is refused, and no server has heard of it."""

import json
import random
import re
import shutil
import warnings
from dataclasses import replace
from zipfile import ZIP_DEFLATED, ZipFile

import pytest

from starterkit.contract import Contract
from starterkit.errors import ContractError, KitError, Refused, UserError
from starterkit.release.bundle import MOST_BYTES, Sealed, is_safe
from starterkit.release.importer import _unpack, opened


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


def edit(name, **words):
    return lambda files: files.update({name: json.dumps(json.loads(files[name]) | words).encode()})


def forge(files):
    """Another signature of the same form."""
    said = json.loads(files["manifest.sig"])
    first = "B" if said["signature"][0] == "A" else "A"
    files["manifest.sig"] = json.dumps(said | {"signature": first + said["signature"][1:]}).encode()


EVIDENCE = "run/gate/staging.diabetes-1/0123/evidence.json"


def without_evidence(files):
    """As a kit wrote it that kept none."""
    record = json.loads(files["record.json"])
    del record["version"]["evidence"], record["version"]["evidence_place"]
    files["record.json"] = json.dumps(record).encode()
    del files[EVIDENCE]


def refused(files):
    record = json.loads(files["record.json"])
    record["version"]["gate"] = "refused"
    files["record.json"] = json.dumps(record).encode()


def listed(path):
    """A manifest that lists a file of this name, and the file."""

    def change(files):
        manifest = json.loads(files["manifest.json"])
        manifest["files"][path] = manifest["files"]["model/MLmodel"]
        files["manifest.json"] = json.dumps(manifest).encode()
        files[path] = files["model/MLmodel"]

    return change


def test_a_bundle_opens_and_says_what_it_is(bundle, key):
    with opened(bundle, "diabetes", [key.public]) as found:
        assert (str(found.manifest), found.manifest.stage) == ("staging.diabetes version 1", "staging")
        assert found.key == key.id
        assert (found.run / "rows.npz").is_file()
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
        (lambda files: files.update({"manifest.sig": b"no"}), "is no signature"),
        (lambda files: files.update({"model/more.py": b"import os"}), r"holds 'model/more\.py', which its manifest"),
        (lambda files: files.update({"../evil": b"x"}), r"holds '\.\./evil', which its manifest does not list"),
        (lambda files: files.update({"/tmp/evil": b"x"}), "which its manifest does not list"),
        (lambda files: files.update({"MODEL/mlmodel": b"x"}), "holds a file twice"),
        (lambda files: files.pop("model/conda.yaml"), r"lacks model/conda\.yaml"),
        (lambda files: files.update({"manifest.json": b" " * 1_000_001}), "larger than 1,000,000 bytes"),
        (lambda files: files.update({f"x{n}": b"" for n in range(1001)}), "more than 1000 files"),
    ],
)
def test_what_was_altered_on_the_way_is_refused(changed, key, change, said):
    assert re.search(said, refusal(changed(change), key).what)


def test_an_odd_zip_is_refused(bundle, key, tmp_path, changed):
    file = shutil.copy(bundle, tmp_path / "twice.zip")
    with warnings.catch_warnings(action="ignore"), ZipFile(file, "a") as more:
        more.writestr("model/model.onnx", b"another")
    assert refusal(file, key).what == "the bundle holds a file twice"
    content = bytearray(bundle.read_bytes())
    end = content.rfind(b"PK\x05\x06")
    content[end + 16 : end + 20] = (int.from_bytes(content[end + 16 : end + 20], "little") + 1000).to_bytes(4, "little")
    (tmp_path / "led.zip").write_bytes(content)
    assert "is no bundle" in str(refusal(tmp_path / "led.zip", key, kind=UserError))
    # It could burst. Both places say so: before the first file, and in the list at the end.
    assert "compressed or encrypted" in refusal(changed(lambda files: None, compression=ZIP_DEFLATED), key).what
    content, altered = bytearray(bundle.read_bytes()), tmp_path / "altered.zip"
    end = content.rindex(b"PK\x05\x06")
    listed = int.from_bytes(content[end + 16 : end + 20], "little")
    content[6] |= 1
    content[listed + 8] |= 1
    altered.write_bytes(content)
    assert "'manifest.json' in the bundle is compressed or encrypted" in refusal(altered, key).what


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
        (edit("manifest.json", files={"model/x": {"size": MOST_BYTES + 1, "sha256": ""}}), "more than 1000 files or"),
        (edit("manifest.json", files={"model/x": {"size": -1, "sha256": ""}}), "no size"),
        (edit("record.json", version={}), "is no record"),
        (lambda files: files.pop("run/rows.npz"), r"lacks run/rows\.npz, without which"),
        (lambda files: files.pop("model/MLmodel"), "lacks model/MLmodel, without which"),
        (lambda files: files.pop(EVIDENCE), "evidence in the bundle"),
        (lambda files: files.update({EVIDENCE: b"{}"}), "evidence in the bundle"),
        (without_evidence, "evidence in the bundle"),
        (refused, "has not passed staging's gate"),
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
    assert "different trainings" in refusal(other(lineage=replace(lineage, stage="dev")), key).what
    assert "different trainings" in refusal(other(lineage=replace(lineage, run="f" * 32)), key).what


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
    assert found.exit_code == 2
    assert "starterkit bundle" in found.hint
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
    for name in ("model/MLmodel", "model/a/b.json", "run/gate/staging.x-1/gate.html", "record.json"):
        assert is_safe(name)
    leading_out = "model model/ model//x model/. model/.. model/../x ./model/x model/x. model/c:x model/x\0 other/x"
    for name in ("", *leading_out.split()):
        assert not is_safe(name)
    # A disk is not to be filled by what is refused afterwards.
    with ZipFile(tmp_path / "x.zip", "w") as made:
        made.writestr("model/model.onnx", bytes(1000))
    with ZipFile(tmp_path / "x.zip") as bundle, pytest.raises(Refused, match="not the file that was signed"):
        _unpack(bundle, bundle.infolist()[0], Sealed(999, "0" * 64), tmp_path / "model.onnx")
    assert not (tmp_path / "model.onnx").exists()
