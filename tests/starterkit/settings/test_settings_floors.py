"""The floors: what local allows, dev warns of, and test, staging and prod refuse."""

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
def test_local_allows_it(repository, environ, finding):
    assert repository.read(KIT_STAGE="local", **environ).warnings == ()


@pytest.mark.parametrize(("environ", "finding"), LOOSE_ENDS)
def test_dev_warns_of_it(repository, environ, finding):
    (warning,) = repository.read(KIT_STAGE="dev", **environ).warnings
    assert finding in warning


@pytest.mark.parametrize("stage", ["test", "staging", "prod"])
@pytest.mark.parametrize(("environ", "finding"), LOOSE_ENDS)
def test_the_later_stages_refuse_it(repository, stage, environ, finding):
    with pytest.raises(SettingsError) as caught:
        repository.read(KIT_STAGE=stage, **environ)
    assert finding in str(caught.value)
    assert f"which {stage} does not allow" in str(caught.value)
    assert "change" not in str(caught.value).lower()


@pytest.mark.parametrize("stage", ["dev", "test", "staging", "prod"])
def test_every_stage_passes_without_loose_ends(repository, stage):
    assert repository.read(KIT_STAGE=stage).warnings == ()


def test_a_word_like_placeholder_is_fine_where_there_is_no_secret(repository):
    repository.write("config/base.yaml", "data: {source: placeholder.csv}")
    assert repository.read(KIT_STAGE="dev").warnings == ()


@pytest.mark.parametrize("stage", ["local", "dev", "test", "staging"])
def test_the_api_key_can_be_turned_off_before_prod(repository, stage):
    assert not repository.read(KIT_STAGE=stage, KIT_SERVING__REQUIRE_API_KEY="false").settings.serving.require_api_key


def test_the_api_key_cannot_be_turned_off_in_prod(repository):
    with pytest.raises(SettingsError, match=r"KIT_SERVING__REQUIRE_API_KEY: serving.require_api_key is false"):
        repository.read(KIT_STAGE="prod", KIT_SERVING__REQUIRE_API_KEY="false")


def test_prod_does_not_take_the_default_for_a_yes(repository):
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
