"""A promotion and a rollback, killed at each step by SIGKILL in a process of their own.

The process patches the step before which, or after which, it kills itself. Nothing in the kit knows of it.
"""

from pathlib import Path

import pytest

from example_project import problem
from starterkit.cli import doctor
from starterkit.pipeline import Pipeline
from starterkit.release.history import Ledger, champions
from starterkit.tracking.registry import CHAMPION

KILLED = """
from starterkit.release.alias import ChampionAlias
from starterkit.release.history import HEAD, Ledger
from starterkit.tracking.registry import ModelRegistry
from starterkit.tracking.lock import PromotionLock

root, act, point = Path(sys.argv[1]), sys.argv[2], sys.argv[3]

def around(owner, name, when):
    does = getattr(owner, name)
    def patched(self, *given, **named):
        if when(*given, **named) == "before":
            die()
        came = does(self, *given, **named)
        if when(*given, **named) == "after":
            die()
        return came
    setattr(owner, name, patched)

def phase(wanted, moment):
    return lambda entry: moment if entry.phase == wanted else ""

{
    "holding the lock": lambda: around(ModelRegistry, "champion", lambda: "before"),
    "before intent": lambda: around(Ledger, "append", phase("intent", "before")),
    "inside intent": lambda: around(ModelRegistry, "tag", lambda version, tags: "before" if HEAD in tags else ""),
    "after intent": lambda: around(Ledger, "append", phase("intent", "after")),
    "after alias": lambda: around(ModelRegistry, "set_champion", lambda version: "after"),
    "after outcome": lambda: around(Ledger, "append", phase("outcome", "after")),
    "giving the lock back": lambda: around(PromotionLock, "_clear", lambda: "before"),
}[point]()
pipeline = Pipeline(problem, load_settings(root, {}))
if act == "promote":
    pipeline.promote(pipeline.read(), 3)
else:
    ChampionAlias(pipeline.registry, pipeline.settings).rollback(reason="too slow")
"""

SETTLED = {
    "holding the lock": ("", 2), "before intent": ("", 2), "inside intent": ("undone", 2),
    "after intent": ("undone", 2), "after alias": ("finished", 3), "after outcome": ("", 3),
    "giving the lock back": ("", 3),
}  # fmt: skip
"""For each point, what the next command writes, and who is champion then, if 3 was to be promoted."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="without /proc nobody is known to be dead")


def warnings(root: Path) -> str:
    return "; ".join(one.text for one in doctor.examine(root, {}) if one.item == "promotion" and one.state != "well")


def models(pipeline: Pipeline) -> list[str]:
    return [one.name for one in pipeline.registry.connection.client.search_registered_models()]


@pytest.mark.slow
@pytest.mark.parametrize("point", list(SETTLED))
@pytest.mark.parametrize(("act", "new"), [("rollback", 1), ("promote", 3)])
def test_killed_at_any_point(moved, killed, act, new, point):
    killed(KILLED, moved.root, act, point)
    pipeline = Pipeline(problem, moved)
    result, moved_to = SETTLED[point]
    expected = 2 if moved_to == 2 else new
    serving = pipeline.registry.champion()
    assert serving.number == expected  # the old state or the new one, before anybody mends
    pipeline.registry.open(serving)
    assert pipeline.judge(pipeline.read(), 1).decision.passed  # the gate still works beside it
    named = warnings(moved.root)
    assert ("was killed half-way" in named) == bool(result), named
    assert ("a lock was left behind" in named) == (point != "giving the lock back"), named

    doctor.mend(moved.root, {})
    told = Ledger(pipeline.registry)
    assert told.find_break() == ""
    assert warnings(moved.root) == ""
    assert models(pipeline) == ["local.diabetes"]
    last = told.entries()[-1]
    assert last.phase == "outcome"
    if result:
        assert (last.act, last.result) == (act, result)
    assert pipeline.registry.aliases() == {CHAMPION: expected}
    assert champions(told.entries())[-1] == (3 if expected == 3 else 2)


@pytest.mark.slow
@pytest.mark.parametrize(("point", "result"), [("after intent", "undone"), ("after alias", "finished")])
def test_the_next_promotion_settles_by_itself(moved, killed, point, result):
    killed(KILLED, moved.root, "rollback", point)
    pipeline = Pipeline(problem, moved)
    assert pipeline.promote(pipeline.read(), 3).decision.passed
    told = [f"{one.act} {one.phase} {one.result}" for one in Ledger(pipeline.registry).entries()[-4:]]
    assert told == ["rollback intent ", f"rollback outcome {result}", "promote intent ", "promote outcome done"]
    assert Ledger(pipeline.registry).find_break() == ""
    assert models(pipeline) == ["local.diabetes"]
    assert pipeline.registry.aliases() == {CHAMPION: 3}
