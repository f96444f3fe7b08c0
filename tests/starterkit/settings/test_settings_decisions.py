"""Decisions of the settings that no other test sees fall the wrong way. A run of `make mutants` asked for them."""

from pathlib import Path

import pytest

from starterkit.errors import SettingsError
from starterkit.settings import layers as variables
from starterkit.settings import load_settings
from starterkit.settings.layers import Layer, leaves, merge
from starterkit.settings.load import find_root, together
from starterkit.settings.model import fields, is_secret, model_at

SECRET = "hunter2-hunter2-hunter2"


def refusal(repository, **environ: str) -> SettingsError:
    with pytest.raises(SettingsError) as caught:
        repository.read(**environ)
    return caught.value


def test_the_given_root_and_environment_are_read_and_no_others(repository, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "config").mkdir(parents=True)
    for name in ("base", "local"):
        (elsewhere / "config" / f"{name}.yaml").write_bytes((repository.root / f"config/{name}.yaml").read_bytes())
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("KIT_SERVING__PORT", "4321")

    settings = load_settings(repository.root, {"KIT_SERVING__THREADS": "3"})

    assert (settings.root, settings.serving.port, settings.serving.threads) == (repository.root, 8000, 3)


def test_the_nearest_root_upwards_is_found_and_only_by_its_base_file(tmp_path):
    inner = tmp_path / "outer" / "inner"
    (inner / "below" / "config").mkdir(parents=True)
    for root in (tmp_path / "outer", inner):
        (root / "config").mkdir(exist_ok=True)
        (root / "config" / "base.yaml").touch()
    assert find_root(inner / "below") == inner
    assert find_root(inner) == inner
    (inner / "config" / "base.yaml").unlink()
    (inner / "config" / "base.yaml").mkdir()
    assert find_root(inner / "below") == tmp_path / "outer"


def test_outside_a_repository_there_is_a_mend(tmp_path):
    with pytest.raises(SettingsError) as caught:
        find_root(tmp_path)
    assert caught.value.mend


@pytest.mark.parametrize(
    ("written", "environ", "mend"),
    [
        ({"config/local.yaml": None}, {}, "Bring it back"),
        ({"config/local.yaml": b"\xff"}, {}, "UTF-8"),
        ({"config/local.yaml": "debug: [1"}, {}, "Correct the YAML"),
        ({"config/local.yaml": "debug: 2024-02-31"}, {}, "in quotes"),
        ({"config/local.yaml": "- debug"}, {}, "config/base.yaml"),
        ({"config/local.yaml": ""}, {}, "Add it there, or to config/base.yaml"),
        ({"config/local.yaml": "tracking: {uri: 'http://t', token: x}"}, {}, "KIT_TRACKING__TOKEN"),
        ({"config/local.yaml": "stage: dev\ntracking: {uri: 'http://t'}"}, {}, "KIT_STAGE"),
        ({"config/local.yaml": "root: /\ntracking: {uri: 'http://t'}"}, {}, "Remove it"),
        ({"config/local.yaml": "tracking: {uri: 'http://a:b@host'}"}, {}, "environment variable"),
        ({"config/local.yaml": "tracking: {uri: 'http://t'}\nservng: {}"}, {}, "allowed are debug, data, tracking"),
        ({"secrets/KIT_SERVING__API_KEY": b"\xff"}, {}, "UTF-8 file"),
        ({"secrets/KIT_STAGE": "prod"}, {}, "Remove this file"),
        ({}, {"KIT_FOO": "1"}, "allowed are KIT_STAGE, KIT_DEBUG, KIT_DATA__"),
        ({}, {"KIT_SERVING__PRT": "1"}, "allowed are KIT_SERVING__"),
        ({}, {"KIT_GATE__LIMITS": "{"}, "The range that each metric has to be in"),
        ({}, {"KIT_STAGE": "production"}, "local, dev, test, staging, prod"),
        ({}, {"KIT_STAGE": "test", "KIT_DEBUG": "true"}, "Set it to false"),
        ({}, {"KIT_STAGE": "test", "KIT_TRACKING__URI": "sqlite:///a.db"}, "MLflow server"),
        ({}, {"KIT_STAGE": "test", "KIT_TRACKING__TOKEN": "changeme"}, "secret of your own"),
        ({}, {"KIT_STAGE": "prod", "KIT_SERVING__REQUIRE_API_KEY": "0"}, "config/prod.yaml"),
    ],
)
def test_a_refusal_says_what_to_do(repository, written, environ, mend):
    for name, text in written.items():
        if text is None:
            (repository.root / name).unlink()
        else:
            repository.write(name, text)
    found = refusal(repository, **environ)
    assert mend in found.mend
    assert "None" not in str(found)


def test_a_secret_in_yaml_may_also_stand_in_a_file_and_the_stage_may_not(repository):
    repository.write("config/local.yaml", "tracking: {uri: 'http://t', token: x}")
    assert refusal(repository).mend.endswith("or write it to the file secrets/KIT_TRACKING__TOKEN")
    repository.write("config/local.yaml", "tracking: {uri: 'http://t'}\nstage: dev")
    assert "secrets/" not in refusal(repository).mend


def test_a_key_that_resembles_none_is_not_guessed(repository):
    repository.write("config/local.yaml", "tracking: {uri: 'http://t'}\nzzzz: 1")
    assert refusal(repository).what == "config/local.yaml: zzzz is not a setting"


def test_a_name_of_no_section_is_told_the_sections_once(repository):
    mend = refusal(repository, KIT_FOO="1").mend
    assert mend.count("KIT_SERVING__…") == 1
    assert "KIT_SERVING__PORT" not in mend


def test_a_name_of_a_section_is_told_that_sections_names_alone(repository):
    mend = refusal(repository, kit_serving__prt="1").mend
    assert "KIT_SERVING__PORT" in mend
    assert "KIT_DATA__SOURCE" not in mend


@pytest.mark.parametrize("secret", ["change-me", "CHANGEME", "xx-Change_Me-xx", "a-Placeholder-it-is"])
@pytest.mark.parametrize("name", ["KIT_TRACKING__TOKEN", "KIT_TRACKING__PASSWORD"])
def test_every_placeholder_is_known(repository, name, secret):
    assert "placeholder" in refusal(repository, KIT_STAGE="staging", **{name: secret}).what


@pytest.mark.parametrize("uri", ["http://host", "https://host"])
def test_a_server_is_no_local_store(repository, uri):
    assert repository.read(KIT_STAGE="staging", KIT_TRACKING__URI=uri).warnings == ()


def test_every_loose_end_is_found(repository):
    found = refusal(
        repository,
        KIT_STAGE="prod",
        KIT_DEBUG="1",
        KIT_TRACKING__URI="sqlite:///a.db",
        KIT_TRACKING__TOKEN="changeme",
        KIT_SERVING__REQUIRE_API_KEY="0",
    )
    summary, *lines = str(found).splitlines()
    assert "4 problems" in summary
    keys = ("debug", "tracking.uri", "tracking.token", "serving.require_api_key")
    assert [sum(key in line for line in lines) for key in keys] == [1, 1, 1, 1]


def test_a_later_folder_of_secrets_wins_and_the_environment_over_both(repository, monkeypatch):
    monkeypatch.setattr(variables, "SECRET_FOLDERS", ("secrets", "mounted"))
    for folder in ("secrets", "mounted"):
        repository.write(f"{folder}/KIT_SERVING__PORT", "1" if folder == "secrets" else "2")
        repository.write(f"{folder}/KIT_SERVING__THREADS", "1" if folder == "secrets" else "2")
        repository.write(f"{folder}/README", "not a setting")
    layers = repository.read(KIT_SERVING__PORT="3")
    assert (layers.settings.serving.port, layers.settings.serving.threads) == (3, 2)
    assert layers.origins["serving.threads"] == "mounted/KIT_SERVING__THREADS"


def test_a_secrets_folder_that_is_a_file_says_nothing(repository):
    repository.write("secrets", "a file")
    assert repository.read().settings.serving.api_key is None


@pytest.mark.parametrize(("text", "read"), [("key of 16 chars\n\n", "key of 16 chars\n"), ("key of 16 chars. ", None)])
def test_one_end_of_line_is_no_part_of_a_secret(repository, text, read):
    repository.write("secrets/KIT_SERVING__API_KEY", text)
    assert repository.read().settings.serving.api_key.get_secret_value() == (text if read is None else read)


def test_a_problem_alone_stands_alone():
    one, other = SettingsError("a is wrong", "Mend a"), SettingsError("b is wrong")
    assert together([one]) is one
    assert str(together([one, other])).splitlines() == [
        "The settings have 2 problems:",
        "- a is wrong. Mend a.",
        "- b is wrong.",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "should not be empty"),
        ("x" * 15, "should have at least 16 characters"),
    ],
)
def test_a_key_that_is_too_short_says_how_long_it_should_be(repository, text, said):
    name = "KIT_SERVING__API_KEY" if text else "KIT_TRACKING__TOKEN"
    assert refusal(repository, **{name: text}).what.endswith(said)


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ((), "Settings"),
        (("serving",), "ServingSettings"),
        (("gate", "limits", "rmse"), "Limit"),
        (("gate", "limits"), None),
        (("serving", "port"), None),
        (("serving", "nowhere"), None),
        (("nowhere",), None),
        (("training", "params", "depth"), None),
    ],
)
def test_the_model_under_a_key(key, found):
    model = model_at(key)
    assert (model.__name__ if model else None) == found


def test_every_secret_is_known():
    names = {".".join(key) for key, field in fields().items() if is_secret(field)}
    assert {"serving.api_key", "tracking.token", "tracking.password", "data.password"} <= names
    assert not names & {"serving.port", "data.source", "stage"}


def test_an_empty_mapping_is_a_value_of_its_own():
    assert list(leaves({"a": {}, "b": {"c": {}, "d": 1}})) == [(("a",), {}), (("b", "c"), {}), (("b", "d"), 1)]


def test_a_value_in_place_of_a_mapping_forgets_what_was_said_below_it_alone():
    layers = [
        Layer("first", {"a": {"x": 1}, "b": {"x": 1}}),
        Layer("second", {"a": 1}),
        Layer("third", {"a": {"y": 1}}),
    ]
    values, origins = merge(layers)
    assert values == {"a": {"y": 1}, "b": {"x": 1}}
    assert origins == {("a",): "third", ("a", "y"): "third", ("b",): "first", ("b", "x"): "first"}


def test_a_message_never_holds_the_root(repository):
    (repository.root / "config/local.yaml").unlink()
    (repository.root / "config/local.yaml").mkdir()
    found = refusal(repository)
    assert found.mend
    assert str(Path(repository.root)) not in str(found)
