"""Fits the problem's estimator and says how good it is beside a naive guess."""

from starterkit.training.trainer import TrainedModel, Trainer

__all__ = ["TrainedModel", "Trainer"]
