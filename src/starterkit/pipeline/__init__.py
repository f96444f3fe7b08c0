"""The steps of a model's life in order, each by itself or all in one. Nothing here prints."""

from starterkit.pipeline.pipeline import ExportedRun, Pipeline, Promotion, Summary, TrainedRun
from starterkit.pipeline.progress import Event, Progress, silent

__all__ = ["Event", "ExportedRun", "Pipeline", "Progress", "Promotion", "Summary", "TrainedRun", "silent"]
