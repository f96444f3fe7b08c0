"""The kit's own checks, one small class each. A comparison with NaN is never a pass."""

from starterkit.verdict import Check, Evidence, Verdict


class ParityProven(Check):
    """The exported graph answers as the estimator does."""

    name = "parity"

    def judge(self, evidence: Evidence) -> Verdict:
        parity = evidence.contract.parity
        reason = f"{parity.measure} {parity.largest:.2g} over {parity.rows:,} rows, {parity.allowed:g} allowed"
        if parity.flipped_labels:
            reason += f"; {parity.flipped_labels} labels changed"
        return Verdict(
            check=self.name, passed=parity.proven, reason=reason, figure=parity.largest, limit=parity.allowed
        )


class AbsoluteLimit(Check):
    """A metric is within the bounds that the stage's settings give."""

    def __init__(self, metric: str, minimum: float | None = None, maximum: float | None = None) -> None:
        self.name = f"limit {metric}"
        self._metric = metric
        self._minimum = minimum
        self._maximum = maximum

    def judge(self, evidence: Evidence) -> Verdict:
        figure = evidence.challenger.scores[self._metric]
        within = [f"{self._metric} {figure:.4g}"]
        passed, limit = True, None
        for bound, word, holds in (
            (self._minimum, "at least", lambda bound: figure >= bound),
            (self._maximum, "at most", lambda bound: figure <= bound),
        ):
            if bound is not None:
                within.append(f"{word} {bound:g} allowed")
                if passed:
                    passed, limit = holds(bound), bound
        return Verdict(check=self.name, passed=passed, reason=", ".join(within), figure=figure, limit=limit)


class BetterThanBaseline(Check):
    """The model knows more than a guess that does not look at the row."""

    name = "baseline"

    def judge(self, evidence: Evidence) -> Verdict:
        metric = evidence.metric
        figure, naive = evidence.challenger.scores[metric.name], evidence.baseline.scores[metric.name]
        passed = metric.shortfall(figure, naive) < 0
        word = "better than" if passed else "not better than"
        reason = f"{metric.name} {figure:.4g} is {word} the naive guess's {naive:.4g}"
        return Verdict(check=self.name, passed=passed, reason=reason, figure=figure, limit=naive)


class NotWorseThanChampion(Check):
    """On the same holdout rows the challenger is at most a tolerated share worse than what serves now.

    Parameters
    ----------
    tolerance
        The share of the champion's figure by which the challenger may fall short: 0.01 is one percent.
    """

    name = "champion"

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance

    def judge(self, evidence: Evidence) -> Verdict:
        if evidence.champion_fault:
            return Verdict(check=self.name, passed=False, reason=evidence.champion_fault)
        if evidence.champion is None:
            return Verdict(check=self.name, passed=True, reason="no champion yet: this is the first")
        metric = evidence.metric
        figure, serving = evidence.challenger.scores[metric.name], evidence.champion.scores[metric.name]
        allowance = self._tolerance * abs(serving)
        limit = serving - allowance if metric.greater_is_better else serving + allowance
        passed = metric.shortfall(figure, limit) <= 0
        reason = (
            f"{metric.name} {figure:.4g} against {serving:.4g} of {evidence.champion.name} "
            f"on the same {len(evidence.actual)} rows, {self._tolerance:.0%} worse allowed"
        )
        return Verdict(check=self.name, passed=passed, reason=reason, figure=figure, limit=limit)
