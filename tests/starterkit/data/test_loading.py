"""A prepared file is loaded if its proof holds, and refused in one line with the command that mends it if not."""

import hashlib
import json
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pandera.pandas as pa
import pytest

from example_project import problem
from example_project.problem import Patients
from starterkit.cli.console import ProgressView
from starterkit.cli.views import holdout_records
from starterkit.data import DatasetReader
from starterkit.data.dataset import RowRecord
from starterkit.errors import DataError
from starterkit.problem import Holdout, Problem, feature, identifier, target
from starterkit.settings import DataSettings, Stage, load_settings

COMMAND = "`KIT_STAGE=local starterkit data prepare --for test`"


def refused(house: Any, *arguments: str, **environ: str) -> DataError:
    with pytest.raises(DataError) as raised:
        house.read(*arguments, **environ)
    assert "\n" not in str(raised.value)
    return raised.value


def edit(file: Path) -> None:
    table = pd.read_parquet(file)
    table.loc[0, "bmi"] += 1
    table.to_parquet(file, index=False)


def test_file_that_was_edited_by_hand_is_refused_also_where_its_proof_was_made_to_fit(prepared):
    edit(prepared.file)
    error = refused(prepared)
    assert error.what == "data/test/diabetes.parquet is not the file that was prepared: it was altered"
    assert error.hint == f"Run {COMMAND}"
    prepared.rewrite(file_digest=hashlib.sha256(prepared.file.read_bytes()).hexdigest())
    assert refused(prepared).what == "the proof of data/test/diabetes.parquet was altered"
    for changes in ({}, {"key": "", "signature": ""}, {"signature": "0" * 64}):
        forge(prepared, **changes)
        error = refused(prepared)
        assert "was altered: its signature is not the key's" in error.what
        assert COMMAND in error.hint
    for text in ("", "[]", "{}", '{"format": 1}', '{"format": 2}', "no json"):
        prepared.proof.write_text(text)
        error = refused(prepared)
        assert error.what == "the proof diabetes.proof.json is not one that this kit wrote"
        assert COMMAND in error.hint


def forge(house: Any, **changes: Any) -> None:
    """A new seal for a proof, by someone who can read this kit's code and has no key."""
    said = json.loads(house.proof.read_text()) | changes
    body = json.dumps(said | {"seal": "", "signature": ""}, sort_keys=True, separators=(",", ":")).encode()
    house.rewrite(**changes, seal=hashlib.sha256(body).hexdigest())


def test_lost_and_wrong_keys_are_named(prepared):
    key = prepared.key.read_text().strip()
    prepared.key.unlink()
    error = refused(prepared)
    assert error.what == "data/test/diabetes.parquet cannot be checked: the masking key is not here"
    assert "Set KIT_PRIVACY__KEY, or the file secrets/KIT_PRIVACY__KEY, to the key it was prepared with" in error.hint
    assert COMMAND in error.hint
    assert not prepared.key.exists()  # a new one would hide the loss
    assert len(prepared.read(KIT_PRIVACY__KEY=key)) == 442
    settings = load_settings(prepared.root, {"KIT_STAGE": "test", "KIT_PRIVACY__KEY": key})
    assert len(holdout_records(settings, ProgressView())) == 98  # as a load test has them
    error = refused(prepared, KIT_PRIVACY__KEY=secrets.token_hex(32))
    assert error.what == "data/test/diabetes.parquet was prepared with another masking key"
    assert "KIT_PRIVACY__KEY" in error.hint


def test_new_key_and_new_data_go_together(prepared):
    before = prepared.read()
    record = RowRecord.of(before)
    prepared.key.unlink()
    prepared.prepare()
    after = prepared.read()
    assert sorted(after.training.features.bmi) == sorted(before.training.features.bmi)
    # Nobody can tell any more which rows the earlier model knew, and the gate is told so.
    assert record.trained_on(before.training) == len(before.training)
    assert record.trained_on(after.training) is None


def test_a_stricter_stage_another_one_and_another_schema_refuse_it(prepared):
    error = refused(prepared, KIT_PRIVACY__SENSITIVE="mock")
    assert "prepared under a weaker policy: 'age' is generalise, not mock" in error.what
    assert "'bmi' is raw, not drop" in refused(prepared, KIT_PRIVACY__COLUMNS='{"bmi": "drop"}').what
    for stage in ("local", "dev", "staging"):
        error = refused(prepared, stage)
        assert error.what == f"data/test/diabetes.parquet was prepared for stage test, and this is {stage}"
        assert f"--for {stage} --to data/test/diabetes.parquet" in error.hint
    for changes in ({"schema": Older}, {"schema": Franker}, {"holdout": Holdout(fraction=0.3)}):
        house = type(prepared)(prepared.root, replace(problem, **changes))
        assert "another schema or holdout" in refused(house).what


class Older(Patients):
    age: int = feature(sensitivity="sensitive", ge=0, le=130)


class Franker(Patients):
    bmi: float = feature(sensitivity="sensitive", ge=10, le=80)


def test_without_a_proof_it_is_not_loaded_and_words_for_people_change_nothing(prepared):
    class Said(Patients):
        bmi: float = feature(sensitivity="plain", unit="kg/m2", ge=10, le=80, description="Quetelet's index")

    assert len(type(prepared)(prepared.root, replace(problem, schema=Said)).read()) == 442
    prepared.proof.unlink()
    error = refused(prepared)
    assert error.what.endswith("raw, and data/test/diabetes.parquet has no proof that they are treated")
    assert COMMAND in error.hint


def test_missing_file_is_mended_by_the_command(house):
    error = refused(house)
    assert error.what.endswith("data/test/diabetes.parquet does not exist")
    assert error.hint == f"Run {COMMAND}"
    error = refused(house, "test", "data/elsewhere.parquet")
    assert error.hint == "Run `KIT_STAGE=local starterkit data prepare --for test --to data/elsewhere.parquet`"
    error = refused(house, "test", "data/diabetes.csv")
    assert error.hint == f"Run {COMMAND}, and set data.source to data/test/diabetes.parquet in config/test.yaml"


def test_sample_for_staging_is_checked_too_and_needs_no_key(house):
    house.prepare()  # makes a key
    house.prepare("staging", 0.5)
    source = "data/staging/diabetes.parquet"
    key = house.key.read_text()
    house.key.unlink()
    assert len(house.read("staging", source)) == 221
    house.key.write_text(key[::-1].strip())  # but it uses the one it has
    assert "another masking key" in refused(house, "staging", source).what
    house.key.write_text(key)
    edit(house.root / source)
    assert "it was altered" in refused(house, "staging", source).what


class Plain(pa.DataFrameModel):
    record: str = identifier()
    width: float = feature(sensitivity="plain")
    length: float = target(sensitivity="plain")


def test_data_without_sensitive_columns_needs_no_proof(house):
    one = Problem(name="p", title="P", task="regression", schema=Plain, estimator=lambda: None, metric="rmse")
    frame = pd.DataFrame({"record": [f"r{n}" for n in range(50)], "width": 1.0, "length": 2.0})
    frame.to_csv(house.root / "data" / "plain.csv", index=False)
    seen = DatasetReader(one, DataSettings(source="data/plain.csv"), house.root, Stage.TEST).read()
    assert seen.policy == {}
    assert all(name.startswith("record@") for name in seen.training.keys)  # the ids are known by the key alone
