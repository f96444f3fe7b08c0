"""Fits the problem's estimator and says how good it is beside a naive guess."""

from starterkit.training.evaluation import evaluate, naive_baseline, predict
from starterkit.training.explanation import confusion, permutation_importance, roc_curves
from starterkit.training.leaks import single_feature_shares
from starterkit.training.refusals import unquoted
from starterkit.training.trainer import TrainedModel, Trainer, require_contrast

__all__ = [
    "TrainedModel",
    "Trainer",
    "confusion",
    "evaluate",
    "naive_baseline",
    "permutation_importance",
    "predict",
    "require_contrast",
    "roc_curves",
    "single_feature_shares",
    "unquoted",
]
