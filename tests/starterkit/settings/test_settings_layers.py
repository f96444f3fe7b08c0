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
from starterkit.settings.layers import Layer, fields, has_password, is_secret, leaves, mask, merge, model_at

KEY = "sixteen-characters"


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
    repository.write("secrets/KIT_SERVING__API_KEY", KEY + "\n\n")  # one end of line is no part of it
    repository.write("secrets/KIT_TRACKING__TOKEN", " spaces stay \r\n")
    repository.write("secrets/.gitkeep", "")
    settings = repository.read(KIT_DATA__PASSWORD="open sesame").settings
    assert settings.serving.api_key.get_secret_value() == KEY + "\n"
    assert settings.tracking.token.get_secret_value() == " spaces stay "
    assert settings.data.password.get_secret_value() == "open sesame"
    assert KEY not in repr(settings)


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
    monkeypatch.setattr(layers, "SECRET_FOLDERS", ("secrets", "mounted"))
    for folder in ("secrets", "mounted"):
        repository.write(f"{folder}/KIT_SERVING__PORT", "1" if folder == "secrets" else "2")
        repository.write(f"{folder}/KIT_SERVING__THREADS", "1" if folder == "secrets" else "2")
        repository.write(f"{folder}/README", "not a setting")
    found = repository.read(KIT_SERVING__PORT="3")
    assert (found.settings.serving.port, found.settings.serving.threads) == (3, 2)
    assert found.origins["serving.threads"] == "mounted/KIT_SERVING__THREADS"


def test_a_secrets_folder_that_is_a_file_says_nothing(repository):
    repository.write("secrets", "a file")
    assert repository.read().settings.serving.api_key is None


# --- What `config show` is given: every value with its origin, and no secret.


SECRET = "hunter2-hunter2-hunter2"


def test_every_value_is_shown_with_its_origin(repository):
    shown = {line.key: line for line in show(repository.read(KIT_SERVING__PORT="9000"))}
    assert shown["serving.port"] == ("serving.port", "9000", "KIT_SERVING__PORT")
    assert shown["data.source"] == ("data.source", "data/example.csv", "config/base.yaml")
    assert shown["data.query"] == ("data.query", "null", "default")
    assert shown["debug"] == ("debug", "false", "default")
    assert shown["stage"] == ("stage", "local", "default")
    assert set(shown) == set(repository.read(KIT_SERVING__PORT="9000").origins)


def test_a_secret_is_only_said_to_be_set(repository):
    repository.write("secrets/KIT_SERVING__API_KEY", SECRET)
    lines = show(repository.read(KIT_TRACKING__URI=f"http://me:{SECRET}@host"))
    shown = {line.key: (line.value, line.origin) for line in lines}
    assert shown["serving.api_key"] == ("(set)", "secrets/KIT_SERVING__API_KEY")
    assert shown["tracking.token"] == ("(not set)", "default")
    assert shown["tracking.uri"] == ("http://me:***@host", "KIT_TRACKING__URI")
    assert "hunter2" not in str(lines)


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
    assert has_password(address) == (masked != address)
    assert mask(address) == masked


def test_every_secret_is_known():
    names = {".".join(key) for key, field in fields().items() if is_secret(field)}
    assert {"serving.api_key", "tracking.token", "tracking.password", "data.password", "promotion.signing_key"} <= names
    assert not names & {"serving.port", "data.source", "stage"}


# --- The deep merge, held to its promise with whatever mappings hypothesis can think of.


NAMES = st.sampled_from("abc")
TREES = st.recursive(
    st.dictionaries(NAMES, st.integers(), max_size=3),
    lambda trees: st.dictionaries(NAMES, trees | st.integers(), max_size=3),
    max_leaves=8,
)


def layer(name: str, values: dict[str, object]) -> Layer:
    return Layer(lambda _: name, values)


LAYERS = st.lists(TREES, max_size=4).map(
    lambda trees: [layer(f"layer {number}", tree) for number, tree in enumerate(trees)]
)


def said(layer: Layer) -> dict[tuple[str, ...], object]:
    return {key: value for key, value in leaves(layer.values) if value != {}}


def touches(key: tuple[str, ...], other: tuple[str, ...]) -> bool:
    shared = min(len(key), len(other))
    return key[:shared] == other[:shared]


@settings(deadline=None, max_examples=150)
@given(LAYERS)
def test_the_last_word_holds_by_name_and_no_other_is_lost(layers):
    before = [repr(layer.values) for layer in layers]
    values, origins = merge(layers)
    kept = dict(leaves(values))
    for key, value in kept.items():
        if value != {}:
            winner = [layer for layer in layers if key in said(layer)][-1]
            assert said(winner)[key] == value
            assert origins[key] == winner.origin(key)
    for position, layer in enumerate(layers):
        for key in said(layer):
            later = [other for above in layers[position + 1 :] for other, _ in leaves(above.values)]
            assert key in kept or any(touches(key, other) for other in later)
    assert set(origins) == {key[:length] for key in kept for length in range(1, len(key) + 1)}
    assert [repr(layer.values) for layer in layers] == before


def test_an_empty_mapping_is_a_value_of_its_own():
    assert list(leaves({"a": {}, "b": {"c": {}, "d": 1}})) == [(("a",), {}), (("b", "c"), {}), (("b", "d"), 1)]


# --- The layers as a whole, over real files: the last word holds and is known by name.

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
    given: dict[tuple[str, ...], object] = {}
    for key, value in said.items():
        if len(key) <= 2:
            given[key] = value
        else:
            inner = given.setdefault(key[:2], {})
            for name in key[2:-1]:
                inner = inner.setdefault(name, {})
            inner[key[-1]] = value
    texts = {key: value if isinstance(value, str) else json.dumps(value) for key, value in given.items()}
    return {"KIT_" + "__".join(key).upper(): text for key, text in texts.items()}


@settings(max_examples=60, deadline=None)
@example(base={}, stage={("training", "params", "depth"): "0E0"}, secret={}, environ={})
@given(base=SAID, stage=SAID, secret=SAID, environ=SAID)
def test_the_last_word_holds_and_is_known_by_name(tmp_path_factory, base, stage, secret, environ):
    root: Path = tmp_path_factory.mktemp("layers")
    for name, said, always in (
        ("base", base, {"data": {"source": "data/x.csv"}}),
        ("local", stage, {"tracking": {"uri": "sqlite:///mlflow.db"}}),
    ):
        (root / "config").mkdir(exist_ok=True)
        text = yaml.dump({**nested(said), **always}, Dumper=Quoting, allow_unicode=True)
        (root / "config" / f"{name}.yaml").write_text(text)
    (root / "secrets").mkdir()
    for name, text in variables(secret).items():
        (root / "secrets" / name).write_text(text)
    layers = read_layers(root, variables(environ))
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


# --- The repository's own configuration: its schema is current, and each of its files is accepted.

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


@pytest.mark.parametrize("name", ["base", *Stage])
def test_the_schema_accepts_our_files(name):
    text = (CONFIG / f"{name}.yaml").read_text(encoding="utf-8")
    assert text.startswith("# yaml-language-server: $schema=settings.schema.json\n")
    assert errors(yaml.safe_load(text)) == []


@pytest.mark.parametrize("stage", list(Stage))
def test_each_stage_accepts_our_files(stage, tmp_path):
    # A copy, because a developer's own secrets/ may stand beside the real one.
    (tmp_path / "config").mkdir()
    for name in ("base", stage):
        (tmp_path / f"config/{name}.yaml").write_bytes((CONFIG / f"{name}.yaml").read_bytes())
    server = {"KIT_TRACKING__URI": "http://mlflow"} if stage == "prod" else {}  # the file has a placeholder
    layers = read_layers(tmp_path, {"KIT_STAGE": stage, **server})
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
