"""From a judged version to the champion, and back: one at a time, written down before and after."""

from starterkit.promotion.describing import Describer
from starterkit.promotion.judging import Judge, Judgement, Promotion
from starterkit.promotion.people import Unapproved, who_is_here
from starterkit.promotion.promoter import Promoter, Rollback
from starterkit.promotion.pruning import KEEP, Kept, Leaving, Pruned, Pruner, rule
from starterkit.promotion.reigns import champions, served_until, serving, way_here
from starterkit.promotion.settling import alone, half_done, in_words, lock_of, settle

__all__ = [
    "KEEP",
    "Describer",
    "Judge",
    "Judgement",
    "Kept",
    "Leaving",
    "Promoter",
    "Promotion",
    "Pruned",
    "Pruner",
    "Rollback",
    "Unapproved",
    "alone",
    "champions",
    "half_done",
    "in_words",
    "lock_of",
    "rule",
    "served_until",
    "serving",
    "settle",
    "way_here",
    "who_is_here",
]
