"""What a stage may say: typed, layered, and refused before anything runs if it says something else."""

from starterkit.settings.floors import (
    GATEKEEPERS,
    Rules,
    below_floor,
    files_of,
    in_words,
    looser,
    rules_in,
    rules_of,
    rules_of_files,
)
from starterkit.settings.layers import mask
from starterkit.settings.load import Layers, load_settings, read_layers, show, weakening
from starterkit.settings.model import Settings, schema_text, settings_schema
from starterkit.settings.placeholders import is_placeholder
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
    "GATEKEEPERS",
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
    "Rules",
    "ServingSettings",
    "Settings",
    "Stage",
    "TrackingSettings",
    "TrainingSettings",
    "below_floor",
    "files_of",
    "in_words",
    "is_placeholder",
    "load_settings",
    "looser",
    "mask",
    "read_layers",
    "rules_in",
    "rules_of",
    "rules_of_files",
    "schema_text",
    "settings_schema",
    "show",
    "weakening",
]
