"""The gate's words, shared with the user's own checks: evidence goes in, a verdict with its reason comes out."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from starterkit.contract import Contract, Prediction
from starterkit.metrics import Metric, Scores


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A version's answers over the holdout rows, and the figures computed from them."""

    name: str
    prediction: Prediction
    scores: Scores


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that a check may look at. Every array is over the same n holdout rows, in the same order.

    `champion` is None where nothing serves yet. `champion_fault` says why a champion that does serve cannot answer
    for these rows.
    """

    contract: Contract
    metric: Metric
    actual: NDArray[Any]
    features: Mapping[str, NDArray[Any]]
    challenger: Candidate
    baseline: Candidate
    champion: Candidate | None = None
    champion_fault: str = ""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What one check found. `figure` and `limit` are what it compared, where it compared two numbers."""

    check: str
    passed: bool
    reason: str
    figure: float | None = None
    limit: float | None = None


class Check(ABC):
    """One question that the gate asks. A check is pure: it reads the evidence and nothing else."""

    name: str

    @abstractmethod
    def judge(self, evidence: Evidence) -> Verdict:
        """Answer for this evidence."""
