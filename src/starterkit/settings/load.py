"""Loading the settings: find the repository, lay the layers over each other, refuse what may not be."""

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from starterkit.errors import SettingsError
from starterkit.settings import layers
from starterkit.settings.floors import (
    GATEKEEPERS,
    Rules,
    below_floor,
    files_of,
    in_words,
    is_placeholder,
    is_placeholder_host,
    is_this_machine,
    looser,
    rules_of,
    rules_said,
)
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
    passwords_in,
)
from starterkit.settings.privacy import MOST_DAYS, weaker
from starterkit.settings.sections import ExportSettings, GateSettings, Stage, read_stage

# --- What a stage refuses, whatever YAML and environment say.

SWITCHABLE_CHECKS = ("estimator", "baseline", "latency", "size", "robustness")
"""All that staging and prod may leave out; the rest of the gate is what makes them gatekeepers."""
Finding = tuple[Key, str, str]
"""A key, what is wrong with its value, and what to do."""


def check_floors(
    settings: Settings, origins: Mapping[Key, str], committed: Rules
) -> tuple[list[SettingsError], tuple[str, ...]]:
    """Hold the settings against what their stage must not do.

    Debug, placeholder secrets and local stores are allowed in `local`, warned of in `dev`, and refused elsewhere.
    The API key cannot be turned off in `prod`, nor in `staging` without a word; nor can a core check of the gate in
    both, whose rules the environment can only make stricter than `committed`. What hides less of people's data than
    the stage has to is refused everywhere.

    Returns
    -------
    refusals
        What stops the stage.
    warnings
        What a developer should know.
    """
    stage = settings.stage

    def said(findings: Iterable[Finding]) -> list[SettingsError]:
        return [
            SettingsError(f"{origins.get(key, 'default')}: {'.'.join(key)} {what}, which {stage} does not allow", hint)
            for key, what, hint in findings
        ]

    seen, loose = said([*weaker(stage, settings.privacy), *_kept_too_long(settings)]), said(_loose_ends(settings))
    if stage is Stage.LOCAL:
        return seen, ()
    if stage is Stage.DEV:
        return seen, tuple(str(finding) for finding in loose)
    warned = said(_without_key(settings)) if stage is Stage.STAGING else []
    strict = _switched_off(settings), _loosened(settings, committed), _by_the_environment(settings, origins)
    refused = [*loose, *(finding for findings in strict for finding in said(findings)), *seen]
    return refused, tuple(str(finding) for finding in warned)


def _loose_ends(settings: Settings) -> Iterator[Finding]:
    if settings.debug:
        yield ("debug",), "is true", "Set it to false"
    if not settings.tracking.uri.startswith("http"):
        yield ("tracking", "uri"), "is a local store", "Set it to an MLflow server's http:// or https:// address"
    for key, value in leaves(settings.model_dump()):
        if _is_placeholder(value):
            yield key, "holds a placeholder secret", "Set a secret of your own"


def _kept_too_long(settings: Settings) -> Iterator[Finding]:
    """Predictions are people's data: in the log and its archive together, a stage keeps them so long and no longer."""
    most, kept = MOST_DAYS[settings.stage], settings.feedback
    if kept.keep_days + kept.archive_days > most:
        yield ("feedback", "keep_days"), "and archive_days are more days", f"Keep them for {most} days together at most"


def _without_key(settings: Settings) -> Iterator[Finding]:
    if not settings.serving.require_api_key:
        yield ("serving", "require_api_key"), "is false", f"Set it to true in config/{settings.stage}.yaml"


def _loosened(settings: Settings, committed: Rules) -> Iterator[Finding]:
    """A gatekeeper's rules that are beyond what it may take, or that the environment makes looser than the files."""
    if settings.stage not in GATEKEEPERS:
        return
    rules, files = rules_of(settings.gate, settings.export), " and ".join(files_of(settings.stage))
    beyond = {key: (said, takes) for key, said, takes in below_floor(rules)}
    for key, (said, takes) in beyond.items():
        yield tuple(key.split(".")), f"is {in_words(said)}", f"{settings.stage} takes {takes}"
    for key, said, theirs in looser(rules, committed):
        is_core = said is False and key.rpartition(".")[2] not in SWITCHABLE_CHECKS  # refused whoever says it
        if key not in beyond and not is_core:
            hint = f"{files} say {in_words(theirs)}, and a variable can only be stricter: change it there by a commit"
            yield tuple(key.split(".")), f"is {in_words(said)}", hint


def _switched_off(settings: Settings) -> Iterator[Finding]:
    """Core checks of a gatekeeper, and those of the project; in prod, the API key."""
    if settings.stage in GATEKEEPERS:
        for name, asked in settings.gate.checks.items():
            if not asked and name not in SWITCHABLE_CHECKS:
                hint = f"Remove it; {settings.stage} may leave out {', '.join(SWITCHABLE_CHECKS)}"
                yield ("gate", "checks", name), "is false", hint
    if settings.stage is Stage.PROD:
        yield from _without_key(settings)


def _by_the_environment(settings: Settings, origins: Mapping[Key, str]) -> Iterator[Finding]:
    """What prod takes from its files alone; and an address that stands for one that is still to be given.

    The address that the template's own file has is one, too.
    """
    for people in (("promotion", "approvers"), ("promotion", "trusted_keys")):
        if settings.stage is Stage.PROD and not origins.get(people, "config/").startswith("config/"):
            yield people, "is no committed list", "Write it into config/prod.yaml, by a commit that somebody reviews"
    key, uri = ("tracking", "uri"), settings.tracking.uri
    as_it_came = is_this_machine(uri) and origins.get(key, "").startswith("config/")
    if settings.stage is Stage.PROD and (as_it_came or is_placeholder_host(uri)) and uri.startswith("http"):
        yield key, "is a placeholder", "Set KIT_TRACKING__URI, or write prod's MLflow server into config/prod.yaml"


def _is_placeholder(value: object) -> bool:
    if isinstance(value, SecretStr):
        return is_placeholder(value.get_secret_value())
    return isinstance(value, str) and any(map(is_placeholder, passwords_in(value)))


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

    Parameters
    ----------
    settings
        The merged and checked settings.
    origins
        For each dotted key its file or variable: `config/base.yaml`, `KIT_SERVING__PORT`,
        `secrets/KIT_SERVING__API_KEY`, or `default`.
    warnings
        What the stage lets pass, but should be mended.
    committed
        The rules of the gate that the files alone say.
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
