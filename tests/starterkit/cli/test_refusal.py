"""The closing lines about a version: refused, or not."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from starterkit.cli.summary import refusal, show_summary, what_next
from starterkit.pipeline import Judgement, Summary
from starterkit.release.evidence import EvidenceRecord
from starterkit.release.gate.gate import Decision
from starterkit.settings import Stage, load_settings
from starterkit.tracking.registry import Version
from starterkit.verdict import Verdict

VERSION = Version(model="local.p", number=2, run="r", tags={}, created=datetime.now(UTC))
PASSED = Verdict(check="parity", passed=True, reason="all alike")
WORSE = Verdict(check="limit rmse", passed=False, reason="rmse 70, at most 65 allowed")
HEAVY = Verdict(check="size", passed=False, reason="9 MB, the champion 1 MB")
GONE = Verdict(check="champion", passed=False, reason="its files are gone", hint="Bring them back")
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
def test_lone_reason_and_known_hint_stand_in_the_closing_line(refused: list[Verdict], said: str) -> None:
    told = refusal(Judgement(VERSION, Decision((PASSED, *refused)), None, EvidenceRecord({})))
    assert str(told) == f"the gate refused local.p version 2 {said}"


def test_what_is_next_for_a_version_that_may_pass() -> None:
    first, second = Version("local.p", 1, "r", {}, datetime.now(UTC)), VERSION

    def told(earlier: Version | None, stage: str = "local") -> str:
        return what_next(Judgement(second, Decision((PASSED,)), earlier, EvidenceRecord({})), stage)

    assert told(None) == told(first) == "`starterkit promote --version 2` makes it champion."
    assert told(second) == "It is champion already."
    assert "--version" not in told(first, "prod")  # there it would be staging's version 2


def test_the_next_commands_name_the_stage_where_it_is_not_local(
    first_run: tuple[Path, Summary], capsys: pytest.CaptureFixture[str]
) -> None:
    root, summary = first_run
    settings = load_settings(root, {})
    for stage, command in ((Stage.LOCAL, "\n  make ui "), (Stage.DEV, "\n  KIT_STAGE=dev make ui ")):
        show_summary(summary, settings.model_copy(update={"stage": stage}))
        assert command in capsys.readouterr().out
