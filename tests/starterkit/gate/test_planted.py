"""The planted set: no candidate with a fault passes, none without one is refused, and each for its own reason only."""

from pathlib import Path

import planted
import pytest


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("name", planted.KINDS)
def test_planted_candidate_gets_its_verdict(name: str, seed: int, tmp_path: Path) -> None:
    kind = planted.KINDS[name]
    decision = planted.judge(kind, seed, tmp_path)
    refusals = {verdict.check: verdict.reason for verdict in decision.refusals}
    assert tuple(refusals) == kind.refused_by, refusals
    assert decision.passed == (not kind.refused_by)
    assert ("champion" in undecided(decision)) == (name == "too few rows")


def undecided(decision: planted.Decision) -> list[str]:
    return [verdict.check for verdict in decision.verdicts if verdict.undecided]
