"""A fitted estimator becomes an ONNX graph that answers as it does, or nothing at all."""

from starterkit.training.export.exporter import ExportedModel, OnnxExporter

__all__ = ["ExportedModel", "OnnxExporter"]
