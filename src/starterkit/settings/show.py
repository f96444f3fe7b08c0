"""The settings as plain data for `config show`, with secrets hidden."""

import json
from typing import NamedTuple

from starterkit.settings.layers import leaves, mask
from starterkit.settings.load import Layers, Origin
from starterkit.settings.model import fields, is_secret


class ShownSetting(NamedTuple):
    """One line of `config show`: the dotted key, its value as text, and where it came from."""

    key: str
    value: str
    origin: Origin


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
