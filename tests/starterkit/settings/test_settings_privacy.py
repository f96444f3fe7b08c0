"""Settings may hide more than the stage's floor, and never less."""

import json

import pytest

from starterkit.errors import SettingsError
from starterkit.settings import schema_text, show


@pytest.mark.parametrize(
    ("stage", "said", "finding", "mend"),
    [
        ("dev", "sensitive: raw", "privacy.sensitive is raw, which dev", "generalise, mock or drop"),
        ("dev", "identifiers: pseudonymise", "privacy.identifiers is pseudonymise, which dev", "drop"),
        ("dev", "columns: {age: raw}", "privacy.columns.age is raw, which dev", "generalise or drop"),
        ("test", "sensitive: raw", "privacy.sensitive is raw, which test", "generalise, mock or drop"),
        ("test", "columns: {age: raw}", "privacy.columns.age is raw, which test", "generalise or drop"),
    ],
)
def test_weaker_policy_is_refused_with_file_and_key(repository, stage, said, finding, mend):
    path = f"config/{stage}.yaml"
    repository.write(path, (repository.root / path).read_text() + f"privacy: {{{said}}}\n")
    with pytest.raises(SettingsError) as caught:
        repository.read(KIT_STAGE=stage)
    assert str(caught.value).startswith(f"{path}: {finding}")
    assert f"Set it to {mend}, or leave it out" in caught.value.mend


def test_variable_is_named_where_it_says_so(repository):
    with pytest.raises(SettingsError, match=r"^KIT_PRIVACY__SENSITIVE: privacy.sensitive is raw, which test does not"):
        repository.read(KIT_STAGE="test", KIT_PRIVACY__SENSITIVE="raw")


@pytest.mark.parametrize("stage", ["local", "dev", "test", "staging", "prod"])
def test_every_stage_may_hide_more(repository, stage):
    said = {"KIT_PRIVACY__SENSITIVE": "mock", "KIT_PRIVACY__COLUMNS": '{"age": "drop"}'}
    privacy = repository.read(KIT_STAGE=stage, **said).settings.privacy
    assert (privacy.sensitive, privacy.columns) == ("mock", {"age": "drop"})


@pytest.mark.parametrize("stage", ["local", "staging", "prod"])
def test_who_may_see_raw_may_say_so(repository, stage):
    said = {"KIT_PRIVACY__SENSITIVE": "raw", "KIT_PRIVACY__COLUMNS": '{"age": "raw"}'}
    privacy = repository.read(KIT_STAGE=stage, **said).settings.privacy
    assert (privacy.sensitive, privacy.columns) == ("raw", {"age": "raw"})


@pytest.mark.parametrize("said", ["sensitive: hash", "identifiers: raw", "columns: {age: mock}", "sensitve: drop"])
def test_word_that_is_none_is_refused(repository, said):
    repository.write("config/base.yaml", f"data: {{source: a.csv}}\nprivacy: {{{said}}}\n")
    with pytest.raises(SettingsError, match=r"^config/base.yaml: privacy\."):
        repository.read()


def test_key_may_not_stand_in_yaml(repository):
    key = "0123456789abcdef0123456789abcdef"
    repository.write("config/test.yaml", f"tracking: {{uri: 'http://host'}}\nprivacy: {{key: {key}}}\n")
    with pytest.raises(SettingsError) as caught:
        repository.read(KIT_STAGE="test")
    assert caught.value.what == "config/test.yaml: privacy.key may not be set in YAML"
    mend = "Remove it and set KIT_PRIVACY__KEY, or write it to the file secrets/KIT_PRIVACY__KEY"
    assert caught.value.mend == mend
    assert key not in str(caught.value)
    assert "key" not in json.loads(schema_text())["$defs"]["PrivacySettings"]["properties"]


def test_key_comes_from_a_file_and_is_not_shown(repository):
    key = "0123456789abcdef0123456789abcdef"
    repository.write("secrets/KIT_PRIVACY__KEY", f"{key}\n")
    layers = repository.read(KIT_STAGE="test")
    assert layers.settings.privacy.key.get_secret_value() == key
    (shown,) = [item for item in show(layers) if item.key == "privacy.key"]
    assert (shown.value, shown.origin) == ("(set)", "secrets/KIT_PRIVACY__KEY")


def test_short_key_is_refused(repository):
    with pytest.raises(SettingsError, match=r"KIT_PRIVACY__KEY: privacy.key should have at least 32 characters"):
        repository.read(KIT_PRIVACY__KEY="hunter2")
