"""The steps of a model's life in order, each by itself or all in one. Nothing here prints."""

from starterkit.pipeline.pipeline import ExportedRun, Judgement, Pipeline, Promotion, Summary, TrainedRun

__all__ = ["ExportedRun", "Judgement", "Pipeline", "Promotion", "Summary", "TrainedRun"]
