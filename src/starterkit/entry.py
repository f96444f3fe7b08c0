"""The entry point by which a project names its `Problem`. Its name is the problem's, read without importing anything.

See docs/decisions/0001-one-folder-is-yours.md.
"""

import json
import tomllib
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from starterkit.errors import ProblemError

GROUP = "starterkit.problem"
UNNAMED = "default"
"""What projects called the entry point while the problem said its own name."""


def project_entry() -> EntryPoint:
    """The one entry point that the installed project declares in pyproject.toml under ``starterkit.problem``.

    Raises
    ------
    ProblemError
        None or several are declared.
    """
    found = [declared for entry in entry_points(group=GROUP) for declared in _as_written(entry)]
    if len(found) != 1:
        names = ", ".join(entry.value for entry in found) or "none"
        hint = f'Declare one in pyproject.toml under [project.entry-points."{GROUP}"] and run `make env`'
        raise ProblemError(f"the kit needs one entry point '{GROUP}' and finds {names}", hint)
    return found[0]


def stated_name() -> str | None:
    """The problem's name, as the entry point states it; None where that is ``default``, and the problem says it."""
    name = project_entry().name
    return None if name == UNNAMED else name


def _as_written(entry: EntryPoint) -> list[EntryPoint]:
    """In an editable installation what pyproject.toml says now, which `make env` may not have installed yet."""
    try:
        origin = json.loads((entry.dist.read_text("direct_url.json") if entry.dist else None) or "{}")
        if not origin.get("dir_info", {}).get("editable"):
            return [entry]
        path = Path(url2pathname(urlsplit(origin["url"]).path), "pyproject.toml")
        written = tomllib.loads(path.read_text("utf-8"))["project"]["entry-points"][GROUP]
    except (OSError, ValueError, KeyError):  # whoever makes the environment will say what is wrong with the file
        return [entry]
    return [EntryPoint(name, value, GROUP) for name, value in written.items()]
