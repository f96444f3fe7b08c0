"""A model behind HTTP: JSON in, JSON out, every refusal with its mend."""

from starterkit.serving.app import create_app
from starterkit.serving.model import ServedModel

__all__ = ["ServedModel", "create_app"]
