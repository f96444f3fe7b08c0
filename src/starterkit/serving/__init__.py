"""An exported folder made callable with onnxruntime and numpy alone: from Python, over HTTP, over files."""

from starterkit.serving.predictor import Predictor

__all__ = ["Predictor"]
