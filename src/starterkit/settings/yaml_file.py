"""Reading one YAML file, more strictly than PyYAML does."""

import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from starterkit.errors import SettingsError
from starterkit.settings.addresses import has_password
from starterkit.settings.merge import Layer, leaves
from starterkit.settings.model import fields, is_secret, may_stand_in_yaml, variables


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
