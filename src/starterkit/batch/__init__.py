"""The same `Predictor` over files and folders, in flat memory. See docs/decisions/0011-batch.md."""

from starterkit.batch.plan import Plan, plan_files
from starterkit.batch.scorer import BatchScorer, Outcome

__all__ = ["BatchScorer", "Outcome", "Plan", "plan_files"]
