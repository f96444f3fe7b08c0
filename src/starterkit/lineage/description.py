"""What is written down about a training, so that it can be traced and done again."""

import platform
import re
from collections.abc import Mapping
from typing import Any

from starterkit.contract import Lineage
from starterkit.data import Dataset
from starterkit.lineage.packages import off_lock
from starterkit.lineage.provenance import LOCK, lock_digest, machine, working_tree
from starterkit.settings import Settings

HIDDEN = "hidden"
_SECRET = re.compile("password|token|secret|key", re.IGNORECASE)


def describe(settings: Settings, run: str, dataset: Dataset, parameters: Mapping[str, Any]) -> Lineage:
    """The lineage of a training that begins now."""
    tree, lock = working_tree(settings.root), settings.root / LOCK
    return Lineage(
        stage=settings.stage,
        run=run,
        commit=tree.commit,
        dirty=tree.dirty,
        changed_files=tree.changed,
        lock_digest=lock_digest(settings.root),
        off_lock=off_lock(lock) if lock.is_file() else {},
        data_source=dataset.source,
        data_digest=dataset.digest,
        holdout_digest=dataset.holdout.digest,
        rows=len(dataset),
        parameters=plain(parameters),
        python=platform.python_version(),
        machine=machine(),
    )


def plain(parameters: Mapping[str, Any]) -> dict[str, bool | int | float | str | None]:
    """Parameters as JSON has them, without what may be a secret.

    What a setting could not say is the code's own, and is shown by its type alone: its text may hold anything.
    """
    return {name: _plain(name, value) for name, value in parameters.items()}


def hidden(parameters: Mapping[str, Any]) -> list[str]:
    """The names of those whose value was not written down."""
    return [name for name, value in parameters.items() if value == HIDDEN and _SECRET.search(name)]


def _plain(name: str, value: Any) -> bool | int | float | str | None:
    if value is not None and not isinstance(value, bool | int | float | str):
        return f"{type(value).__module__}.{type(value).__qualname__}"
    return HIDDEN if value is not None and _SECRET.search(name) else value
