"""A folder with git, and the template's two commands as a user gives them: with git and the standard library alone."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
MACHINERY = "tools/template"
# The longest name there may be, too, whose place among the imports is behind the kit's.
COMBINATIONS = {
    "all parts": ("churn", ""),
    "no containers": ("zebra_crossings_where_somebody_has_to_wait"[:40].rstrip("_"), "stack projects image"),
    "no parts": (
        "x",
        "azure devcontainer image inference kserve kubernetes monitoring notebooks projects sagemaker spark stack "
        "vscode workflows",
    ),
}
BEFORE_THE_MOVE = "f86ec0ba267ee189b5d1dc4453bd08e272058b90"
"""The last commit before the kit's rooms were cut anew; tests/fixtures has what it wrote."""
OF_THE_KIT = ("src/starterkit/registry/lock.py", "_TRIES = 20\n", "_TRIES = 25\n")
"""A file of it, a line there, and what somebody makes of that line."""
OF_THIS_RUN = ("ARGS", "KIT_", "VENV", "VIRTUAL_ENV", "MAKE")
ENVIRON = {name: value for name, value in os.environ.items() if not name.startswith(OF_THIS_RUN)}
OLD_NAMES = "example_project|mlflow-starter-kit|mlflow (sdk )?starter kit"


@dataclass(frozen=True)
class Told:
    code: int
    said: str

    def require_refusal(self, *words: str) -> None:
        """One line with these words, and the exit code of a mistake."""
        assert (self.code, self.said.count("\n")) == (2, 1), self.said
        assert [one for one in words if one not in self.said] == []


class Folder:
    def __init__(self, root: Path) -> None:
        self.root = root

    def run(self, *command: object) -> Told:
        words = [str(word) for word in command]
        answer = subprocess.run(words, cwd=self.root, capture_output=True, text=True, errors="surrogateescape")
        return Told(answer.returncode, answer.stdout + answer.stderr)

    def git(self, *words: str) -> str:
        told = self.run("git", *words)
        assert told.code == 0, told.said
        return told.said.removesuffix("\n")

    def new(self, name: str, dest: object = "", without: str = "") -> Told:
        return self.run(sys.executable, "-S", f"{MACHINERY}/new.py", name, dest, without)

    def update(self, *words: object) -> Told:
        return self.run(sys.executable, "-S", f"{MACHINERY}/update.py", *words)

    def make(self, *words: str, **environ: str) -> str:
        """A target that has to go well, as a person gives it: outside of any environment."""
        return self.call("make", *words, "PYTHON=python3", **environ)

    def call(self, *command: str, **environ: str) -> str:
        both = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        done = subprocess.run(command, cwd=self.root, env=ENVIRON | environ, text=True, **both)
        assert done.returncode == 0, done.stdout
        return done.stdout

    def copy(self, combination: str, place: Path) -> "Folder":
        """One of the three, made by `make new` with no environment to help it."""
        name, without = COMBINATIONS[combination]
        dest = os.path.relpath(place, self.root)  # as somebody says it who stands in the template
        self.make("new", f"NAME={name}", f"DEST={dest}", f"WITHOUT={without}")
        return Folder(place)

    def read(self, path: str) -> str:
        return (self.root / path).read_bytes().decode("utf-8", "surrogateescape")

    def write(self, path: str, content: str | bytes) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(content if isinstance(content, bytes) else content.encode())

    def edit(self, path: str, old: str, new: str) -> None:
        text = self.read(path)
        assert text.count(old) == 1, (path, old)
        self.write(path, text.replace(old, new))

    def commit(self, message: str = "More") -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    @property
    def files(self) -> list[str]:
        return self.git("-c", "core.quotePath=false", "ls-files").splitlines()

    @property
    def changes(self) -> str:
        return self.git("status", "--porcelain")
