"""A version comes from the stage that may send it here, and was trained on what this stage shows."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from starterkit.contract import Treatment
from starterkit.gate.checks import PolicyKept

BANDS: Mapping[str, Treatment] = {"age": "generalise"}


@pytest.mark.parametrize(
    ("trained_in", "trained_under", "origin", "shown", "said"),
    [
        ("staging", {}, "staging", {}, ""),
        ("dev", BANDS, "dev", BANDS, ""),
        ("dev", BANDS, "staging", {}, "it was trained in stage dev, and only versions of stage staging may come here"),
        ("test", {}, "staging", {}, "it was trained in stage test"),
        ("staging", BANDS, "staging", {}, "'age' in bands, now raw"),
        ("dev", {}, "dev", BANDS, "'age' raw, now in bands"),
        ("test", {"age": "mock"}, "test", BANDS, "'age' made up, now in bands"),
        ("dev", BANDS, None, BANDS, "nobody said which stage this is"),
    ],
)
def test_policy(
    evidence: Any, contract: Any, trained_in: str, trained_under: Any, origin: str, shown: Any, said: str
) -> None:
    lineage = replace(contract().lineage, stage=trained_in, policy=trained_under)
    verdict = PolicyKept().judge(evidence(contract=contract(lineage=lineage), origin=origin, policy=shown))
    assert verdict.passed == (not said)
    assert said in verdict.reason
