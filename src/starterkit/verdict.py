"""The gate's words, shared with the user's own checks: evidence goes in, a verdict with its reason comes out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from starterkit.contract import Contract, Parity, Prediction, Treatment
from starterkit.errors import KitError
from starterkit.metrics import Metric, Scores


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A version's answers over the holdout rows, and the figures computed from them."""

    name: str
    prediction: Prediction
    scores: Scores


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What a version's answers cost: median seconds of a call, and the graph's size.

    `one_row` is a call with one row, `many_rows` one with `rows` rows, `size` the graph's bytes.
    """

    one_row: float
    many_rows: float
    rows: int
    size: int


@dataclass(frozen=True, kw_only=True)
class RobustnessResult:
    """How the challenger answered rows that were changed on purpose, as the problem asked.

    `figure` may be at most `limit`; `words` say what was done and what came of it.
    """

    figure: float
    limit: float
    words: str


@dataclass(frozen=True, kw_only=True)
class Contamination:
    """Which holdout rows a version knew before.

    `trained_on` counts those whose record (or group) it was trained on, and is None where its run does not say what
    it was trained on. `alike` counts those with the very same features as a row of the training side, `copied` those
    with the same target besides; `usual` is the share of the training side's rows that have such a twin among
    themselves. `coarse` says that the problem declares data whose rows may be alike by themselves.
    """

    trained_on: int | None
    alike: int = 0
    copied: int = 0
    usual: float = 0.0
    coarse: bool = False


@dataclass(frozen=True, kw_only=True)
class Frozen:
    """The frozen holdout beside recent rows, where a retrained version is judged on these.

    `why` says what the retraining was opened for. The deciding metric over the frozen holdout's `rows` is `figure`, the
    champion's `serving` and a naive guess's `naive`; `allowed` is how much worse than the champion the version may be,
    as a share of the champion's loss.
    """

    why: str
    allowed: float
    rows: int
    figure: float = float("nan")
    serving: float | None = None
    naive: float = float("nan")


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a check may look at. Every array is over the same n holdout rows, in the same order.

    Attributes
    ----------
    contract, champion_contract
        What each version takes and answers; the second is None where nothing serves yet, or it cannot be opened.
    metric
        The one that decides.
    actual, features
        The target's true values, and each feature's values.
    groups
        For each row the group that it belongs to; None where rows are independent.
    slices
        By name the rows (n booleans) of each part of the holdout that the problem wants looked at by itself.
    challenger, baseline, champion
        The version, a naive guess and what serves now; `champion` is None where nothing does, or it cannot answer.
    champion_fault
        Why a champion that does serve cannot answer for these rows, with the hint; None where it can.
    origin, policy
        The stage whose versions may come here, and what became of each column that its data does not show raw; the
        first is None where nobody said it.
    overlap, champion_overlap
        Holdout rows that the challenger, and the champion, were trained on.
    leaks
        By feature the share of the naive guess's loss that a small model of this feature alone removes.
    giveaways
        By the names of one column, or of several, how they give the target away in another manner.
    cost, champion_cost
        Measured side by side in one process; None where there is no champion to measure against.
    reactions
        One for each robustness that the problem declares.
    beside, beside_fault
        How closely the version answers as its registered estimator, and why that could not be asked; without both,
        nobody asked it.
    reach, champion_reach
        How far answers go beyond the target's range, in its widths, for rows beyond the data's; None where the answers
        are classes.
    timed
        The rows have a time, and the holdout is drawn at random all the same.
    explanation
        Why figures that are too good, or odd, are true, as the person says who gives the command.
    contract_digest
        The SHA-256 of the ``contract.json`` that the challenger was opened with.
    frozen
        What the frozen holdout says, where the rows are a retraining's recent ones; else they are the frozen holdout's.
    """

    contract: Contract
    metric: Metric
    actual: NDArray[Any]
    features: Mapping[str, NDArray[Any]]
    challenger: Candidate
    baseline: Candidate
    champion: Candidate | None = None
    champion_contract: Contract | None = None
    champion_fault: KitError | None = None
    groups: NDArray[Any] | None = None
    slices: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    origin: str | None = None
    policy: Mapping[str, Treatment] = field(default_factory=dict)
    overlap: Contamination | None = None
    champion_overlap: Contamination | None = None
    leaks: Mapping[str, float] = field(default_factory=dict)
    strong: tuple[str, ...] = ()
    cost: Cost | None = None
    champion_cost: Cost | None = None
    reactions: tuple[RobustnessResult, ...] = ()
    beside: Parity | None = None
    beside_fault: str = ""
    contract_digest: str = ""
    giveaways: Mapping[str, str] = field(default_factory=dict)
    reach: float | None = None
    champion_reach: float | None = None
    timed: bool = False
    explanation: str = ""
    frozen: Frozen | None = None


LEAST_OF_A_CLASS = 10
"""A class with fewer rows says nothing of how well it is told from others."""


def has_contrast(classifies: bool, actual: NDArray[Any]) -> bool:
    """Whether a holdout has enough rows of two classes at least; one of fewer decides nothing, whatever the figures."""
    if not classifies:
        return True
    return int((np.unique(actual, return_counts=True)[1] >= LEAST_OF_A_CLASS).sum()) > 1


Outcome = Literal["not worse", "worse", "not enough rows"]
"""What a comparison came to."""


@dataclass(frozen=True)
class Comparison:
    """A challenger beside another version, on the same rows.

    Attributes
    ----------
    figure, serving
        The metric of the challenger and of the champion.
    margin
        How much worse is tolerated, in the metric's own unit.
    low, high
        The interval of the shortfall.
    same
        Both gave the very same answers.
    units, differing, needed
        How many independent rows, or groups, there are, in how many of them the two differ, and about how many rows
        would tell; 0 where none would.
    """

    outcome: Outcome
    figure: float
    serving: float
    margin: float
    low: float
    high: float
    same: bool
    units: int
    differing: int
    needed: int


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one check found. `figure` and `limit` are what it compared, where it compared two numbers.

    `undecided` says that there were not enough rows to tell; `passed` says what that means in this stage. `hint` says
    what to do about a refusal that a better model would not change. A check that is `off` in this stage was not asked.
    """

    check: str
    passed: bool
    reason: str
    figure: float | None = None
    limit: float | None = None
    undecided: bool = False
    hint: str = ""
    off: bool = False
    comparisons: Mapping[str, Comparison] = field(default_factory=dict, repr=False, compare=False)

    @property
    def content(self) -> dict[str, Any]:
        """For files and scripts: all but the comparisons, and the outcome in words. Its key for `hint` is ``mend``."""
        told = {"mend" if key == "hint" else key: value for key, value in vars(self).items() if key != "comparisons"}
        return {**told, "outcome": self.outcome}

    @property
    def told(self) -> str:
        """The reason, and the hint where there is one."""
        return f"{self.reason}. {self.hint}" if self.hint else self.reason

    @property
    def outcome(self) -> str:
        """One word or three, as people are shown them: passed, refused, not enough rows, off."""
        if self.off:
            return "off"
        return "not enough rows" if self.undecided else ("passed" if self.passed else "refused")


class Check(ABC):
    """One question that the gate asks. A check is pure: it reads the evidence and nothing else."""

    name: str

    @abstractmethod
    def judge(self, evidence: Evidence) -> Verdict:
        """Answer for this evidence."""

    def says(self, passed: bool, reason: str, **more: Any) -> Verdict:
        """A verdict in this check's name; `more` is what else a `Verdict` holds."""
        return Verdict(check=self.name, passed=passed, reason=reason, **more)
