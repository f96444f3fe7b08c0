"""Versions and the champion, on a real store."""

import pytest

from starterkit.errors import ContractError, TrackingError
from starterkit.settings import Stage, load_settings
from starterkit.tracking.connection import Connection, connect
from starterkit.tracking.registry import ModelRegistry, UnknownVersion


@pytest.fixture
def registry(connection: Connection) -> ModelRegistry:
    return ModelRegistry(connection, Stage.DEV, "trial")


@pytest.fixture
def model_id(connection: Connection) -> str:
    """A logged model without files."""
    experiment = connection.client.create_experiment("dev.trial", connection.artifacts)
    made = connection.client.create_logged_model(experiment, "empty")
    return connection.client.finalize_logged_model(made.model_id, "READY").model_id


def test_version_is_found_by_number_or_alias(registry, model_id):
    with pytest.raises(UnknownVersion, match="has no champion"):
        registry.find("champion")
    with pytest.raises(TrackingError, match=r"'dev\.trial' has no version"):
        registry.version()
    assert registry.champion() is None
    first = registry.register("run1", model_id, {"commit": "abc"}, "first")
    second = registry.register("run2", model_id, {"commit": "def"}, "second")
    assert (second.number, second.run, second.tags["commit"], str(second)) == (2, "run2", "def", "dev.trial version 2")
    assert (registry.version(), registry.version(1).tags["commit"], registry.champion()) == (second, "abc", None)
    registry.set_champion(first)
    assert (registry.champion(), registry.find("champion"), registry.find("2")) == (first, first, second)
    for name in ("0", "3"):  # 0 is not the newest
        with pytest.raises(UnknownVersion, match=rf"no version {name}.*Name one of 1, 2"):
            registry.find(name)
    for name in ("", "two", "-1", "²", "0x2"):
        with pytest.raises(UnknownVersion, match="names no version"):
            registry.find(name)
    with pytest.raises(TrackingError, match="has no version 7"):
        registry.version(7)


def test_fetched_folder_is_the_exported_one(first_run, tmp_path):
    root, summary = first_run
    registry = ModelRegistry(connect(load_settings(root, {}).tracking, root), Stage.LOCAL, "diabetes")
    folder = registry.fetch(registry.version(1), tmp_path)
    assert {"MLmodel", "model.onnx", "contract.json", "parity.npz"} <= {file.name for file in folder.iterdir()}
    assert registry.open(registry.version(1)).contract == summary.exported.contract


def test_version_whose_files_are_gone_is_named(registry, model_id):
    version = registry.register("run1", model_id, {}, "first")
    with pytest.raises((TrackingError, ContractError)) as raised:
        registry.open(version)
    assert "\n" not in str(raised.value)
