"""A model behind HTTP: JSON in, JSON out, every refusal with its mend."""

from starterkit.serving.app import create_app
from starterkit.serving.memory import limit_memory
from starterkit.serving.model import ServedModel
from starterkit.serving.port import require_port, taking_port

__all__ = ["ServedModel", "create_app", "limit_memory", "require_port", "taking_port"]
