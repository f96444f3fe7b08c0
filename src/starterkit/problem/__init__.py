"""The contract between the user's code and the kit. The one module of the kit that a project imports."""

from starterkit.contract import Written
from starterkit.metrics import Metric
from starterkit.problem.columns import feature, group, identifier, target, time
from starterkit.problem.estimator import Direction, Expectation, Invariance, Jitter
from starterkit.problem.problem import Holdout, Problem, Source, find_problem
from starterkit.verdict import Check, Evidence, Verdict

__all__ = [
    "Check",
    "Direction",
    "Evidence",
    "Expectation",
    "Holdout",
    "Invariance",
    "Jitter",
    "Metric",
    "Problem",
    "Source",
    "Verdict",
    "Written",
    "feature",
    "find_problem",
    "group",
    "identifier",
    "target",
    "time",
]
