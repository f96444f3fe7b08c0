"""The line with which a refused version ends a command."""

from datetime import UTC, datetime

import pytest

from starterkit.cli.summary import refusal
from starterkit.evidence import EvidenceRecord
from starterkit.gate import Decision
from starterkit.pipeline import Judgement
from starterkit.registry import Version
from starterkit.verdict import Verdict

VERSION = Version(model="local.p", number=2, run="r", tags={}, created=datetime.now(UTC))
PASSED = Verdict(check="parity", passed=True, reason="all alike")
WORSE = Verdict(check="limit rmse", passed=False, reason="rmse 70, at most 65 allowed")
HEAVY = Verdict(check="size", passed=False, reason="9 MB, the champion 1 MB")
GONE = Verdict(check="champion", passed=False, reason="its files are gone", mend="Bring them back")
IMPROVE = "mprove the model, or change the limits in config if they are wrong."


@pytest.mark.parametrize(
    ("refused", "said"),
    [
        ([WORSE], f"(limit rmse): rmse 70, at most 65 allowed. I{IMPROVE}"),
        ([GONE], "(champion): its files are gone. Bring them back."),
        ([WORSE, HEAVY], f"(limit rmse, size). Do what the table's reasons say, i{IMPROVE}"),
        (
            [WORSE, GONE],
            f"(limit rmse, champion): its files are gone. Bring them back. Do what the table's reasons say, i{IMPROVE}",
        ),
    ],
)
def test_lone_reason_and_known_mend_stand_in_the_closing_line(refused: list[Verdict], said: str) -> None:
    told = refusal(Judgement(VERSION, Decision((PASSED, *refused)), None, EvidenceRecord({})))
    assert str(told) == f"the gate refused local.p version 2 {said}"
