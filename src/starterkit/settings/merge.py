"""Laying one layer over another, and remembering which layer each value came from."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from starterkit.settings.model import Key


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
