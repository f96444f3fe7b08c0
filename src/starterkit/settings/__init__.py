"""What a stage may say: typed, layered, and refused before anything runs if it says something else.

`load_settings` finds the repository, lays the layers over each other, and refuses what may not be.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from starterkit.errors import SettingsError
from starterkit.settings import layers
from starterkit.settings.floors import GATEKEEPERS, Rules, check_floors, in_words, looser, rules_of, rules_said
from starterkit.settings.layers import (
    Key,
    Settings,
    fields,
    is_secret,
    leaves,
    mask,
    may_stand_in_yaml,
    merge,
    model_at,
    schema_text,
    settings_schema,
)
from starterkit.settings.privacy import (
    FLOORS,
    STRENGTH,
    FeedbackSettings,
    MonitoringSettings,
    PrivacySettings,
    RuleSettings,
    StageKey,
    identifiers_in,
)
from starterkit.settings.sections import (
    DataSettings,
    DialectSettings,
    ExportSettings,
    GateSettings,
    Limit,
    LoadSettings,
    PromotionSettings,
    ServingSettings,
    Stage,
    TrackingSettings,
    TrainingSettings,
    read_stage,
)

__all__ = [
    "FLOORS",
    "GATEKEEPERS",
    "STRENGTH",
    "DataSettings",
    "DialectSettings",
    "ExportSettings",
    "FeedbackSettings",
    "GateSettings",
    "Layers",
    "Limit",
    "LoadSettings",
    "MonitoringSettings",
    "PrivacySettings",
    "PromotionSettings",
    "RuleSettings",
    "ServingSettings",
    "Settings",
    "Stage",
    "StageKey",
    "TrackingSettings",
    "TrainingSettings",
    "identifiers_in",
    "load_settings",
    "mask",
    "read_layers",
    "schema_text",
    "settings_schema",
    "show",
    "weakening",
]

# --- Turning pydantic's errors into the kit's: where it was said, which key, and what is allowed.


def explain(error: ValidationError, origins: Mapping[Key, str], stage: Stage) -> list[SettingsError]:
    """Explain every problem of a validation, each in one line and without the value, which can be a secret."""
    details = error.errors(include_url=False, include_input=False)
    return [_explain_one(detail, origins, stage) for detail in details]


def together(problems: list[SettingsError]) -> SettingsError:
    """Make one error of several: a summary, then a line each."""
    if len(problems) == 1:
        return problems[0]
    lines = "".join(f"\n- {problem}" for problem in problems)
    return SettingsError(f"The settings have {len(problems)} problems:{lines}")


def _explain_one(detail: ErrorDetails, origins: Mapping[Key, str], stage: Stage) -> SettingsError:
    key = tuple(str(part) for part in detail["loc"])
    dotted = ".".join(key)
    field = fields().get(key)
    description = field.description if field else None
    if detail["type"] == "missing":
        what = f"config/{stage}.yaml: {dotted} is missing"
        return SettingsError(what, f"Add it there, or to config/base.yaml for all stages. It takes: {description}")
    origin = origins.get(key) or origins.get(key[:-1]) or "the settings"  # a list comes from one place as a whole
    if detail["type"] == "extra_forbidden":
        return _unknown_key(key, origin)
    return SettingsError(f"{origin}: {dotted} {_what_is_allowed(detail, description)}")


def _unknown_key(key: Key, origin: str) -> SettingsError:
    *above, name = key
    model = model_at(tuple(above))
    known = [known for known, field in model.model_fields.items() if may_stand_in_yaml(field)] if model else []
    close = get_close_matches(name, known, n=1)
    meant = f" (did you mean {'.'.join((*above, close[0]))}?)" if close else ""
    what = f"{origin}: {'.'.join(key)} is not a setting{meant}"
    return SettingsError(what, f"Remove or rename it; allowed are {', '.join(known)}")


def _what_is_allowed(detail: ErrorDetails, description: str | None) -> str:
    kind, message, context = detail["type"], detail["msg"], detail.get("ctx", {})
    if kind == "value_error":
        return message.removeprefix("Value error, ")
    if kind in ("model_type", "dict_type"):
        return "should hold keys and values; leave it out if there are none"
    if kind == "tuple_type":
        return "should be a list"
    if kind in ("too_short", "string_too_short"):
        least = context["min_length"]
        return f"should have at least {least} characters" if least > 1 else "should not be empty"
    if kind == "string_pattern_mismatch":
        return f"should be: {description}"
    return message.replace("Input should", "should").partition(", unable to ")[0]  # the rest says it twice


@dataclass(frozen=True)
class Layers:
    """The settings, and where each of their values came from.

    `origins` has for each dotted key its file or variable: `config/base.yaml`, `KIT_SERVING__PORT`,
    `secrets/KIT_SERVING__API_KEY`, or `default`. `warnings` are of what the stage lets pass, but should be mended,
    `committed` are the rules of the gate that the files alone say.
    """

    settings: Settings
    origins: Mapping[str, str]
    warnings: tuple[str, ...]
    committed: Rules = field(default_factory=dict)


def load_settings(root: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
    """Load the settings of the stage that `KIT_STAGE` names. Parameters and errors are those of `read_layers`."""
    return read_layers(root, environ).settings


def read_layers(root: Path | None = None, environ: Mapping[str, str] | None = None) -> Layers:
    """Load the settings and keep where each value came from.

    The layers, lowest first, are `config/base.yaml`, `config/<stage>.yaml`, secret files, and the environment.

    Parameters
    ----------
    root
        The repository's root. Without it, the nearest folder upwards that holds `config/base.yaml`.
    environ
        The environment. Without it, the process's own.

    Raises
    ------
    SettingsError
        A layer cannot be read, or says something that the stage may not say. All problems are listed at once.
    """
    root = find_root(Path.cwd()) if root is None else root
    environ = os.environ if environ is None else environ
    stage = read_stage(environ)
    found = [
        *(layers.read_yaml(root, f"config/{name}.yaml") for name in ("base", stage)),
        *(layers.read_secrets(root, folder) for folder in layers.SECRET_FOLDERS),
        layers.read_environment(environ),
    ]
    values, origins = merge(found)
    problems = [problem for layer in found for problem in layer.problems]
    # An empty section makes pydantic name the missing key and not the missing section.
    complete = {"data": {}, "tracking": {}, **values, "stage": stage, "root": root}
    try:
        settings = Settings.model_validate(complete)
    except ValidationError as error:
        raise together([*problems, *explain(error, origins, stage)]) from None
    committed = rules_said(merge(found[:2])[0], stage)
    refused, warnings = check_floors(settings, origins, committed)
    if problems or refused:
        raise together([*problems, *refused])
    shown = {".".join(key): origins.get(key, "default") for key, _ in leaves(settings.model_dump())}
    return Layers(settings, MappingProxyType(shown), warnings, committed)


def find_root(start: Path) -> Path:
    """Find the nearest folder from `start` upwards that holds `config/base.yaml`."""
    for folder in (start, *start.parents):
        if (folder / "config" / "base.yaml").is_file():
            return folder
    what = "Neither the working directory nor any folder above it holds config/base.yaml"
    raise SettingsError(what, "Run this inside the repository")


# --- The settings as plain data for `config show`, with secrets hidden.


class ShownSetting(NamedTuple):
    """One line of `config show`: the dotted key, its value as text, and where it came from."""

    key: str
    value: str
    origin: str


def show(layers: Layers) -> list[ShownSetting]:
    """List every value with its origin. A secret is only said to be set or not; passwords in addresses are masked."""
    secret = {key for key, field in fields().items() if is_secret(field)}
    shown: list[ShownSetting] = []
    for key, value in leaves(layers.settings.model_dump()):
        dotted = ".".join(key)
        if key in secret:
            text = "(not set)" if value is None else "(set)"
        else:
            text = mask(value) if isinstance(value, str) else json.dumps(value)
        shown.append(ShownSetting(dotted, text, layers.origins[dotted]))
    return shown


def weakening(layers: Layers) -> dict[str, str]:
    """What makes a stage weaker than the kit's defaults, or than its own files, in words by dotted key."""
    settings = layers.settings
    rules = rules_of(settings.gate, settings.export)
    defaults = rules_of(GateSettings(), ExportSettings())
    found = {key: f"the default is {in_words(theirs)}" for key, _, theirs in looser(rules, defaults)}
    found |= {key: f"the files say {in_words(theirs)}" for key, _, theirs in looser(rules, layers.committed)}
    if settings.export.parity_rows < ExportSettings().parity_rows:
        found["export.parity_rows"] = f"the default is {ExportSettings().parity_rows}"
    if settings.debug:
        found["debug"] = "shows more than it should"
    if settings.stage not in (Stage.LOCAL, Stage.DEV) and not settings.serving.require_api_key:
        found["serving.require_api_key"] = "whoever reaches the port is answered"
    return found
