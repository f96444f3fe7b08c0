"""The champion moves on and back, and each move is written down, on a real store."""

from pathlib import Path

import pytest

from starterkit.data.dataset import Dataset
from starterkit.errors import ContractError, Refused, UserError
from starterkit.pipeline import Pipeline
from starterkit.release.alias import ChampionAlias, Rollback, unfinished
from starterkit.release.history import Entry, Ledger
from starterkit.release.judgement import Judge
from starterkit.release.promoter import copy_version
from starterkit.serving.predictor import GRAPH_FILE
from starterkit.settings import Limit, Stage
from starterkit.tracking.lock import Locked, PromotionLock
from starterkit.tracking.registry import CHAMPION, ModelRegistry, UnknownVersion, Version

pytestmark = pytest.mark.usefixtures("hurried")


def entries(pipeline: Pipeline) -> list[Entry]:
    ledger = Ledger(pipeline.registry)
    assert ledger.find_break() == ""
    assert unfinished(ledger) is None
    return ledger.entries()


def moves(pipeline: Pipeline) -> list[tuple[str, str, int, int | None]]:
    return [(one.act, one.result, one.version, one.earlier) for one in entries(pipeline) if one.phase == "outcome"]


def champion(pipeline: Pipeline) -> int | None:
    return pipeline.registry.aliases().get(CHAMPION)


def rollback(pipeline: Pipeline, number: int | None = None, reason: str = "too slow") -> Rollback:
    return ChampionAlias(pipeline.registry, pipeline.settings).rollback(number, reason=reason)


@pytest.fixture
def dataset(pipeline: Pipeline) -> Dataset:
    return pipeline.read()


def test_a_promotion_is_written_down_before_and_after_and_a_refusal_without_a_value(pipeline, dataset):
    told = entries(pipeline)
    phases = [(number, earlier, phase) for number, earlier in ((1, None), (2, 1)) for phase in ("intent", "outcome")]
    assert [(one.version, one.earlier, one.phase) for one in told if one.act == "promote"] == phases
    last, version = told[-1], pipeline.registry.version(2)
    assert (last.commit, last.files) == (version.tags["commit"], version.source.removeprefix("models:/"))
    assert (last.who.how, "@" in last.who.name, last.approver) == ("claimed", True, None)
    assert (last.previous, version.tags["history.head"]) == (told[-2].digest, f"4 {last.digest}")
    assert not refusing(pipeline).promote(dataset).decision.passed
    assert champion(pipeline) == 2
    assert moves(pipeline)[-1] == ("promote", "refused", 3, 2)
    assert entries(pipeline)[-1].reason == "the gate refused it: limit rmse"


def refusing(pipeline: Pipeline) -> Pipeline:
    """The same with a gate that no version passes."""
    gate = pipeline.settings.gate.model_copy(update={"limits": {"rmse": Limit(max=1)}})
    return Pipeline(pipeline.promoter._problem, pipeline.settings.model_copy(update={"gate": gate}))


def test_who_comes_second_is_told_and_changes_nothing(pipeline, dataset):
    before = moves(pipeline)
    with PromotionLock(pipeline.registry.connection, pipeline.registry.model, 10, "eve").held():
        for act in (lambda: pipeline.promote(dataset), lambda: rollback(pipeline)):
            with pytest.raises(Locked, match="is being promoted by eve"):
                act()
    assert moves(pipeline) == before
    assert "gate" not in pipeline.registry.version(3).tags


@pytest.mark.parametrize(
    ("step", "act"),
    [
        ((Judge, "judge"), lambda pipeline: pipeline.promote(pipeline.read())),
        ((Judge, "judge"), lambda pipeline: refusing(pipeline).promote(pipeline.read())),
        ((Ledger, "append"), rollback),
        ((ModelRegistry, "open"), rollback),
    ],
    ids=["while it judged", "while it refused", "after the intent", "while it refused a rollback"],
)
def test_who_lost_its_lock_meanwhile_writes_nothing(pipeline, monkeypatch, step, act):
    """Its time ran out, and eve took over."""
    before, does = moves(pipeline), getattr(*step)
    lock, client = f"{pipeline.registry.model}.lock", pipeline.registry.connection.client

    def slowly(*given, **named):
        came = does(*given, **named)
        client.rename_registered_model(lock, f"{lock}.ended.x")
        client.create_registered_model(lock, {"token": "other", "who": "eve"})
        if step[1] == "open":
            raise ContractError("its files are gone")
        return came

    monkeypatch.setattr(*step, slowly)
    with pytest.raises(Locked, match="took longer"):
        act(pipeline)
    monkeypatch.undo()
    assert champion(pipeline) == 2
    entries = Ledger(pipeline.registry).entries()
    assert len([one for one in entries if one.phase == "outcome"]) == len(before)  # eve, who settles it, undoes it
    assert client.get_registered_model(lock).tags["who"] == "eve"


def test_rollback_goes_one_back_and_then_further(pipeline, dataset):
    assert pipeline.promote(dataset, 3).decision.passed
    done = rollback(pipeline, reason="  answers too\nlate ")
    assert (done.version.number, done.earlier and done.earlier.number) == (2, 3)
    assert champion(pipeline) == 2
    rollback(pipeline, reason="so does this one")  # not forward again to 3
    assert champion(pipeline) == 1
    assert moves(pipeline)[-2:] == [("rollback", "done", 2, 3), ("rollback", "done", 1, 2)]
    assert entries(pipeline)[-3].reason == "answers too late"
    with pytest.raises(UnknownVersion, match="no earlier champion"):
        rollback(pipeline, reason="further")
    rollback(pipeline, 3, reason="it was not the model")
    assert champion(pipeline) == 3


@pytest.mark.parametrize(
    ("number", "reason", "kind", "said"),
    [
        (3, "x", UnknownVersion, r"version 3 of 'local\.diabetes' is no earlier champion.*Name one of: 1\."),
        (9, "x", UnknownVersion, r"version 9 .*Name one of: 1\."),
        (2, "x", UnknownVersion, "version 2 serves already"),
        (1, "  ", UserError, "needs a reason. Say it with --reason"),
    ],
)
def test_rollback_to_none_that_served_is_a_mistake(pipeline, number, reason, kind, said):
    before = moves(pipeline)
    with pytest.raises(kind, match=said) as raised:
        rollback(pipeline, number, reason=reason)
    assert raised.value.exit_code == 2
    assert (champion(pipeline), moves(pipeline)) == (2, before)


def test_rollback_to_one_that_does_not_answer_is_refused(pipeline):
    (graph,) = pipeline.settings.root.rglob("model.onnx")
    graph.write_bytes(graph.read_bytes()[:-1] + b"x")
    with pytest.raises(Refused, match="version 1 cannot serve again"):
        rollback(pipeline, reason="x")
    assert champion(pipeline) == 2
    assert moves(pipeline)[-1] == ("rollback", "refused", 1, 2)


@pytest.mark.parametrize("loss", ["version", "alias"])
def test_rollback_brings_a_champion_back_where_there_is_none(pipeline, loss):
    registry = pipeline.registry
    if loss == "version":
        registry.delete(registry.version(2))
    else:
        registry.connection.client.delete_registered_model_alias(registry.model, CHAMPION)
    assert champion(pipeline) is None
    assert rollback(pipeline, 1, reason="it was deleted").version.number == 1
    assert champion(pipeline) == 1


def test_a_version_whose_run_is_elsewhere_leaves_the_models_metric(pipeline, monkeypatch):
    pipeline.registry.tag_model({"metric": "cost"})
    monkeypatch.setattr("starterkit.release.alias.look_up", lambda *_: None)
    rollback(pipeline, 1, reason="x")
    assert pipeline.registry.tags()["metric"] == "cost"


def test_stages_below_prod_take_no_copy(pipeline, dataset):
    with pytest.raises(UserError, match="takes no model from another stage"):
        pipeline.promoter.bring(dataset)


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


def test_a_copy_of_other_files_is_taken_back_and_an_earlier_one_that_was_altered_not_used_again(prod, altered):
    altered.add(1)
    with pytest.raises(Refused, match=r"the copy of staging\.diabetes version 1 has other files"):
        copy_version(prod, "diabetes")
    assert prod.versions() == []
    altered.clear()
    number = copy_version(prod, "diabetes").number
    altered.add(number)
    assert copy_version(prod, "diabetes").number == number + 1
