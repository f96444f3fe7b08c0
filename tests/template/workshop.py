"""A folder with git, and the template's two commands as a user gives them: with git and the standard library alone."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
MACHINERY = "tools/template"
OLD_NAMES = "example_project|mlflow-starter-kit|mlflow (sdk )?starter kit"


@dataclass(frozen=True)
class Told:
    code: int
    said: str


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
