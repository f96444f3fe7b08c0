"""What a stage may say: typed, layered, and refused before anything runs if it says something else."""

from starterkit.settings.layers import mask
from starterkit.settings.load import Layers, load_settings, read_layers, show
from starterkit.settings.model import Settings, schema_text, settings_schema
from starterkit.settings.sections import (
    FLOORS,
    STRENGTH,
    DataSettings,
    DialectSettings,
    ExportSettings,
    GateSettings,
    Limit,
    LoadSettings,
    PrivacySettings,
    PromotionSettings,
    ServingSettings,
    TrackingSettings,
    TrainingSettings,
)
from starterkit.settings.stage import Stage

__all__ = [
    "FLOORS",
    "STRENGTH",
    "DataSettings",
    "DialectSettings",
    "ExportSettings",
    "GateSettings",
    "Layers",
    "Limit",
    "LoadSettings",
    "PrivacySettings",
    "PromotionSettings",
    "ServingSettings",
    "Settings",
    "Stage",
    "TrackingSettings",
    "TrainingSettings",
    "load_settings",
    "mask",
    "read_layers",
    "schema_text",
    "settings_schema",
    "show",
]
