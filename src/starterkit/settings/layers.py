"""The settings as a whole, and their layers: YAML files, secret files and the environment, with their origins."""

import json
import re
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import yaml
from pydantic import BaseModel, Field, SecretStr
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict

from starterkit.errors import SettingsError, meant
from starterkit.settings.privacy import FeedbackSettings, MonitoringSettings, PrivacySettings
from starterkit.settings.sections import (
    DataSettings,
    ExportSettings,
    GateSettings,
    LoadSettings,
    NotInYaml,
    PromotionSettings,
    ServingSettings,
    Stage,
    TrackingSettings,
    TrainingSettings,
)

# --- The settings as a whole, and what the model knows about its own fields.

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
    feedback: FeedbackSettings = Field(default_factory=FeedbackSettings)
    monitoring: MonitoringSettings = Field(default_factory=MonitoringSettings)
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
    for name, own in Settings.model_fields.items():
        section = model_at((name,))
        found |= {(name, inner): info for inner, info in section.model_fields.items()} if section else {(name,): own}
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


# --- Laying one layer over another, and remembering which layer each value came from.


@dataclass(frozen=True)
class Layer:
    """The say of one file, of one folder of secret files, or of the environment.

    `origin` names where a key was said: `config/dev.yaml`, `secrets/KIT_SERVING__API_KEY`, `KIT_SERVING__PORT`.
    `problems` is what it says and may not, whatever another layer makes of it.
    """

    origin: Callable[[Key], str]
    values: Mapping[str, object] = field(repr=False)  # it can hold a secret
    problems: tuple[SettingsError, ...] = ()


def merge(layers: Iterable[Layer]) -> tuple[dict[str, object], dict[Key, str]]:
    """Merge layers, lowest first: mappings key by key, anything else as a whole.

    Beside the values comes for each key, of mappings too, the last file or variable that said something about it.
    """
    values: dict[str, object] = {}
    origins: dict[Key, str] = {}
    for layer in layers:
        values = _deep_update(values, layer.values)
        for key, value in leaves(layer.values):
            if not isinstance(value, Mapping):  # what was said below it is gone
                origins = {other: said for other, said in origins.items() if other[: len(key)] != key}
            origins |= {key[:length]: layer.origin(key) for length in range(1, len(key) + 1)}
    return values, origins


def _deep_update(lower: Mapping[str, object], upper: Mapping[str, object]) -> dict[str, object]:
    merged = dict(lower)
    for name, value in upper.items():
        below = merged.get(name)
        if isinstance(value, Mapping):
            value = _deep_update(below if isinstance(below, Mapping) else {}, value)
        merged[name] = value
    return merged


def leaves(values: Mapping[str, object], above: Key = ()) -> Iterator[tuple[Key, object]]:
    """Walk over every value that is not itself a mapping with something in it."""
    for name, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*above, name))
        else:
            yield (*above, name), value


# --- Passwords inside addresses: found, so that YAML cannot hold one, and masked, so that none is shown.

# Up to the last `@`, because a password may hold one that nobody escaped.
_USER_AND_PASSWORD = re.compile(r"(://[^:/@\s]*:)(.+)(@)")
_PARAMETER = re.compile(r"([?&;](?:password|passwd|pwd|token)=)([^&;]+)", re.IGNORECASE)


def passwords_in(text: str) -> list[str]:
    """The passwords in an address: `://user:password@host`, `?password=…`."""
    return [found[2] for pattern in (_USER_AND_PASSWORD, _PARAMETER) for found in pattern.finditer(text)]


def mask(text: str) -> str:
    """Replace the passwords in an address."""
    return _PARAMETER.sub(r"\1***", _USER_AND_PASSWORD.sub(r"\1***\3", text))


# --- Reading one YAML file, more strictly than PyYAML does.


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader without duplicate keys, keys that are not text, and aliases (which can be circular)."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "an alias is not allowed", self.peek_event().start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for name, _ in node.value:
            if name.tag != "tag:yaml.org,2002:str":
                problem = "a key should be text (put it in quotes)"
                raise yaml.constructor.ConstructorError(None, None, problem, name.start_mark)
            if name.value in seen:
                problem = f"the key {name.value} is given twice"
                raise yaml.constructor.ConstructorError(None, None, problem, name.start_mark)
            seen.add(name.value)
        return super().construct_mapping(node, deep)


# PyYAML reads 1e-3 as text, because YAML 1.1 wants 1.0e-3. VS Code and everyone else read a number.
_StrictLoader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def read_yaml(root: Path, name: str, text: str | None = None) -> Layer:
    """Read a YAML file as a layer, or what it says in another commit. An empty file says nothing and is fine.

    Messages show its `name`, and never the root.
    """
    try:
        text = (root / name).read_text(encoding="utf-8") if text is None else text
        values = yaml.load(text, Loader=_StrictLoader)  # noqa: S506  # a SafeLoader
    except FileNotFoundError:
        raise SettingsError(f"{name} is missing", "Bring it back, or write it like another stage's") from None
    except OSError as error:
        raise SettingsError(f"{name} cannot be read: {error.strerror}", "Make it a file that you may read") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{name} is not UTF-8 text", "Save it as UTF-8") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:  # ValueError: a date that does not exist
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "holds something that YAML does not allow"
        raise SettingsError(f"{name}{where}: {problem}", "Correct the YAML there") from None
    if not isinstance(values, dict | None):
        like = "Begin it with `data:`" if name == "config/base.yaml" else "Write it like config/base.yaml"
        raise SettingsError(f"{name}: should hold keys and values at its top", like)
    problems = [problem for key, value in leaves(values or {}) for problem in _not_in_yaml(name, key, value)]
    return Layer(lambda _: name, values or {}, tuple(problems))


def _not_in_yaml(name: str, key: Key, value: object) -> Iterator[SettingsError]:
    """What no YAML file may say: the stage, secrets, passwords."""
    known, dotted = fields(), ".".join(key)
    setting = known.get(key[:2]) or known.get(key[:1])
    if setting and not may_stand_in_yaml(setting):
        variable = variable_of(key)
        hint = f"Remove it and set {variable}" if variable in variables() else "Remove it"
        hint += f", or write it to the file secrets/{variable}" if is_secret(setting) else ""
        yield SettingsError(f"{name}: {dotted} may not be set in YAML", hint)
    elif isinstance(value, str) and passwords_in(value):
        what = f"{name}: {dotted} holds a password, and secrets never come from YAML"
        yield SettingsError(what, "Take the password out and give it as an environment variable")


# --- Environment variables and secret files: one name for both, `KIT_SECTION__KEY`.

# Lowest first. The second is where Docker and Kubernetes put secrets.
SECRET_FOLDERS = ("secrets", "/run/secrets")


def read_environment(environ: Mapping[str, str], folder: str = "") -> Layer:
    """Read the kit's variables as a layer; with `folder`, they are the secret files in it.

    Raises
    ------
    SettingsError
        A variable should hold JSON, and does not.
    """
    ours = [name for name in sorted(environ) if _is_ours(name)]
    known = variables()
    if folder:
        del known["KIT_STAGE"]  # the stage comes from the environment alone
    problems = tuple(_unknown_name(name, folder, known) for name in ours if name not in known)
    values = _Texts({name: environ[name] for name in ours if name in known}, folder)()
    return Layer(lambda key: folder + variable_of(key), values, problems)


def read_secrets(root: Path, name: str) -> Layer:
    """Read the kit's files in a folder of secrets as a layer. A file has a variable's name and holds its text.

    Raises
    ------
    SettingsError
        The folder or a file cannot be read, or is not UTF-8 text.
    """
    folder, texts, reading = root / name, {}, name
    try:
        for file in sorted(folder.iterdir()) if folder.is_dir() else []:
            if _is_ours(file.name):
                reading = f"{name}/{file.name}"
                texts[file.name] = file.read_text(encoding="utf-8").removesuffix("\n")
    except (OSError, UnicodeDecodeError):
        kind = "folder" if reading == name else "UTF-8 file"
        raise SettingsError(f"{reading} cannot be read", f"Make it a {kind} that you may read") from None
    return read_environment(texts, f"{name}/")


def _is_ours(name: str) -> bool:
    # In any case: `kit_serving__port` would otherwise set nothing, and say nothing.
    return name.upper().startswith("KIT_")


def _unknown_name(name: str, folder: str, known: Iterable[str]) -> SettingsError:
    # All names of a section look alike, so only a slip of the pen counts as close.
    near = meant(name.upper(), known, cutoff=0.85)
    section = name.upper().partition("__")[0] + "__"
    sections = dict.fromkeys(one.partition("__")[0] + "__…" if "__" in one else one for one in known)
    allowed = [one for one in known if one.startswith(section)] or sections
    hint = f"Remove or rename it; allowed are {', '.join(allowed)}"
    return SettingsError(f"{folder}{name}: no setting has this name{near}", hint)


class _Texts(EnvSettingsSource):
    """pydantic-settings' reader of the environment, given the texts, and with a name for what is no JSON."""

    def __init__(self, texts: Mapping[str, str], folder: str) -> None:
        super().__init__(Settings)
        self.env_vars = {name.lower(): text for name, text in texts.items()}
        self._folder = folder

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        try:
            return json.loads(value, object_pairs_hook=_without_duplicates)
        except (ValueError, RecursionError):
            key = next(key for key, known in fields().items() if known is field)
            kind = "list" if get_origin(field.annotation) is tuple else "object without duplicate keys"
            what = f"{self._folder}{variable_of(key)}: {'.'.join(key)} should be a JSON {kind}"
            raise SettingsError(what, f"It takes: {field.description}") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is given twice")
    return values
