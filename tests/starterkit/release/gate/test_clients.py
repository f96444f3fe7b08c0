"""What the champion's clients would notice."""

from dataclasses import replace
from typing import Any

import pytest

from starterkit.contract import Column
from starterkit.release.gate.checks import LatencyWithin, SignatureKept, SizeWithin
from starterkit.verdict import Cost

NUMBER = Column(name="x", role="feature", type="float", unit="m", sensitivity="plain", minimum=0, maximum=9)
WHOLE = replace(NUMBER, type="integer")
LABEL = replace(NUMBER, type="string", minimum=None, maximum=None, categories=("a", "b"))
MEGABYTE = 1_000_000


def reason(evidence: Any, contract: Any, before: dict[str, Any], after: dict[str, Any]) -> str:
    """Why the signature is refused; empty where it is not."""
    shown = evidence(contract=contract(**after), champion_contract=contract(**before))
    verdict = SignatureKept().judge(shown)
    return "" if verdict.passed else verdict.reason


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (NUMBER, NUMBER, ""),
        (WHOLE, NUMBER, ""),
        (NUMBER, WHOLE, "takes a whole number instead of a number"),
        (NUMBER, LABEL, "takes a text instead of a number"),
        (NUMBER, replace(NUMBER, minimum=-1, maximum=10), ""),
        (NUMBER, replace(NUMBER, minimum=None, maximum=None), ""),
        (NUMBER, replace(NUMBER, minimum=1), "nothing below 1"),
        (NUMBER, replace(NUMBER, maximum=8), "nothing above 8"),
        (replace(NUMBER, minimum=None), NUMBER, "nothing below 0"),
        (replace(NUMBER, maximum=None), NUMBER, "nothing above 9"),
        (NUMBER, replace(NUMBER, nullable=True), ""),
        (replace(NUMBER, nullable=True), NUMBER, "no longer takes a missing value"),
        (NUMBER, replace(NUMBER, unit="km"), "has another unit"),
        (LABEL, replace(LABEL, categories=("a", "b", "c")), ""),
        (LABEL, replace(LABEL, categories=()), ""),
        (LABEL, replace(LABEL, categories=("a",)), "takes fewer categories"),
        (replace(LABEL, categories=()), LABEL, "takes fewer categories"),
        (replace(WHOLE, minimum=None, maximum=None, categories=(1, 9)), WHOLE, ""),
        (replace(WHOLE, minimum=None, maximum=None, categories=(1, 10)), WHOLE, "nothing above 9"),
    ],
)
def test_requests_stay_valid(evidence: Any, contract: Any, before: Column, after: Column, said: str) -> None:
    found = reason(evidence, contract, {"columns": (before,)}, {"columns": (after,)})
    assert bool(found) == bool(said)
    assert said in found


def test_a_column_more_breaks_as_much_as_one_less(evidence: Any, contract: Any) -> None:
    one, two = {"columns": (NUMBER,)}, {"columns": (NUMBER, replace(WHOLE, name="y"))}
    assert "column 'y' is new" in reason(evidence, contract, one, two)
    assert "column 'y' is gone" in reason(evidence, contract, two, one)


def test_the_order_of_columns_is_not_the_clients_matter(evidence: Any, contract: Any) -> None:
    other = replace(WHOLE, name="y")
    assert reason(evidence, contract, {"columns": (NUMBER, other)}, {"columns": (other, NUMBER)}) == ""


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"target": replace(NUMBER, name="z")}, "another name"),
        ({"target": replace(WHOLE, name="x")}, "answers are no longer a number"),
        ({"target": replace(NUMBER, unit="km")}, "the target has another unit"),
        ({"task": "classification"}, "answers are no longer"),
        ({"classes": ("b", "a")}, ""),
        ({"classes": ("a", "b", "c")}, "the classes are others"),
        ({"classes": ("a",)}, "the classes are others"),
    ],
)
def test_answers_stay_of_the_same_kind(evidence: Any, contract: Any, changes: dict[str, Any], said: str) -> None:
    before = {"target": NUMBER, "classes": ("a", "b")}
    found = reason(evidence, contract, before, {**before, **changes})
    assert bool(found) == bool(said)
    assert said in found


def test_the_first_version_has_no_clients(evidence: Any) -> None:
    shown = evidence(champion_error=None)
    for check in (SignatureKept(), LatencyWithin(3, 2), SizeWithin(3, 1)):
        verdict = check.judge(shown)
        assert verdict.passed
        assert "no champion" in verdict.reason


@pytest.mark.parametrize(
    ("one_row", "many_rows", "passed"),
    [
        (0.001, 0.010, True),
        (0.003, 0.030, True),  # exactly three times
        (0.0031, 0.010, False),
        (0.001, 0.031, False),
        (float("nan"), 0.010, False),
    ],
)
def test_no_call_takes_many_times_the_champions(evidence: Any, one_row: float, many_rows: float, passed: bool) -> None:
    champion = Cost(one_row=0.001, many_rows=0.010, rows=90, size=MEGABYTE)
    ours = replace(champion, one_row=one_row, many_rows=many_rows)
    verdict = LatencyWithin(3, 2).judge(evidence(cost=ours, champion_cost=champion))
    assert verdict.passed == passed
    if passed is False and one_row == 0.001:
        assert (verdict.figure, verdict.limit) == (pytest.approx(31), pytest.approx(30))
        assert "90 rows in 31 ms, the champion 10 ms" in verdict.reason


def test_microseconds_refuse_nobody(evidence: Any) -> None:
    champion = Cost(one_row=1e-6, many_rows=1e-6, rows=90, size=10)
    shown = evidence(cost=Cost(one_row=0.002, many_rows=0.002, rows=90, size=MEGABYTE), champion_cost=champion)
    assert LatencyWithin(3, 2).judge(shown).passed
    assert SizeWithin(3, 1).judge(shown).passed
    assert not LatencyWithin(3, 1.9).judge(shown).passed
    assert not SizeWithin(3, 1 - 1e-6).judge(shown).passed


@pytest.mark.parametrize(("size", "passed"), [(MEGABYTE, True), (6 * MEGABYTE, True), (6 * MEGABYTE + 1, False)])
def test_no_graph_is_many_times_the_champions(evidence: Any, size: int, passed: bool) -> None:
    champion = Cost(one_row=1e-5, many_rows=1e-4, rows=90, size=2 * MEGABYTE)
    verdict = SizeWithin(3, 1).judge(evidence(cost=replace(champion, size=size), champion_cost=champion))
    assert verdict.passed == passed
    assert "the champion 2 MB" in verdict.reason
