"""What somebody changes in MLflow's tags, files and alias is seen, refused by staging and prod, and settled."""

import json
from collections.abc import Callable
from dataclasses import replace
from subprocess import run

import pytest
from pydantic import SecretStr

from starterkit.contract import Contract, _seal
from starterkit.errors import ContractError, Refused, UserError
from starterkit.pipeline import Pipeline
from starterkit.release.alias import ChampionAlias
from starterkit.release.history import Entry, Ledger
from starterkit.release.promoter import require_committed_rules, require_rules
from starterkit.release.trust import history_doubts, require_trust
from starterkit.settings import Stage
from starterkit.settings.floors import rules_of
from starterkit.tracking.registry import CONTRACT

pytestmark = pytest.mark.usefixtures("hurried")
Change = Callable[[Pipeline], object]


def other_contract(**lineage: str) -> Change:
    """A contract with a good seal of its own over the same graph and sample."""

    def change(pipeline: Pipeline) -> None:
        (file,) = pipeline.settings.root.rglob("contract.json")
        said = json.loads(file.read_text("utf-8"))
        said["title"], said["lineage"] = "another", said["lineage"] | lineage
        del said["seal"]
        file.write_text(Contract.from_json(json.dumps(said | {"seal": _seal(said)})).to_json(), "utf-8")

    return change


def tag(number: int, **tags: str) -> Change:
    return lambda pipeline: pipeline.registry.tag(pipeline.registry.version(number), tags)


def alias_to(number: int) -> Change:
    return lambda pipeline: pipeline.registry.set_champion(pipeline.registry.version(number))


def edit_evidence(pipeline: Pipeline) -> None:
    place = pipeline.registry.version(2).tags["evidence_place"]
    (file,) = pipeline.settings.root.rglob(f"{place}/evidence.json")
    file.write_text(file.read_text("utf-8").replace("65", "66", 1), "utf-8")


def both(*changes: Change) -> Change:
    return lambda pipeline: [change(pipeline) for change in changes]


MOVED = "the alias 'champion' points at local.diabetes version 3, and the history knows version 2"
ATTACKS = {
    "nothing": (lambda _: None, []),
    "the alias, to one never judged": (alias_to(3), ["its gate has not passed it: not asked", MOVED]),
    "the alias and the gate's word": (both(tag(3, gate="passed"), alias_to(3)), [MOVED]),
    "the gate's word of the champion": (tag(2, gate="refused"), ["its gate has not passed it: refused"]),
    "the digest in the tags": (tag(2, contract="0" * 64), ["another digest of its contract.json", "not those that"]),
    "the digest taken away": (tag(2, contract=""), ["another digest of its contract.json in its tags"]),
    "the files, with a seal of their own": (other_contract(), ["are not those that its gate judged"]),
    "the evidence": (edit_evidence, ["evidence.json of local.diabetes version 2 is not the one that the history's"]),
    "the evidence's digest": (tag(2, evidence="0" * 64), ["names other evidence in its tags"]),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_somebody_changed_is_named_with_what_settles_it(pipeline, attack):
    change, said = ATTACKS[attack]
    change(pipeline)
    found = history_doubts(pipeline.registry)
    assert len(found) == len(said), found
    assert all(words in doubt.what for words, doubt in zip(said, found, strict=True)), found
    assert all(doubt.hint and not doubt.before for doubt in found)


def test_staging_serves_only_what_its_gate_and_its_history_know(pipeline):
    registry = pipeline.registry
    alias_to(3)(pipeline)
    assert require_trust(registry, registry.version(3)) == []  # local tells it in `doctor` and `history`
    registry.stage = Stage.STAGING
    with pytest.raises(Refused, match="has not passed it: not asked") as refused:
        require_trust(registry, registry.version(3))
    assert "`starterkit promote --version 3` asks the gate" in refused.value.hint
    assert "`starterkit rollback --to 2 --reason" in refused.value.hint
    ChampionAlias(registry, pipeline.settings).rollback(2, reason="the alias was moved")
    assert require_trust(registry, registry.version(2)) == []


def test_staging_and_prod_score_only_what_their_gate_passed(pipeline):
    """Unheard, too: the file is opened beside the champion all the same."""
    registry = pipeline.registry
    registry.stage = Stage.STAGING
    with pytest.raises(Refused, match="not come into the shadow: its gate has not passed it: not asked") as refused:
        require_trust(registry, registry.version(3), answers=False)
    assert "`starterkit promote --shadow --version 3`" in refused.value.hint
    registry.stage = Stage.LOCAL
    promotion = pipeline.promoter.promote(pipeline.read(), 3, shadow=True)
    assert (promotion.decision.passed, promotion.champion, registry.champion().number) == (True, promotion.earlier, 2)
    assert registry.aliases() == {"champion": 2, "challenger": 3}
    assert Ledger(registry).entries()[-1].result == "shadow"
    assert history_doubts(registry) == []
    registry.stage = Stage.STAGING
    assert require_trust(registry, registry.version(3), answers=False) == []
    tag(3, contract="0" * 64)(pipeline)
    with pytest.raises(Refused, match="another digest of its contract"):
        require_trust(registry, registry.version(3), answers=False)


def test_an_entry_says_what_was_judged_by_which_rules_and_files_of_another_run_are_nobodys(pipeline):
    entry, version = Ledger(pipeline.registry).entries()[-1], pipeline.registry.version(2)
    assert entry.contract == version.tags[CONTRACT] == pipeline.registry.open(version).digest
    assert entry.limits.items() >= {"gate.limits.rmse.max": 65, "export.tolerance": 1e-5}.items()
    other_contract(run="f" * 32)(pipeline)
    tag(2, contract="")(pipeline)  # as a kit left it that knew no digest
    with pytest.raises(ContractError, match=r"are of run ffff.*it was made by run"):
        pipeline.registry.open(pipeline.registry.version(2))


def test_with_a_key_only_what_was_signed_with_it_is_believed(pipeline):
    """Whoever can write tags, history and files, and has no key, makes no champion."""
    registry, unsigned = pipeline.registry, "does not have the signature of this stage's promotion.version_key"
    registry._key = SecretStr("a key of this stage, and of no other")
    registry.stage = Stage.STAGING
    with pytest.raises(Refused, match=unsigned) as refused:
        require_trust(registry, registry.version(2))
    assert "if the key is new, `starterkit promote --version 2` signs it" in refused.value.hint
    with pytest.raises(Refused, match=unsigned):
        ChampionAlias(registry, pipeline.settings).rollback(1, reason="to one that is not signed either")
    registry.stage = Stage.LOCAL
    assert pipeline.promote(pipeline.read(), 2).decision.passed
    assert history_doubts(registry) == []
    tag(2, signature=registry.sign(registry.version(3), registry.version(2).tags[CONTRACT], ""))(pipeline)
    assert [unsigned in doubt.what for doubt in history_doubts(registry)] == [True]
    registry._key = None  # who has none goes by the digest
    assert history_doubts(registry) == []


def test_a_version_that_was_made_before_serves_with_a_word(pipeline):
    registry, previous = pipeline.registry, ""
    for number, text in sorted(Ledger(registry).kept().items()):  # as a kit wrote it that kept no digests
        entry = replace(Entry.from_json(text), contract="", limits={}, previous=previous)
        previous = entry.digest
        registry.tag_model({f"history.{number:06}": entry.to_json()})
    registry.connection.client.delete_model_version_tag(registry.model, "2", CONTRACT)
    assert [(doubt.before, "before the kit kept" in doubt.what) for doubt in history_doubts(registry)] == [(True, True)]
    registry.stage = Stage.STAGING
    (note,) = require_trust(registry, registry.version(2))
    assert "`starterkit promote --version 2` writes it down" in note


def test_a_broken_history_stops_promotions_until_somebody_settles_it(pipeline):
    registry = pipeline.registry
    ledger, alias = Ledger(registry), ChampionAlias(registry, pipeline.settings)
    with pytest.raises(UserError, match="is whole"):
        alias.settle(reason="why not")
    registry.tag_model({"history.000002": ledger.kept()[2].replace("passed", "loved")})
    dataset = pipeline.read()
    with pytest.raises(Refused, match="is broken: entry 2 was edited") as refused:
        pipeline.promote(dataset, 3)
    assert "`starterkit history --settle REASON`" in refused.value.hint
    assert "gate" not in registry.version(3).tags
    assert alias.rollback(1, reason="in a bad hour").version.number == 1  # which stops nobody from going back
    settled = alias.settle(reason="a slip of the pen")
    assert (settled.act, settled.reason) == ("settle", "a slip of the pen. Before: entry 2 was edited")
    assert ledger.find_break() == ""
    assert pipeline.promote(dataset, 3).decision.passed
    registry.tag_model({"history.000002": ledger.kept()[2].replace("loved", "feared")})
    assert ledger.find_break() == "what entry 7 had settled was changed since"


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ({}, ""),
        ({"limits": {"rmse": {"max": 50}, "r2": {"min": 0.5}}, "tolerance": 0}, ""),
        ({"limits": {}}, "judged with gate.limits.rmse.max nothing, staging's committed files say 65"),
        ({"limits": {"rmse": {"max": 500}, "r2": {"min": 0.3}}}, "gate.limits.rmse.max 500"),
        ({"tolerance": 0.05}, "gate.tolerance 0.05, staging's committed files say 0.02"),
        ({"tolerance": "all"}, "gate.tolerance all, and staging takes at most 0.1"),
        ({"undecided": "pass"}, "gate.undecided pass, and staging takes refuse"),
        ({"checks": {"baseline": False}}, "gate.checks.baseline false"),
    ],
)
def test_what_was_judged_under_looser_limits_goes_nowhere(after_a_run, gate, said):
    strict = after_a_run.gate.model_copy(update={"undecided": "refuse"})
    committed = rules_of(strict, after_a_run.export)
    said_of = {"settings": strict.model_dump(mode="json") | gate, "parity": {"allowed": 1e-5}}
    evidence = json.dumps(said_of | {"problem": {"task": "regression"}}).encode()
    if not said:
        require_rules(evidence, committed, "staging.diabetes version 7")
        return
    with pytest.raises(Refused, match="promote --version 7") as refused:
        require_rules(evidence, committed, "staging.diabetes version 7")
    assert said in refused.value.what


@pytest.mark.parametrize("evidence", [b"", b"[]", b'{"passed": true}'])
def test_evidence_that_says_no_limits_is_none(evidence):
    with pytest.raises(Refused, match="does not say by which limits"):
        require_rules(evidence, {}, "staging.diabetes version 7")


def test_a_file_that_is_not_committed_is_no_reason(after_a_run):
    root, settings = after_a_run.root, after_a_run.model_copy(update={"stage": Stage.STAGING})
    rules = settings.gate.model_copy(update={"tolerance": 0.09, "undecided": "refuse"})
    settings = settings.model_copy(update={"gate": rules})
    require_committed_rules(settings)  # without git the files say it
    git = ["git", "-C", str(root), "-c", "user.name=a", "-c", "user.email=a@b.c"]
    for words in (["init", "-q"], ["add", "config"], ["commit", "-qm", "rules"]):
        run([*git, *words], check=True)
    with pytest.raises(Refused, match=r"gate.tolerance is 0.09, looser than the committed 0.02") as refused:
        require_committed_rules(settings)
    assert "Commit config/base.yaml and config/staging.yaml" in refused.value.hint
