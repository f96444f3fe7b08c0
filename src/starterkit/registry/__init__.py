"""Versions, and which of them is the champion. The second room, beside tracking, that knows MLflow."""

from starterkit.registry.registry import CHAMPION, ModelRegistry, UnknownVersion, Version, champion_at_hand

__all__ = ["CHAMPION", "ModelRegistry", "UnknownVersion", "Version", "champion_at_hand"]
