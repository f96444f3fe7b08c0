"""The settings as a whole, what the model knows about its own fields, and the schema that VS Code reads."""

import json
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from starterkit.settings.sections import (
    DataSettings,
    ExportSettings,
    GateSettings,
    LoadSettings,
    NotInYaml,
    PrivacySettings,
    PromotionSettings,
    ServingSettings,
    Stage,
    TrackingSettings,
    TrainingSettings,
)

Key = tuple[str, ...]


class Settings(BaseSettings):
    """Everything that a stage may say. `load_settings` creates it; it never reads the environment by itself."""

    model_config = SettingsConfigDict(
        env_prefix="KIT_", env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    root: Annotated[Path, NotInYaml] = Field(exclude=True, description="The repository's root")
    stage: Annotated[Stage, NotInYaml] = Field(Stage.LOCAL, description="The stage, from KIT_STAGE alone")
    debug: bool = Field(False, description="Show more of what goes on; refused in test, staging and prod")
    data: DataSettings
    tracking: TrackingSettings
    privacy: PrivacySettings = Field(default_factory=PrivacySettings)
    training: TrainingSettings = Field(default_factory=TrainingSettings)
    export: ExportSettings = Field(default_factory=ExportSettings)
    gate: GateSettings = Field(default_factory=GateSettings)
    promotion: PromotionSettings = Field(default_factory=PromotionSettings)
    serving: ServingSettings = Field(default_factory=ServingSettings)
    loadtest: LoadSettings = Field(default_factory=LoadSettings)

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what is passed and nothing else: the layers are merged by `read_layers`, which keeps their origins."""
        return (init_settings,)


def model_at(key: Key) -> type[BaseModel] | None:
    """Find the model whose keys stand under `key`, or None where any key may stand (or none at all)."""
    annotation: Any = Settings
    for name in key:
        if get_origin(annotation) is dict:
            annotation = get_args(annotation)[1]
        elif isinstance(annotation, type) and issubclass(annotation, BaseModel) and name in annotation.model_fields:
            annotation = annotation.model_fields[name].annotation
        else:
            return None
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def fields() -> dict[Key, FieldInfo]:
    """List every field by its key: `("debug",)`, `("serving", "port")`."""
    found: dict[Key, FieldInfo] = {}
    for name, field in Settings.model_fields.items():
        section = model_at((name,))
        found |= {(name, inner): info for inner, info in section.model_fields.items()} if section else {(name,): field}
    return found


def variable_of(key: Key) -> str:
    """Name the environment variable that sets this key, or the mapping that it stands in."""
    return "KIT_" + "__".join(key[:2]).upper()


def variables() -> dict[str, Key]:
    """List every environment variable that the kit reads, with the key that it sets."""
    return {variable_of(key): key for key, field in fields().items() if not field.exclude}


def may_stand_in_yaml(field: FieldInfo) -> bool:
    """Tell whether a YAML file may set this field: not the stage, and never a secret."""
    return NotInYaml not in field.metadata


def is_secret(field: FieldInfo) -> bool:
    """Tell whether this field's value must never be shown."""
    return SecretStr in get_args(field.annotation)


# --- The JSON schema with which VS Code completes and checks `config/*.yaml`.


def settings_schema() -> dict[str, Any]:
    """Make the schema of one YAML file from the models: no secrets, and nothing required, because each is a part."""
    schema = Settings.model_json_schema()
    for model in (schema, *schema["$defs"].values()):
        model.pop("required", None)
    return schema


def schema_text() -> str:
    """Write the schema as `config/settings.schema.json` holds it."""
    return json.dumps(settings_schema(), indent=2) + "\n"
