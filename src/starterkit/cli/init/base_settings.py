"""config/base.yaml with another source, other parameters and limits: line by line, so that its comments stay."""

import json
import re
from collections.abc import Mapping, Sequence

import yaml

from starterkit.contract import Scalar
from starterkit.errors import SettingsError
from starterkit.settings import DataSettings

Limits = Mapping[str, tuple[str, float]]
"""By metric, whether the figure is a ``min`` or a ``max``, and the figure."""


def with_problem(text: str, source: str, parameters: Mapping[str, Scalar], limits: Limits) -> str:
    """The file's text with ``data.source``, ``training.params`` and ``gate.limits`` of a new problem.

    Raises
    ------
    SettingsError
        The file is written in another way than line by line.
    """
    lines = text.splitlines()
    plain = re.fullmatch(r"[\w./-]+", source) is not None
    lines = _set(lines, "data", "source", [f"  source: {source if plain else json.dumps(source, ensure_ascii=False)}"])
    params = [f"    {name}: {json.dumps(value)}" for name, value in parameters.items()]
    lines = _set(lines, "training", "params", ["  params:", *params])
    bounds = [
        line for name, (word, figure) in limits.items() for line in (f"    {name}:", f"      {word}: {figure:.12g}")
    ]
    written = "\n".join(_set(lines, "gate", "limits", ["  limits:" if bounds else "  limits: {}", *bounds])) + "\n"
    _require_settings(written, source, parameters, list(limits))
    return written


def _require_settings(text: str, source: str, parameters: Mapping[str, Scalar], limited: list[str]) -> None:
    """See that the text says it: a file may have a key and its values on one line, or name a database's query."""
    try:
        values = yaml.safe_load(text)
        data = DataSettings.model_validate(values["data"])
        said = data.source, values["training"]["params"], list(values["gate"]["limits"])
    except (yaml.YAMLError, ValueError, KeyError, TypeError):
        said = None
    if said != (source, dict(parameters), limited):
        what = "config/base.yaml is written in a way that cannot be changed line by line"
        raise SettingsError(what, "Write it as the template does, a key a line, and take out a database's query")


def _set(lines: Sequence[str], section: str, key: str, block: list[str]) -> list[str]:
    """`block` in the place of the key and all below it. The comment behind the key stays, if there was one."""
    start = next((place for place, line in enumerate(lines) if re.match(rf"{section}:", line)), None)
    if start is None:
        return [*lines, "", f"{section}:", *block]
    end = _end(lines, start, 0)
    children = [line for line in lines[start + 1 : end] if line.strip() and not line.lstrip().startswith("#")]
    pad = " " * (len(children[0]) - len(children[0].lstrip())) if children else "  "
    block = [pad + line[2:] for line in block]
    at = next((place for place in range(start + 1, end) if re.match(rf"\s+{key}:", lines[place])), None)
    if at is None:
        return [*lines[: start + 1], *block, *lines[start + 1 :]]
    first = block[0] + _comment_of(lines[at])
    depth = len(lines[at]) - len(lines[at].lstrip())
    return [*lines[:at], first, *block[1:], *lines[_end(lines, at, depth) :]]


def _end(lines: Sequence[str], start: int, depth: int) -> int:
    """The first line after `start` that is no deeper; blank lines and comments before it are not part of the block."""
    last = start
    for place in range(start + 1, len(lines)):
        text = lines[place].strip()
        if text and not text.startswith("#"):
            if len(lines[place]) - len(lines[place].lstrip()) <= depth:
                break
            last = place
    return last + 1


def _comment_of(line: str) -> str:
    found = re.search(r"\s#.*$", line)
    return found[0] if found else ""
