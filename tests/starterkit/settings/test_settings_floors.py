"""The floors: what local allows, dev warns of, and test, staging and prod refuse."""

import re

import pytest

from starterkit.errors import SettingsError

LOOSE_ENDS = [
    ({"KIT_DEBUG": "true"}, "KIT_DEBUG: debug is true"),
    ({"KIT_TRACKING__URI": "sqlite:///a.db"}, "KIT_TRACKING__URI: tracking.uri is a local store"),
    ({"KIT_SERVING__API_KEY": "Change-Me-Change-Me"}, "KIT_SERVING__API_KEY: serving.api_key holds a placeholder"),
    ({"KIT_TRACKING__PASSWORD": "changeme"}, "KIT_TRACKING__PASSWORD: tracking.password holds a placeholder"),
    ({"KIT_TRACKING__URI": "http://me:changeme@host"}, "KIT_TRACKING__URI: tracking.uri holds a placeholder"),
]


@pytest.mark.parametrize(("environ", "finding"), LOOSE_ENDS)
def test_local_allows_it_dev_warns_of_it_and_the_later_stages_refuse_it(repository, environ, finding):
    assert repository.read(KIT_STAGE="local", **environ).warnings == ()
    (warning,) = repository.read(KIT_STAGE="dev", **environ).warnings
    assert finding in warning
    for stage in ("test", "staging", "prod"):
        with pytest.raises(SettingsError) as caught:
            repository.read(KIT_STAGE=stage, **environ)
        assert finding in str(caught.value)
        assert f"which {stage} does not allow" in str(caught.value)
        assert re.search("Set it to false|MLflow server|secret of your own", caught.value.hint)
        assert "change" not in str(caught.value).lower()


def test_a_word_like_placeholder_is_fine_where_there_is_no_secret(repository):
    repository.write("config/base.yaml", "data: {source: placeholder.csv}")
    assert repository.read(KIT_STAGE="dev").warnings == ()


def test_prod_alone_wants_the_api_key_and_in_so_many_words(repository):
    off = {"KIT_SERVING__REQUIRE_API_KEY": "false"}
    for stage in ("local", "dev", "test", "staging"):
        assert not repository.read(KIT_STAGE=stage, **off).settings.serving.require_api_key
    with pytest.raises(SettingsError, match=r"KIT_SERVING__REQUIRE_API_KEY: serving.require_api_key is false"):
        repository.read(KIT_STAGE="prod", **off)
    repository.write("config/prod.yaml", "tracking: {uri: 'http://host'}")
    with pytest.raises(SettingsError, match=r"default: serving.require_api_key is false"):
        repository.read(KIT_STAGE="prod")


@pytest.mark.parametrize("stage", ["staging", "prod"])
@pytest.mark.parametrize(
    "name", ["policy", "parity", "holdout", "leak", "champion", "slices", "signature", "a check of the project"]
)
def test_gatekeepers_keep_their_checks(repository, stage, name):
    repository.write(f"config/{stage}.yaml", f"gate: {{checks: {{{name}: false}}}}")
    with pytest.raises(SettingsError) as caught:
        repository.read(KIT_STAGE=stage, KIT_TRACKING__URI="http://host", KIT_SERVING__REQUIRE_API_KEY="true")
    assert f"config/{stage}.yaml: gate.checks.{name} is false, which {stage} does not allow" in str(caught.value)
    assert "may leave out baseline, latency, size, robustness" in str(caught.value)


@pytest.mark.parametrize(("stage", "name"), [("test", "parity"), ("staging", "latency"), ("prod", "size")])
def test_other_checks_may_be_left_out(repository, stage, name):
    repository.write("config/base.yaml", f"data: {{source: a.csv}}\ngate: {{checks: {{{name}: false}}}}")
    assert repository.read(KIT_STAGE=stage).settings.gate.checks == {name: False}


@pytest.mark.parametrize("secret", ["change-me", "CHANGEME", "xx-Change_Me-xx", "a-Placeholder-it-is"])
@pytest.mark.parametrize("name", ["KIT_TRACKING__TOKEN", "KIT_TRACKING__PASSWORD"])
def test_every_placeholder_is_known(repository, name, secret):
    with pytest.raises(SettingsError, match="placeholder"):
        repository.read(KIT_STAGE="staging", **{name: secret})


# --- What a stage does to people's data: settings may hide more, and never less.


@pytest.mark.parametrize(
    ("stage", "said", "finding", "hint"),
    [
        ("dev", "sensitive: raw", "privacy.sensitive is raw, which dev", "generalise, mock or drop"),
        ("dev", "identifiers: pseudonymise", "privacy.identifiers is pseudonymise, which dev", "drop"),
        ("dev", "columns: {age: raw}", "privacy.columns.age is raw, which dev", "generalise or drop"),
        ("test", "sensitive: raw", "privacy.sensitive is raw, which test", "generalise, mock or drop"),
        ("test", "columns: {age: raw}", "privacy.columns.age is raw, which test", "generalise or drop"),
    ],
)
def test_weaker_policy_is_refused_with_file_and_key(repository, stage, said, finding, hint):
    path = f"config/{stage}.yaml"
    repository.write(path, (repository.root / path).read_text() + f"privacy: {{{said}}}\n")
    with pytest.raises(SettingsError) as caught:
        repository.read(KIT_STAGE=stage)
    assert str(caught.value).startswith(f"{path}: {finding}")
    assert f"Set it to {hint}, or leave it out" in caught.value.hint


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
