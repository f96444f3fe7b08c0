"""The layers of the settings: YAML files, variables and secret files, laid over each other with their origins."""

import json
import re
from collections.abc import Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_origin

import yaml
from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource
from pydantic_settings import SettingsError as SourceError

from starterkit.errors import SettingsError
from starterkit.settings.model import Key, Settings, fields, is_secret, may_stand_in_yaml, variables

# --- Laying one layer over another, and remembering which layer each value came from.


@dataclass(frozen=True)
class Layer:
    """One file's or one variable's say.

    Parameters
    ----------
    origin
        The name to show: `config/dev.yaml`, `KIT_SERVING__PORT`.
    values
        What it says, as nested mappings. Not in the representation, because it can hold a secret.
    """

    origin: str
    values: Mapping[str, object] = field(repr=False)


def merge(layers: Iterable[Layer]) -> tuple[dict[str, object], dict[Key, str]]:
    """Merge layers, lowest first: mappings key by key, anything else as a whole.

    Returns
    -------
    values
        The merged values.
    origins
        The last layer that said something about each key, for mappings too.
    """
    values: dict[str, object] = {}
    origins: dict[Key, str] = {}
    for layer in layers:
        _lay_over(values, layer.values, layer.origin, origins, ())
    return values, origins


def _lay_over(
    lower: dict[str, object], upper: Mapping[str, object], origin: str, origins: dict[Key, str], above: Key
) -> None:
    for name, value in upper.items():
        key = (*above, name)
        below = lower.get(name)
        both_are_mappings = isinstance(below, dict) and isinstance(value, Mapping)
        if not both_are_mappings:
            for replaced in [other for other in origins if other[: len(key)] == key]:
                del origins[replaced]
            below = lower[name] = {} if isinstance(value, Mapping) else value
        origins[key] = origin
        if isinstance(below, dict) and isinstance(value, Mapping):
            _lay_over(below, value, origin, origins, key)


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


def has_password(text: str) -> bool:
    """Tell whether an address carries a password: `://user:password@host` or `?password=…`."""
    return bool(_USER_AND_PASSWORD.search(text) or _PARAMETER.search(text))


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


def read_yaml(root: Path, name: str) -> Layer:
    """Read a YAML file as a layer. An empty file says nothing and is fine.

    Parameters
    ----------
    root
        The repository's root.
    name
        The file, relative to the root. Messages show this and never the root.
    """
    try:
        values = yaml.load((root / name).read_text(encoding="utf-8"), Loader=_StrictLoader)  # noqa: S506  # a SafeLoader
    except FileNotFoundError:
        raise SettingsError(f"{name} is missing", "Bring it back, or write it like another stage's") from None
    except OSError as error:
        raise SettingsError(f"{name} cannot be read: {error.strerror}", "Make it a file that you may read") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{name} is not UTF-8 text", "Save it as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "holds a character that YAML does not allow"
        raise SettingsError(f"{name}{where}: {problem}", "Correct the YAML there") from None
    except RecursionError:
        raise SettingsError(f"{name}: is nested too deeply", "Write it like config/base.yaml") from None
    except ValueError:
        raise SettingsError(f"{name}: holds a date or number that does not exist", "Put it in quotes") from None
    if not isinstance(values, dict | None):
        raise SettingsError(f"{name}: should hold keys and values at its top", "Write it like config/base.yaml")
    return Layer(name, values or {})


def refusals(layer: Layer) -> list[SettingsError]:
    """List what no YAML file may say, whatever another layer makes of it: the stage, secrets, passwords."""
    found: list[SettingsError] = []
    names = {key: name for name, key in variables().items()}
    known = fields()
    for key, value in leaves(layer.values):
        field = known.get(key[:2]) or known.get(key[:1])
        dotted = ".".join(key)
        if field and not may_stand_in_yaml(field):
            variable = names.get(key, "")
            mend = f"Remove it and set {variable}" if variable else "Remove it"
            mend += f", or write it to the file secrets/{variable}" if is_secret(field) and variable else ""
            found.append(SettingsError(f"{layer.origin}: {dotted} may not be set in YAML", mend))
        elif isinstance(value, str) and has_password(value):
            what = f"{layer.origin}: {dotted} holds a password, and secrets never come from YAML"
            found.append(SettingsError(what, "Take the password out and give it as an environment variable"))
    return found


# --- Environment variables and secret files: one name for both, `KIT_SECTION__KEY`.

# Lowest first. The second is where Docker and Kubernetes put secrets.
SECRET_FOLDERS = ("secrets", "/run/secrets")


@dataclass(frozen=True)
class Variable:
    """A name and a text, from the environment or from a secret file. The text is kept out of the representation."""

    name: str
    text: str = field(repr=False)
    origin: str


def read_environment(environ: Mapping[str, str]) -> list[Variable]:
    """Take the kit's variables out of the environment, in the order of their names."""
    return [Variable(name, environ[name], name) for name in sorted(environ) if _is_ours(name)]


def read_secret_folder(root: Path, folder: str) -> list[Variable]:
    """Read the kit's files in a folder of secrets. A file has a variable's name and holds its text.

    Raises
    ------
    SettingsError
        The folder or a file cannot be read, or is not UTF-8 text.
    """
    place = root / folder
    try:
        files = sorted(place.iterdir()) if place.is_dir() else []
    except OSError as error:
        raise SettingsError(
            f"{folder} cannot be read: {error.strerror}", "Make it a folder that you may read"
        ) from None
    return [_read_secret_file(file, f"{folder}/{file.name}") for file in files if _is_ours(file.name)]


def _read_secret_file(file: Path, origin: str) -> Variable:
    if file.name == "KIT_STAGE":
        raise SettingsError(f"{origin}: the stage comes from the environment alone", "Remove this file")
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{origin} cannot be read", "Make it a UTF-8 file that you may read") from None
    return Variable(file.name, text.removesuffix("\n"), origin)


def unknown_names(given: Iterable[Variable]) -> list[SettingsError]:
    """List the variables that set nothing."""
    known = variables()
    found: list[SettingsError] = []
    for variable in given:
        if variable.name in known:
            continue
        # All names of a section look alike, so only a slip of the pen counts as close.
        close = get_close_matches(variable.name.upper(), known, n=1, cutoff=0.85)
        hint = f" (did you mean {close[0]}?)" if close else ""
        section = variable.name.upper().partition("__")[0] + "__"
        sections = dict.fromkeys(name.partition("__")[0] + "__…" if "__" in name else name for name in known)
        allowed = [name for name in known if name.startswith(section)] or sections
        mend = f"Remove or rename it; allowed are {', '.join(allowed)}"
        found.append(SettingsError(f"{variable.origin}: no setting has this name{hint}", mend))
    return found


def as_layers(given: Iterable[Variable]) -> list[Layer]:
    """Turn each known variable into a layer of its own, so that its name is the origin of what it sets."""
    known = variables()
    return [Layer(variable.origin, _values(variable)) for variable in given if variable.name in known]


class _OneVariable(EnvSettingsSource):
    """pydantic-settings' reader of the environment, shown a single variable."""

    def __init__(self, variable: Variable) -> None:
        super().__init__(Settings)
        self.env_vars = {variable.name.lower(): variable.text}

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        return json.loads(value, object_pairs_hook=_without_duplicates)


def _values(variable: Variable) -> dict[str, Any]:
    try:
        return _OneVariable(variable)()
    except (SourceError, RecursionError):  # the second at thousands of brackets
        key = variables()[variable.name]
        kind = "list" if get_origin(fields()[key].annotation) is tuple else "object without duplicate keys"
        what = f"{variable.origin}: {'.'.join(key)} should be a JSON {kind}"
        raise SettingsError(what, f"It takes: {fields()[key].description}") from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise ValueError("a key is given twice")
    return values


def _is_ours(name: str) -> bool:
    # In any case: `kit_serving__port` would otherwise set nothing, and say nothing.
    return name.upper().startswith("KIT_")
