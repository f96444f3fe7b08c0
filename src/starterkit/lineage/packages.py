"""Whether the environment that runs is the one that a lock describes."""

import re
from collections.abc import Mapping
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

from starterkit.tracking.libraries import libraries, types_of

_PIN = re.compile(r"^([\w.-]+)==([^\s;\\]+)\s*(;)?", re.MULTILINE)


def off_lock(lock: Path) -> Mapping[str, str]:
    """The packages of which this environment has another version than the lock, with what it has.

    A pin with a condition may be for another platform or Python, so its package may be missing.
    """
    pins: dict[str, set[str]] = {}
    required = set()
    for name, pin, condition in _PIN.findall(lock.read_text("utf-8")):
        pins.setdefault(_normalise(name), set()).add(pin)
        if not condition:
            required.add(_normalise(name))
    metadata = (found.metadata for found in distributions())  # read once: `found.name` reads it again each time
    installed = {_normalise(one["Name"]): one["Version"] for one in metadata}
    return {
        name: installed.get(name, "not there")
        for name, versions in sorted(pins.items())
        if installed.get(name) not in versions and (name in required or name in installed)
    }


def beside_lock(lock: Path, estimator: Any) -> Mapping[str, str]:
    """The packages of a fitted estimator's parts that the lock does not name, with their versions."""
    pinned = {_normalise(name) for name, _, _ in _PIN.findall(lock.read_text("utf-8"))} if lock.is_file() else set()
    return {name: version(name) for name in libraries(types_of(estimator)) if _normalise(name) not in pinned}


def _normalise(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
