"""Checks on what the champion's clients would notice: requests that no longer fit, answers that come later."""

from collections.abc import Iterator

from starterkit.contract import Column, Contract
from starterkit.verdict import Check, Cost, Evidence, Verdict

_FIRST = "no champion, so no clients yet"


class SignatureKept(Check):
    """Whatever the champion's clients send stays valid, and what they get stays of the same kind."""

    name = "signature"

    def judge(self, evidence: Evidence) -> Verdict:
        before = evidence.champion_contract
        if before is None:
            return Verdict(check=self.name, passed=True, reason=_FIRST)
        broken = list(_broken(evidence.contract, before))
        reason = "; ".join(broken) if broken else "the champion's requests stay valid, the answers of the same kind"
        if broken:
            reason += ". A model with another signature gets another name"
        return Verdict(check=self.name, passed=not broken, reason=reason)


def _broken(contract: Contract, before: Contract) -> Iterator[str]:
    ours, theirs = ({column.name: column for column in one.columns} for one in (contract, before))
    # The API wants every column and refuses others, so a column more breaks as much as one less.
    yield from (f"column '{name}' is new" for name in ours if name not in theirs)
    for name, column in theirs.items():
        if name not in ours:
            yield f"column '{name}' is gone"
        else:
            yield from (f"column '{name}' {fault}" for fault in _narrowed(ours[name], column))
    if contract.target.name != before.target.name:
        yield "the target has another name"
    if contract.task != before.task or contract.target.type != before.target.type:
        yield f"answers are no longer {before.target.kind}"
    if contract.target.unit != before.target.unit:
        yield "the target has another unit"
    if set(contract.classes) != set(before.classes):
        yield "the classes are others"


def _narrowed(column: Column, before: Column) -> Iterator[str]:
    if column.type != before.type and (before.type, column.type) != ("integer", "float"):
        yield f"takes {column.kind} instead of {before.kind}"
        return
    if column.unit != before.unit:
        yield "has another unit"
    if before.nullable and not column.nullable:
        yield "no longer takes a missing value"
    if column.categories:
        if not before.categories or not set(before.categories) <= set(column.categories):
            yield "takes fewer categories"
        return
    numbers = [value for value in before.categories if not isinstance(value, str)]
    lowest, highest = (min(numbers), max(numbers)) if numbers else (before.minimum, before.maximum)
    if column.minimum is not None and (lowest is None or lowest < column.minimum):
        yield f"takes nothing below {column.minimum:g} any more"
    if column.maximum is not None and (highest is None or highest > column.maximum):
        yield f"takes nothing above {column.maximum:g} any more"


class LatencyWithin(Check):
    """A call takes no longer than a few times the champion's, measured side by side.

    Parameters
    ----------
    ratio
        How many times the champion's median a call may take.
    floor
        Seconds that a call may take in any case: below it nobody is refused for a factor of microseconds.
    """

    name = "latency"

    def __init__(self, ratio: float, floor: float) -> None:
        self._ratio = ratio
        self._floor = floor

    def judge(self, evidence: Evidence) -> Verdict:
        ours, theirs = evidence.cost, evidence.champion_cost
        if ours is None or theirs is None:
            return Verdict(check=self.name, passed=True, reason="no champion to measure against")
        calls = [(1, ours.one_row, theirs.one_row), (ours.rows, ours.many_rows, theirs.many_rows)]
        judged = [(mine, max(self._floor, self._ratio * yours)) for _, mine, yours in calls]
        mine, limit = max(judged, key=lambda call: call[0] / call[1])
        reason = "; ".join(
            f"{_rows(rows)} in {mine * 1000:.3g} ms, the champion {yours * 1000:.3g} ms" for rows, mine, yours in calls
        )
        passed = all(mine <= limit for mine, limit in judged)
        return Verdict(check=self.name, passed=passed, reason=reason, figure=mine * 1000, limit=limit * 1000)


class SizeWithin(Check):
    """The graph is no larger than a few times the champion's.

    Parameters
    ----------
    ratio
        How many times the champion's bytes a graph may have.
    floor
        Bytes that a graph may have in any case.
    """

    name = "size"

    def __init__(self, ratio: float, floor: float) -> None:
        self._ratio = ratio
        self._floor = floor

    def judge(self, evidence: Evidence) -> Verdict:
        ours, theirs = evidence.cost, evidence.champion_cost
        if ours is None or theirs is None:
            return Verdict(check=self.name, passed=True, reason="no champion to measure against")
        figure, serving = _megabytes(ours), _megabytes(theirs)
        limit = max(self._floor / 1e6, self._ratio * serving)
        reason = f"{figure:.3g} MB, the champion {serving:.3g} MB"
        return Verdict(check=self.name, passed=figure <= limit, reason=reason, figure=figure, limit=limit)


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _megabytes(cost: Cost) -> float:
    return cost.size / 1e6
