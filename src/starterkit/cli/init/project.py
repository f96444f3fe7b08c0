"""The project's own files: where they are, which of them nobody committed, and the moment in which all change."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

import yaml

from starterkit.errors import ProblemError, UserError
from starterkit.files import write_together
from starterkit.machine import project_entry
from starterkit.release.lineage.provenance import git

# --- Where the files are.


@dataclass(frozen=True)
class Project:
    """A project, as this command finds and changes it.

    Attributes
    ----------
    root
        The repository's root.
    entry
        What names its problem: ``diabetes = "example_project:problem"``.
    home
        The package's folder.
    """

    root: Path
    entry: EntryPoint
    home: Path

    @classmethod
    def of(cls, root: Path) -> "Project":
        """
        Raises
        ------
        ProblemError
            The project's package is not in this repository, or has no `problem.py` that its entry point names.
        """
        entry = project_entry()
        package = entry.module.partition(".")[0]
        found = find_spec(package)
        home = Path(found.origin).parent if found and found.origin else None
        if home is None or not home.resolve().is_relative_to(root.resolve()):
            what = f"the package '{package}' that is installed here is not in this repository"
            raise ProblemError(what, "Run `make env` in it, and give the command there")
        if entry.module not in (package, f"{package}.problem") or entry.attr != "problem":
            what = f"the entry point names {entry.value}, and this command writes {package}/problem.py"
            raise ProblemError(what, f"Let it name {package}:problem")
        return cls(root, entry, home)

    @property
    def problem(self) -> Path:
        return self.home / "problem.py"

    @property
    def tests(self) -> Path:
        return self.root / "tests" / self.home.name / "test_problem.py"

    @property
    def settings(self) -> Path:
        return self.root / "config" / "base.yaml"

    @property
    def old_tests(self) -> list[Path]:
        """Tests of the earlier problem, which the new one cannot pass."""
        return [path for path in sorted(self.tests.parent.glob("test_*problem.py")) if path != self.tests]

    @property
    def source(self) -> str:
        """Where config/base.yaml says that the data is; nothing where it says none, or cannot be read."""
        try:
            source = yaml.safe_load(self.settings.read_text("utf-8"))["data"]["source"]
        except (yaml.YAMLError, KeyError, TypeError):
            return ""
        return source if isinstance(source, str) else ""

    @property
    def is_template(self) -> bool:
        """Whether the kit's own tests are here. They need the example, and a project of the template has none."""
        return (self.root / "tests" / "starterkit").is_dir()

    def shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def data_file(self, given: Path, name: str) -> Path:
        """Where the data will be: it stays in data/ if it is there, under its own name if the settings can carry it."""
        data = (self.root / "data").resolve()
        if given.resolve().is_relative_to(data) and ":" not in str(given):
            return self.root / "data" / given.resolve().relative_to(data)
        if given.is_dir():
            raise UserError(f"the folder '{given}' is not below data/", "Move it there first")
        packed = given.suffix.lower() == ".gz"
        return self.root / "data" / f"{name}{''.join(given.suffixes[-2:]) if packed else given.suffix}"

    def named_anew(self, name: str, source: str) -> dict[Path, bytes]:
        """The other files that say the problem's name or where its data is, as they will be.

        What somebody wrote there that names other data stays to the letter.
        """
        earlier = json.dumps(self.source or name, ensure_ascii=False)
        changes = {
            "pyproject.toml": lambda text: re.sub(
                rf"(?m)^[\"']?[\w-]+[\"']?(?= *= *[\"']{re.escape(self.entry.value)}[\"'])", name, text
            ),
            "config/test.yaml": lambda text: re.sub(
                r"(?m)^( +source: +)data/test/[\w.-]+\.parquet(?=\s|$)", rf"\1data/test/{name}.parquet", text
            ),
            Path(".vscode", "launch.json"): lambda text: text.replace(earlier, json.dumps(source, ensure_ascii=False)),
        }
        changed = {}
        for path, change in changes.items():
            text = (self.root / path).read_bytes().decode("utf-8") if (self.root / path).is_file() else ""
            if (new := change(text)) != text:
                changed[self.root / path] = new.encode()
        return changed

    def unsaved(self, paths: Sequence[Path]) -> list[Path]:
        """Which of the files are not as git's last commit has them. All that are there, where there is no git."""
        return [path for path in paths if path.exists() and not self._is_committed(path)]

    def _is_committed(self, path: Path) -> bool:
        tracked = git(self.root, "ls-files", "--error-unmatch", "--", str(path)) is not None
        return tracked and git(self.root, "status", "--porcelain", "--", str(path)) == ""

    def refuse(self, unsaved: Sequence[Path]) -> None:
        """
        Raises
        ------
        UserError
            There is a file that would be overwritten and is in no commit.
        """
        if unsaved:
            said, are = ", ".join(map(self.shown, unsaved)), "is" if len(unsaved) == 1 else "are"
            what = f"{said} {are} not committed and would be overwritten"
            raise UserError(what, "Commit first, or add --force, which keeps the earlier files as <name>.before")


def replace_all(written: Mapping[Path, bytes | Path], removed: Sequence[Path], kept: Sequence[Path]) -> None:
    """Write all files and remove others, or leave everything as it was: `write_together` says what that promises.

    Parameters
    ----------
    written
        By path, the content, or a file to copy.
    removed
        Files that go.
    kept
        Files whose earlier content stays beside them as ``<name>.before``.
    """
    write_together(
        {**written, **{path.with_name(f"{path.name}.before"): path for path in kept if path.exists()}}, removed
    )
