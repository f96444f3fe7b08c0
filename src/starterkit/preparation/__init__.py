"""A source becomes a stage's data set: sampled, treated, measured, and written with its proof."""

from starterkit.preparation.preparer import Prepared, Preparer
from starterkit.preparation.report import blocks

__all__ = ["Prepared", "Preparer", "blocks"]
