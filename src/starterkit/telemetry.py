"""Nothing is sent to anyone. MLflow and ONNX Runtime would, and both read a variable when they are imported."""

import os

_QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "ORT_DISABLE_TELEMETRY": "1"}


def send_nothing() -> None:
    """Silence both. Call it before either is imported."""
    os.environ.update(_QUIET)
