"""Checks on whether the figures can be believed at all, and on what the champion's clients would notice."""

from abc import abstractmethod
from collections.abc import Iterator

from starterkit.contract import TREATED, Column, Contract
from starterkit.verdict import Check, Cost, Evidence, Verdict

# --- Checks on whether the figures can be believed at all. A comparison with NaN is never a pass.


class ParityProven(Check):
    """The exported graph answers as the estimator does, held to no looser tolerance than the stage's, if it has one."""

    name = "parity"

    def __init__(self, tolerance: float | None = None) -> None:
        self._tolerance = tolerance

    def judge(self, evidence: Evidence) -> Verdict:
        parity = evidence.contract.parity
        if self._tolerance is not None and not parity.allowed <= self._tolerance:
            reason = f"its graph was held to {parity.allowed:g}, and this stage allows {self._tolerance:g}"
            hint = "Export it again here, or look at export.tolerance and export.probability_tolerance"
            return self.says(False, reason, hint=hint, figure=parity.allowed, limit=self._tolerance)
        reason = f"{parity.measure} {parity.largest:.2g} over {parity.rows:,} rows, {parity.allowed:g} allowed"
        if parity.flipped_labels:
            reason += f"; {parity.flipped_labels:,} labels changed"
        if parity.probed:
            reason += f"; {parity.flipped_leaves or 'no'} row{'s' * (parity.flipped_leaves != 1)} in another leaf"
        if parity.unstable:
            reason += f"; {parity.on_instability}"
        return self.says(parity.proven, reason, figure=parity.largest, limit=parity.allowed)


class AgainstEstimator(Check):
    """The registered version answers the holdout and rows that it was trained on as its registered estimator does."""

    name = "estimator"

    def judge(self, evidence: Evidence) -> Verdict:
        found = evidence.beside
        if found is None and not evidence.beside_fault:
            reason = "not asked in this stage; `starterkit gate --against-estimator` asks it"
            return self.says(True, reason, off=True)
        if found is None:
            hint = "Train it again with the project as it is now"
            return self.says(False, evidence.beside_fault, hint=hint)
        reason = f"{found.measure} {found.largest:.2g} over {found.rows:,} rows of the data, {found.allowed:g} allowed"
        if found.flipped_labels:
            reason += f"; {found.flipped_labels:,} labels differ"
        if found.unstable:
            reason += f"; {found.on_instability}"
        return self.says(found.proven, reason, figure=found.largest, limit=found.allowed)


class HoldoutUnseen(Check):
    """The version was trained on no record (or group) of the holdout, whoever trained it and with whatever split.

    Nor on a table that repeats the holdout under other identifiers: where more than a tenth of its rows stand in the
    training side, target and all, it tells how well a model remembers. Data whose rows are alike by themselves, such
    as three columns of few values each, is declared as `coarse`.
    """

    name = "holdout"
    _most_copied = 0.1

    def judge(self, evidence: Evidence) -> Verdict:
        overlap, rows = evidence.overlap, len(evidence.actual)
        if overlap is None or overlap.trained_on is None:
            reason = "its run does not say which rows it was trained on: train again with this version of the kit"
            reason += ", and with the masking key that is here"
            return self.says(False, reason)
        seen = overlap.trained_on
        reason = f"trained on {seen or 'none'} of the {rows:,} holdout rows"
        if overlap.alike:
            reason += f"; {overlap.alike} have the same features as a training row"
        repeated = overlap.copied > self._most_copied * rows and not overlap.coarse
        hint = ""
        if repeated:
            reason += f"; {overlap.copied:,} stand in the training side under another identifier, target and all"
            hint = "Remove the copies, or give them one group(); where rows are alike by chance, Problem(coarse=True)"
        if evidence.timed:
            reason += "; the rows have a time() and were drawn at random, so that a drift does not show here"
        return self.says(seen == 0 and not repeated, reason, hint=hint, figure=seen, limit=0)


class PolicyKept(Check):
    """The version was trained for this stage, on data that shows what this stage's data shows, and no more or less.

    A model fitted on masked rows never leaves its stage; production gets what staging trained.
    """

    name = "policy"

    def judge(self, evidence: Evidence) -> Verdict:
        lineage, origin = evidence.contract.lineage, evidence.origin
        if origin is None:
            return self.says(False, "nobody said which stage this is")
        if lineage.stage != origin:
            reason = f"it was trained in stage {lineage.stage}, and only versions of stage {origin} may come here"
            return self.says(False, reason, hint=f"Train it in stage {origin}")
        names = dict.fromkeys([*evidence.policy, *lineage.policy])
        pairs = {name: (lineage.policy.get(name, "raw"), evidence.policy.get(name, "raw")) for name in names}
        others = [f"'{name}' {TREATED[was]}, now {TREATED[now]}" for name, (was, now) in pairs.items() if was != now]
        if others:
            reason = f"the stage shows other data now: {', '.join(others)}"
            return self.says(False, reason, hint="Train it again under today's policy")
        masked = ", ".join(f"'{name}' {TREATED[treatment]}" for name, treatment in lineage.policy.items())
        return self.says(True, f"trained in stage {origin}, {masked or 'every column raw'}")


class NoFeatureAlone(Check):
    """No feature predicts the target by itself: one that does is mostly the target in disguise.

    Nor do a few whose sum or product it is, a column's gaps, or a category's mean target that the holdout went into.
    `limit` is the largest share of the naive guess's loss that one feature may remove alone.
    """

    name = "leak"

    def __init__(self, limit: float) -> None:
        self._limit = limit

    def judge(self, evidence: Evidence) -> Verdict:
        asked = {name: share for name, share in evidence.leaks.items() if name not in evidence.strong}
        if evidence.giveaways:
            words = "; ".join(f"{names} {manner}" for names, manner in evidence.giveaways.items())
            hint = "Leave them out, or name them in Problem(strong=…) where they are known before the target is"
            return self.says(False, words, hint=hint)
        if not asked:
            return self.says(True, "the problem declares every feature as strong")
        leaking = {name: share for name, share in asked.items() if not share <= self._limit}
        strongest = max(asked, key=lambda name: asked[name])
        reason = f"'{strongest}' alone removes {asked[strongest]:.0%} of the naive guess's loss"
        if leaking:
            names = ", ".join(f"'{name}' ({share:.1%})" for name, share in leaking.items())
            reason = (
                f"alone {names} removes nearly all of the naive guess's loss. Drop it, or name it in Problem(strong=…)"
            )
        return self.says(not leaking, reason, figure=asked[strongest], limit=self._limit)


class StaysRobust(Check):
    """The version answers changed rows as the problem expects."""

    name = "robustness"

    def judge(self, evidence: Evidence) -> Verdict:
        reactions = evidence.reactions
        if not reactions:
            return self.says(True, "the problem declares none")
        failing = [one for one in reactions if not one.figure <= one.limit]
        shown = failing or reactions
        return self.says(
            not failing, "; ".join(one.words for one in shown), figure=shown[0].figure, limit=shown[0].limit
        )


# --- Checks on what the champion's clients would notice: requests that no longer fit, answers that come later.

_FIRST = "no champion, so no clients yet"


class SignatureKept(Check):
    """Whatever the champion's clients send stays valid, and what they get stays of the same kind."""

    name = "signature"

    def judge(self, evidence: Evidence) -> Verdict:
        before = evidence.champion_contract
        if before is None:
            return self.says(True, _FIRST)
        broken = list(_broken(evidence.contract, before))
        reason = "; ".join(broken) if broken else "the champion's requests stay valid, the answers of the same kind"
        if broken:
            reason += ". A model with another signature gets another name"
        return self.says(not broken, reason)


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


class CostWithin(Check):
    """A cost is no more than `ratio` times the champion's, measured side by side.

    It may be `floor`, in `unit`, in any case: below that nobody is refused for a factor of microseconds.
    """

    unit: str

    def __init__(self, ratio: float, floor: float) -> None:
        self._ratio = ratio
        self._floor = floor

    def judge(self, evidence: Evidence) -> Verdict:
        ours, theirs = evidence.cost, evidence.champion_cost
        if ours is None or theirs is None:
            return self.says(True, "no champion to measure against")
        pairs = list(zip(self.figures(ours), self.figures(theirs), strict=True))
        judged = [(mine, max(self._floor, self._ratio * yours)) for (_, mine), (_, yours) in pairs]
        figure, limit = max(judged, key=lambda one: one[0] / one[1])
        reason = "; ".join(
            f"{of}{mine:.3g} {self.unit}, the champion {yours:.3g} {self.unit}" for (of, mine), (_, yours) in pairs
        )
        passed = all(mine <= limit for mine, limit in judged)
        return self.says(passed, reason, figure=figure, limit=limit)

    @abstractmethod
    def figures(self, cost: Cost) -> list[tuple[str, float]]:
        """What is compared, with words that stand in front of it."""


class LatencyWithin(CostWithin):
    """A call with one row, and one with many."""

    name, unit = "latency", "ms"

    def figures(self, cost: Cost) -> list[tuple[str, float]]:
        rows = "1 row" if cost.rows == 1 else f"{cost.rows:,} rows"
        return [("1 row in ", cost.one_row * 1000), (f"{rows} in ", cost.many_rows * 1000)]


class SizeWithin(CostWithin):
    """The graph's bytes."""

    name, unit = "size", "MB"

    def figures(self, cost: Cost) -> list[tuple[str, float]]:
        return [("", cost.size / 1e6)]


class GuardedByFrozen(Check):
    """A version that was retrained for a changed world, and is judged on that, has not forgotten the one before."""

    name = "frozen holdout"

    def judge(self, evidence: Evidence) -> Verdict:
        metric, frozen = evidence.metric, evidence.frozen
        assert frozen is not None
        words = f"{metric.name} {frozen.figure:.4g} over the {frozen.rows:,} rows of the frozen holdout"
        if not metric.shortfall(frozen.figure, frozen.naive) < 0:
            reason = f"{words} is not better than a naive guess's {frozen.naive:.4g}"
            return self.says(False, reason, figure=frozen.figure, limit=frozen.naive)
        if frozen.serving is None:
            return self.says(True, words, figure=frozen.figure)
        margin = frozen.allowed * metric.loss(frozen.serving)
        short = metric.shortfall(frozen.figure, frozen.serving)
        reason = f"{words}, the champion's is {frozen.serving:.4g} and {margin:.4g} worse is allowed"
        return self.says(bool(short <= margin), reason, figure=frozen.figure, limit=margin)
