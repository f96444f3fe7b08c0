"""The layers: which of them wins, what each value is read as, and what is remembered of its origin."""

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from starterkit.errors import SettingsError
from starterkit.settings import Stage, find_root, layers, load_settings, read_layers, schema_text, settings_schema, show
from starterkit.settings.layers import Layer, fields, is_secret, leaves, mask, merge, model_at, passwords_in


@pytest.mark.parametrize(
    ("written", "value"),
    [("1", 1), ("1.0", 1.0), ("1e-3", 0.001), ("true", True), ("null", None), ("'1'", "1"), ("gini", "gini")],
)
def test_parameters_keep_the_type_that_yaml_shows(repository, written, value):
    repository.write("config/base.yaml", f"data: {{source: a.csv}}\ntraining: {{params: {{it: {written}}}}}")
    read = repository.read().settings.training.params["it"]
    assert read == value
    assert type(read) is type(value)


def test_a_secret_comes_from_a_file_or_from_the_environment(repository):
    repository.write("secrets/KIT_SERVING__API_KEY", "sixteen-characters\n\n")  # one end of line is no part of it
    repository.write("secrets/KIT_TRACKING__TOKEN", " spaces stay \r\n")
    repository.write("secrets/.gitkeep", "")
    settings = repository.read(KIT_DATA__PASSWORD="open sesame").settings
    assert settings.serving.api_key.get_secret_value() == "sixteen-characters\n"
    assert settings.tracking.token.get_secret_value() == " spaces stay "
    assert settings.data.password.get_secret_value() == "open sesame"
    assert "sixteen" not in repr(settings)


def test_outside_a_repository_the_message_says_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"config/base.yaml") as caught:
        load_settings(environ={})
    assert caught.value.hint == "Run this inside the repository"
    assert str(tmp_path) not in str(caught.value)


def test_settings_cannot_be_changed(repository):
    found = repository.read()
    with pytest.raises(ValidationError):
        found.settings.serving.port = 1
    with pytest.raises(ValidationError):
        found.settings.debug = True
    with pytest.raises(TypeError):
        found.origins["debug"] = "nowhere"


def test_the_given_root_and_environment_are_read_and_no_others(repository, tmp_path, monkeypatch):
    elsewhere = tmp_path / "elsewhere"
    shutil.copytree(repository.root / "config", elsewhere / "config")
    (elsewhere / "deep").mkdir()
    monkeypatch.chdir(elsewhere / "deep")
    assert load_settings(environ={}).root == elsewhere  # where none is given, the one above this folder
    for name in [name for name in os.environ if name.upper().startswith("KIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("KIT_SERVING__PORT", "4321")
    settings = load_settings(repository.root, {"KIT_SERVING__THREADS": "3"})
    assert (settings.root, settings.serving.port, settings.serving.threads) == (repository.root, 8000, 3)
    assert read_layers(repository.root).settings.serving.port == 4321  # where none is given, the process's own


def test_the_nearest_root_upwards_is_found_and_only_by_its_base_file(tmp_path):
    inner = tmp_path / "outer" / "inner"
    (inner / "below" / "config").mkdir(parents=True)
    for root in (tmp_path / "outer", inner):
        (root / "config").mkdir(exist_ok=True)
        (root / "config" / "base.yaml").touch()
    assert find_root(inner / "below") == find_root(inner) == inner
    (inner / "config" / "base.yaml").unlink()
    (inner / "config" / "base.yaml").mkdir()
    assert find_root(inner / "below") == tmp_path / "outer"


def test_a_later_folder_of_secrets_wins_and_the_environment_over_both(repository, monkeypatch):
    monkeypatch.setattr(layers, "SECRET_FOLDERS", ("secrets", "mounted", "file"))
    for folder, value in (("secrets", "1"), ("mounted", "2")):
        repository.write(f"{folder}/KIT_SERVING__PORT", value)
        repository.write(f"{folder}/KIT_SERVING__THREADS", value)
        repository.write(f"{folder}/README", "not a setting")
    repository.write("file", "no folder, which says nothing")
    found = repository.read(KIT_SERVING__PORT="3")
    assert (found.settings.serving.port, found.settings.serving.threads) == (3, 2)
    assert found.origins["serving.threads"] == "mounted/KIT_SERVING__THREADS"


def test_every_value_is_shown_with_its_origin_and_a_secret_is_only_said_to_be_set(repository):
    repository.write("secrets/KIT_SERVING__API_KEY", "hunter2-hunter2-hunter2")
    read = repository.read(KIT_SERVING__PORT="9000", KIT_TRACKING__URI="http://me:hunter2@host")
    shown = {line.key: (line.value, line.origin) for line in show(read)}
    assert shown.keys() == read.origins.keys()
    assert "hunter2" not in str(show(read))
    assert (
        shown.items()
        >= {
            "serving.port": ("9000", "KIT_SERVING__PORT"),
            "data.source": ("data/example.csv", "config/base.yaml"),
            "data.query": ("null", "default"),
            "debug": ("false", "default"),
            "stage": ("local", "default"),
            "serving.api_key": ("(set)", "secrets/KIT_SERVING__API_KEY"),
            "tracking.token": ("(not set)", "default"),
            "tracking.uri": ("http://me:***@host", "KIT_TRACKING__URI"),
        }.items()
    )


@pytest.mark.parametrize(
    ("address", "masked"),
    [
        ("postgresql+psycopg2://me:secret@host:5432/name", "postgresql+psycopg2://me:***@host:5432/name"),
        ("http://me:se@cr/et@host", "http://me:***@host"),
        ("http://:secret@host", "http://:***@host"),
        ("db://host/name?user=me&password=secret&x=1", "db://host/name?user=me&password=***&x=1"),
        ("db://host/name?PWD=secret", "db://host/name?PWD=***"),
        *((plain, plain) for plain in ("http://localhost:5000", "postgresql://me@host:5432/name", "sqlite:///a.db")),
        *((plain, plain) for plain in ("data/a.csv", "me@host")),
    ],
)
def test_a_password_in_an_address_is_found_and_masked(address, masked):
    assert bool(passwords_in(address)) == (masked != address)
    assert mask(address) == masked


def test_every_secret_is_known():
    names = {".".join(key) for key, field in fields().items() if is_secret(field)}
    assert {"serving.api_key", "tracking.token", "tracking.password", "data.password", "promotion.signing_key"} <= names
    assert not names & {"serving.port", "data.source", "stage"}


def test_mappings_are_merged_key_by_key_and_what_takes_the_place_of_one_takes_all_of_it():
    low = {"a": {"b": 1, "c": 2}, "d": {"e": 3}, "f": 4}
    high = {"a": {"b": 5}, "d": 6, "f": {"g": 7}, "h": {}}
    values, origins = merge([Layer(lambda _: "low", low), Layer(lambda _: "high", high)])
    assert values == {"a": {"b": 5, "c": 2}, "d": 6, "f": {"g": 7}, "h": {}}
    assert {".".join(key) for key, said in origins.items() if said == "low"} == {"a.c"}
    assert {".".join(key) for key, said in origins.items() if said == "high"} == {"a", "a.b", "d", "f", "f.g", "h"}
    assert (low["a"], high["a"]) == ({"b": 1, "c": 2}, {"b": 5})
    assert list(leaves(high)) == [(("a", "b"), 5), (("d",), 6), (("f", "g"), 7), (("h",), {})]


VALUES: dict[tuple[str, ...], st.SearchStrategy[object]] = {
    ("serving", "port"): st.integers(1, 65535),
    ("serving", "threads"): st.integers(1, 64),
    ("serving", "host"): st.sampled_from(["127.0.0.1", "0.0.0.0", "localhost", "ü.example"]),
    ("export", "tolerance"): st.floats(1e-9, 1),
    ("training", "seed"): st.integers(0, 2**32 - 1),
    ("debug",): st.booleans(),
    ("training", "params", "depth"): st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | st.none(),
    ("training", "params", "ra te"): st.booleans() | st.integers(),
    ("gate", "limits", "rmse", "min"): st.floats(-1e6, 0),
    ("gate", "limits", "rmse", "max"): st.floats(1, 1e6),
}
SAID = st.fixed_dictionaries({}, optional=VALUES)


class Quoting(yaml.SafeDumper):
    """Writes every text in quotes. PyYAML's own writer leaves 0E0 without, which the kit, as YAML 1.2, reads as 0."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def nested(said: Mapping[tuple[str, ...], object]) -> dict[str, object]:
    tree: dict[str, object] = {}
    for key, value in said.items():
        branch: dict = tree
        for name in key[:-1]:
            branch = branch.setdefault(name, {})
        branch[key[-1]] = value
    return tree


def variables(said: Mapping[tuple[str, ...], object]) -> dict[str, str]:
    """The same as environment variables or secret files; what is deeper than a section is JSON."""
    given = {key[:2]: value for key, value in said.items() if len(key) <= 2}
    for key in {key[:2] for key in said if len(key) > 2}:
        given[key] = nested({other[2:]: value for other, value in said.items() if other[:2] == key})
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}
    return {"KIT_" + "__".join(key).upper(): text for key, text in texts.items()}


@settings(max_examples=60, deadline=None)
@example(base={}, stage={("training", "params", "depth"): "0E0"}, secret={}, environ={})
@given(base=SAID, stage=SAID, secret=SAID, environ=SAID)
def test_the_last_word_holds_and_is_known_by_name(empty, base, stage, secret, environ):
    repository = empty()
    for name, said, always in (
        ("base", base, {"data": {"source": "data/x.csv"}}),
        ("local", stage, {"tracking": {"uri": "sqlite:///mlflow.db"}}),
    ):
        text = yaml.dump({**nested(said), **always}, Dumper=Quoting, allow_unicode=True)
        repository.write(f"config/{name}.yaml", text)
    for name, text in variables(secret).items():
        repository.write(f"secrets/{name}", text)
    layers = repository.read(**variables(environ))
    found = dict(leaves(layers.settings.model_dump()))
    origins = (("config/base.yaml", base), ("config/local.yaml", stage), ("secrets/", secret), ("KIT_", environ))
    for key in VALUES:
        said_by = [(origin, said[key]) for origin, said in origins if key in said]
        if said_by:
            origin, value = said_by[-1]
            assert found[key] == value
            assert layers.origins[".".join(key)].startswith(origin)
        elif key in found:
            assert layers.origins[".".join(key)] == "default"


ROOT = next(folder for folder in Path(__file__).parents if (folder / "pyproject.toml").is_file())
CONFIG = ROOT / "config"


def errors(values: object) -> list[str]:
    return [error.message for error in Draft202012Validator(settings_schema()).iter_errors(values)]


def test_the_schema_file_is_current_and_describes_every_key():
    written = (CONFIG / "settings.schema.json").read_text(encoding="utf-8")
    hint = "write starterkit.settings.schema_text() to config/settings.schema.json"
    assert written == schema_text(), hint
    Draft202012Validator.check_schema(settings_schema())
    for part in ({}, {"data": {"query": "SELECT 1"}}, {"tracking": {"username": "me"}}):
        assert errors(part) == []
    schema = settings_schema()
    for model in (schema, *schema["$defs"].values()):
        for name, field in model["properties"].items():
            assert "description" in field or "$ref" in field, name


@pytest.mark.parametrize("stage", list(Stage))
def test_schema_and_loader_accept_our_files(stage, repository):
    for name in ("base", stage):  # copies, for a developer's own secrets/ may stand beside the real ones
        text = (CONFIG / f"{name}.yaml").read_text(encoding="utf-8")
        assert text.startswith("# yaml-language-server: $schema=settings.schema.json\n")
        assert errors(yaml.safe_load(text)) == []
        repository.write(f"config/{name}.yaml", text)
    server = {"KIT_TRACKING__URI": "http://mlflow"} if stage == "prod" else {}  # the file has a placeholder
    layers = repository.read(KIT_STAGE=stage, **server)
    assert layers.warnings == ()
    assert layers.settings.serving.require_api_key is (stage in (Stage.TEST, Stage.STAGING, Stage.PROD))


@pytest.mark.parametrize(
    "values",
    [
        {"servng": {}},
        {"serving": {"prt": 1}},
        {"gate": {"limits": {"rmse": {"maxx": 1}}}},
        {"stage": "dev"},
        {"root": "/"},
        {"serving": {"api_key": "sixteen-characters"}},
        {"data": {"password": "x"}},
        {"serving": {"port": 0}},
        {"serving": {"port": "8000"}},
        {"training": {"params": {"depth": [1]}}},
        {"tracking": {"uri": "./mlruns"}},
    ],
)
def test_the_schema_refuses_what_the_loader_refuses(values):
    assert errors(values) != []


@pytest.mark.parametrize(
    ("key", "found"),
    [("", "Settings"), ("serving", "ServingSettings"), ("gate limits rmse", "Limit"), ("gate limits", None),
     ("serving port", None), ("serving nowhere", None), ("nowhere", None), ("training params depth", None)],
)  # fmt: skip
def test_the_model_under_a_key(key, found):
    model = model_at(tuple(key.split()))
    assert (model.__name__ if model else None) == found
