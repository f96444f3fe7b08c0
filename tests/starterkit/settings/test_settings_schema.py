"""The repository's own configuration: its schema is current, and each of its files is accepted."""

from pathlib import Path

import pytest
import yaml
from jsonschema import Draft202012Validator

from starterkit.settings import Stage, read_layers, schema_text, settings_schema
from starterkit.settings.layers import model_at

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
