"""A repository as VS Code reads it: launch.json, tasks.json, and what their variables stand for."""

import json
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dotenv import dotenv_values

Json = dict[str, Any]


class Unknown(Exception):
    """A file of the editor's names something that is not there."""


class Workspace:
    """What is in .vscode of the folder that is open, with variables replaced, some by the file that is open."""

    def __init__(self, root: Path, environ: Mapping[str, str], file: Path) -> None:
        launch = read_json(root / ".vscode" / "launch.json")
        tasks = read_json(root / ".vscode" / "tasks.json")
        self.root, self.environ, self.file = root, environ, file
        self.configurations: dict[str, Json] = {one["name"]: one for one in launch["configurations"]}
        self.compounds: dict[str, Json] = {one["name"]: one for one in launch.get("compounds", [])}
        self.tasks: dict[str, Json] = {one["label"]: one for one in tasks["tasks"]}
        self._inputs: dict[str, Json] = {one["id"]: one for file in (launch, tasks) for one in file.get("inputs", [])}

    def configuration(self, name: str) -> Json:
        """A configuration as it is given to the debugger: variables replaced, the two environments put together."""
        named = dict(_named(name, self.configurations, "configuration"))
        here = {"linux": "linux", "darwin": "osx", "win32": "windows"}[sys.platform]
        systems = {system: named.pop(system, {}) for system in ("linux", "osx", "windows")}
        made: Json = self.replaced(named | systems[here])
        if made["type"] != "debugpy" or made["request"] not in ("launch", "attach"):
            raise Unknown(f"configuration '{name}' has the type {made['type']} and the request {made['request']}")
        if made["request"] == "launch":
            made["env"] = dotenv_values(made.get("envFile", self.root / ".env")) | made.get("env", {})
            made.setdefault("cwd", str(self.root))
            made.setdefault("python", self.chosen)
            # The debugger's own two parts never run with what `python` says.
            made |= {"debugAdapterPython": self.chosen, "debugLauncherPython": self.chosen}
        return made

    def task(self, label: str) -> Json:
        return self.replaced(_named(label, self.tasks, "task"))

    @property
    def chosen(self) -> str:
        """The interpreter that the Python extension chooses where nobody has: an environment in the folder, else any.

        It looks for them two levels deep, and takes the newest Python and then the first by name.
        """
        found = environments(self.root)
        if not found:
            return shutil.which("python3", path=self.environ["PATH"]) or "python3"
        first = min(found, key=lambda folder: ([-part for part in _version(folder)], folder.name))
        return str(first / "bin" / "python")

    def replaced(self, value: Any) -> Any:
        """The value with what its variables stand for; an unknown one, or an unknown input, is `Unknown`."""
        if isinstance(value, dict):
            return {key: self.replaced(inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [self.replaced(inner) for inner in value]
        if isinstance(value, str):
            return re.sub(r"\$\{([^}]*)\}", lambda match: self._meaning(match[1]), value)
        return value

    def _meaning(self, variable: str) -> str:
        kind, _, name = variable.partition(":")
        if kind == "env" and name:
            return self.environ.get(name, "")
        if kind == "input":
            return self._answer(_named(name, self._inputs, "input"))
        known = {"workspaceFolder": self.root, "file": self.file, "relativeFile": self.file.relative_to(self.root)}
        return str(_named(variable, known, "variable"))

    def _answer(self, asked: Json) -> str:
        """What a person answers who only presses Enter."""
        if asked["type"] == "pickString":
            chosen = asked.get("default", asked["options"][0])
            if chosen not in asked["options"]:
                raise Unknown(f"input '{asked['id']}' has the default {chosen}, which is none of its options")
            return chosen
        if asked["type"] == "promptString" and asked.get("default"):
            return asked["default"]
        raise Unknown(f"input '{asked['id']}' has no answer that a test could give: give it a default")


def _named(name: str, those: Mapping[str, Any], kind: str) -> Any:
    if name not in those:
        raise Unknown(f"there is no {kind} '{name}'; there are {', '.join(those)}")
    return those[name]


def environments(root: Path) -> list[Path]:
    """The environments of Python's that an editor finds in a folder."""
    depths = ("pyvenv.cfg", "*/pyvenv.cfg", "*/*/pyvenv.cfg")
    return [path.parent for depth in depths for path in root.glob(depth)]


def _version(environment: Path) -> list[int]:
    said = re.search(r"^version(?:_info)? *= *([0-9.]+)", (environment / "pyvenv.cfg").read_text("utf-8"), re.MULTILINE)
    return [int(part) for part in said[1].split(".")] if said else []


def read_json(path: Path) -> Json:
    """Read the strict part of what VS Code forgives: comments stand on lines of their own, no trailing comma."""
    return json.loads(re.sub(r"^\s*//.*$", "", path.read_text("utf-8"), flags=re.MULTILINE))
