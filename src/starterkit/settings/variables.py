"""Environment variables and secret files: one name for both, `KIT_SECTION__KEY`."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, get_origin

from pydantic.fields import FieldInfo
from pydantic_settings import EnvSettingsSource
from pydantic_settings import SettingsError as SourceError

from starterkit.errors import SettingsError
from starterkit.settings.merge import Layer
from starterkit.settings.model import Settings, fields, variables

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
