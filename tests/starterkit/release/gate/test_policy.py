"""A version comes from the stage that may send it here, and was trained on what this stage shows."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from starterkit.contract import Treatment
from starterkit.release.gate.checks import PolicyKept
from starterkit.verdict import Verdict

BANDS: Mapping[str, Treatment] = {"age": "generalise"}


@pytest.mark.parametrize(
    ("trained_in", "trained_under", "origin", "shown", "said"),
    [
        ("staging", {}, "staging", {}, "trained in stage staging, every column raw"),
        ("dev", BANDS, "dev", BANDS, "trained in stage dev, 'age' in bands"),
        (
            "test",
            {"age": "mock", "b": "generalise"},
            "test",
            {"age": "mock", "b": "generalise"},
            "'age' made up, 'b' in",
        ),
    ],
)
def test_a_version_of_this_stage_passes(
    evidence: Any, contract: Any, trained_in: str, trained_under: Any, origin: str, shown: Any, said: str
) -> None:
    verdict = judged(evidence, contract, trained_in, trained_under, origin, shown)
    assert (verdict.check, verdict.passed, verdict.mend) == ("policy", True, "")
    assert said in verdict.reason


@pytest.mark.parametrize(
    ("trained_in", "trained_under", "origin", "shown", "said"),
    [
        ("dev", BANDS, "staging", {}, "it was trained in stage dev, and only versions of stage staging may come here"),
        ("test", {}, "staging", {}, "it was trained in stage test"),
        ("staging", BANDS, "staging", {}, "'age' in bands, now raw"),
        ("dev", {}, "dev", BANDS, "'age' raw, now in bands"),
        ("test", {"age": "mock"}, "test", BANDS, "'age' made up, now in bands"),
        ("dev", BANDS, None, BANDS, "nobody said which stage this is"),
    ],
)
def test_any_other_is_refused(
    evidence: Any, contract: Any, trained_in: str, trained_under: Any, origin: str, shown: Any, said: str
) -> None:
    verdict = judged(evidence, contract, trained_in, trained_under, origin, shown)
    assert (verdict.check, verdict.passed) == ("policy", False)
    assert said in verdict.reason
    mends = {trained_in: "under today's policy", None: ""}
    assert mends.get(origin, f"Train it in stage {origin}") in verdict.mend


def judged(evidence: Any, contract: Any, trained_in: str, trained_under: Any, origin: str, shown: Any) -> Verdict:
    lineage = replace(contract().lineage, stage=trained_in, policy=trained_under)
    return PolicyKept().judge(evidence(contract=contract(lineage=lineage), origin=origin, policy=shown))
