"""Staging's version becomes prod's on one server: only what staging's gate has passed, and the very same files."""

from pathlib import Path

import pytest

from starterkit.errors import Refused
from starterkit.pipeline import Pipeline
from starterkit.release.promoter import copy_version
from starterkit.serving.predictor import GRAPH_FILE
from starterkit.settings import Stage
from starterkit.tracking.registry import ModelRegistry, Version

PASSED = {"stage": "staging", "gate": "passed", "evidence": "0123", "evidence_place": "gate/x", "history.head": "1 ab"}


@pytest.fixture
def staging(pipeline: Pipeline) -> ModelRegistry:
    """Stage staging has version 1 as champion, which its gate passed. One local store stands for the server."""
    registry = ModelRegistry(pipeline.registry.connection, Stage.STAGING, "diabetes")
    first = pipeline.registry.version(1)
    files = first.source.removeprefix("models:/")
    registry.set_champion(registry.register(first.run, files, dict(first.tags) | PASSED, "staging's"))
    return registry


@pytest.fixture
def prod(staging: ModelRegistry) -> ModelRegistry:
    return ModelRegistry(staging.connection, Stage.PROD, "diabetes")


def test_a_copy_bears_nothing_of_stagings_gate_and_is_used_again(staging, prod):
    copy = copy_version(prod, "diabetes")
    assert (copy.number, copy.tags["copied_from"]) == (1, "staging.diabetes version 1")
    assert copy.tags["staging_evidence"] == "0123"
    assert not copy.tags.keys() & {"gate", "evidence", "evidence_place", "history.head"}
    assert copy.tags["commit"] == staging.version(1).tags["commit"]
    assert copy_version(prod, "diabetes").number == 1


@pytest.mark.parametrize(
    ("tags", "said"),
    [
        ({"gate": "refused"}, "has not passed staging's gate"),
        ({"evidence": ""}, "passed staging's gate before that kept its evidence"),
        ({"stage": "test"}, "was trained in stage test, and only staging's models move on"),
    ],
)
def test_what_staging_has_not_passed_is_not_copied(staging, prod, tags, said):
    staging.tag(staging.version(1), tags)
    with pytest.raises(Refused, match=said):
        copy_version(prod, "diabetes")
    assert prod.versions() == []


def test_without_a_champion_staging_has_nothing_to_copy(staging, prod):
    staging.connection.client.delete_registered_model_alias(staging.model, "champion")
    with pytest.raises(Refused, match=r"'staging\.diabetes' has no champion on this server"):
        copy_version(prod, "diabetes")
    assert copy_version(prod, "diabetes", 1).number == 1  # one that is named is taken


@pytest.fixture
def altered(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The versions of prod whose files the server gives back otherwise. A real one shares them with staging's."""
    numbers, fetch = set[int](), ModelRegistry.fetch

    def fetched(registry: ModelRegistry, version: Version, into: Path) -> Path:
        folder = fetch(registry, version, into)
        if version.model.startswith("prod.") and version.number in numbers:
            (folder / GRAPH_FILE).write_bytes(b"another graph")
        return folder

    monkeypatch.setattr(ModelRegistry, "fetch", fetched)
    return numbers


def test_a_copy_of_other_files_is_taken_back(prod, altered):
    altered.add(1)
    with pytest.raises(Refused, match=r"the copy of staging\.diabetes version 1 has other files"):
        copy_version(prod, "diabetes")
    assert prod.versions() == []


def test_an_earlier_copy_that_was_altered_is_not_used_again(prod, altered):
    assert copy_version(prod, "diabetes").number == 1
    altered.add(1)
    assert copy_version(prod, "diabetes").number == 2
