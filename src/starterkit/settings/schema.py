"""The JSON schema with which VS Code completes and checks `config/*.yaml`."""

import json
from typing import Any

from starterkit.settings.model import Settings


def settings_schema() -> dict[str, Any]:
    """Make the schema of one YAML file from the models: no secrets, and nothing required, because each is a part."""
    schema = Settings.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        model.pop("required", None)
    return schema


def schema_text() -> str:
    """Write the schema as `config/settings.schema.json` holds it."""
    return json.dumps(settings_schema(), indent=2) + "\n"
