"""Which versions may go, as a table of cases; and how they go, on a real store."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from example_project import problem
from starterkit.data.dataset import Dataset
from starterkit.pipeline import Pipeline
from starterkit.release.history import Entry, Ledger, Person
from starterkit.release.prune import Pruner, rule
from starterkit.settings import Settings
from starterkit.tracking.registry import Version

pytestmark = pytest.mark.usefixtures("hurried")
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def version(number: int, days: float, **tags: str) -> Version:
    return Version("local.trial", number, "run", tags, NOW - timedelta(days=days))


def became(number: int, earlier: int | None, days: float) -> Entry:
    at = (NOW - timedelta(days=days)).isoformat()
    return Entry(at=at, act="promote", phase="outcome", result="done", version=number, earlier=earlier,
                 who=Person("ada"))  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "entries", "aliases", "keep", "why"),
    [
        (version(1, 400), [], {}, 0, ""),
        (version(1, 400, gate="refused"), [], {}, 0, ""),
        (version(1, 400, gate="passed"), [], {}, 0, ""),
        (version(1, 400), [], {"champion": 1}, 0, "it is champion"),
        (version(1, 400), [], {"shadow": 1}, 0, "it is shadow"),
        (version(1, 400), [], {}, 2, "it is one of the newest 2"),
        (version(1, 400), [], {}, 1, ""),
        (version(1, 89), [], {}, 0, "it was made within 90 days"),
        (version(1, 91), [], {}, 0, ""),
        (version(1, 400), [became(1, None, 400), became(2, 1, 89)], {"champion": 2}, 0, "it served within 90 days"),
        (version(1, 400), [became(1, None, 400), became(2, 1, 91)], {"champion": 2}, 0, ""),
        (version(1, 400), [became(2, 1, 89)], {"champion": 2}, 0, "it served within 90 days"),
        (version(1, 400), [replace(became(1, 2, 5), result="refused")], {"champion": 2}, 0, ""),
        (version(1, 89, gate="passed"), [], {}, 0, "it served within 90 days"),
    ],
)
def test_rule(asked, entries, aliases, keep, why):
    told = rule([asked, version(2, 1)], entries, aliases, now=NOW, keep_days=90, keep=keep)
    assert [one.version.number for one in told] == [2, 1]
    assert told[1].why == why


def trained_apart(pipeline: Pipeline, dataset: Dataset) -> Version:
    """A version with files of its own."""
    exported = pipeline.export(pipeline.train(dataset), dataset)
    return pipeline.register(exported.run)


def files(settings: Settings) -> set[str]:
    return {file.parent.parent.name for file in settings.root.rglob("model.onnx")}


def test_old_versions_go_with_files_that_nobody_else_has(pipeline):
    dataset = pipeline.read()
    fourth = trained_apart(pipeline, dataset)
    pipeline.registry.tag(fourth, {"gate": "refused"})
    registry, ledger = pipeline.registry, Ledger(pipeline.registry)
    pruner = Pruner(pipeline.settings, registry, keep_days=0, keep=0)
    before = ledger.kept()
    leaving = {one.version.number: one for one in pruner.leaving()}
    assert leaving.keys() == {1, 3, 4}
    assert leaving[3].shared_with == ["local.diabetes version 2", "local.diabetes version 1"]
    assert (leaving[4].shared_with, leaving[4].size > 10_000) == ([], True)
    assert ledger.kept() == before  # looking wrote nothing
    assert [one.number for one in registry.versions()] == [4, 3, 2, 1]

    assert {one.leaving.version.number: one.files_gone for one in pruner.prune()} == {1: False, 3: False, 4: True}
    assert [one.number for one in registry.versions()] == [2]
    registry.open(registry.version(2))
    assert len(files(pipeline.settings)) == 1
    client = registry.connection.client
    assert client.get_run(fourth.run).info.status == "FINISHED"
    assert "rows.npz" in {file.path for file in client.list_artifacts(fourth.run)}
    assert ledger.find_break() == ""
    told = [(one.version, one.phase) for one in ledger.entries() if one.act == "prune"]
    assert told == [(n, phase) for n in (4, 3, 1) for phase in ("intent", "outcome")]
    assert pruner.prune() == []
    kept = registry.version(2)
    again = registry.register(kept.run, kept.source.removeprefix("models:/"), dict(kept.tags), "again")
    assert again.number == 5  # no number is given twice


KILLED = """
from starterkit.release.prune import Pruner
from starterkit.tracking import registry as files
from starterkit.tracking.registry import ModelRegistry

if sys.argv[2] == "before the version":
    ModelRegistry.delete = die
else:
    files._remove = die
pipeline = Pipeline(problem, load_settings(Path(sys.argv[1]), {}))
Pruner(pipeline.settings, pipeline.registry, 0, 0).prune()
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="without /proc nobody is known to be dead")
@pytest.mark.parametrize("point", ["before the version", "before the files"])
def test_killed_half_way_it_goes_on(pipeline, killed, point):
    fourth = trained_apart(pipeline, pipeline.read())
    killed(KILLED, pipeline.settings.root, point)
    assert len(files(pipeline.settings)) == 2
    left = {one.number for one in pipeline.registry.versions()}
    assert left == ({1, 2, 3, 4} if point == "before the version" else {1, 2, 3})

    again = Pipeline(problem, pipeline.settings)
    Pruner(again.settings, again.registry, 0, 0).prune()
    assert {one.number for one in again.registry.versions()} == {2}
    assert len(files(pipeline.settings)) == 1
    ledger = Ledger(again.registry)
    assert ledger.find_break() == ""
    told = [one.result for one in ledger.entries() if one.act == "prune" and one.version == fourth.number]
    assert told == ["", "finished"]
