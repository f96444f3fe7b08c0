"""Where the written files go, what may be overwritten, and the moment in which all of them change at once."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from starterkit.entry import project_entry
from starterkit.errors import ProblemError, UserError
from starterkit.lineage.git import git
from starterkit.starting.elsewhere import LAUNCH, TEST_SETTINGS


@dataclass(frozen=True)
class Placing:
    """The project's own files.

    Attributes
    ----------
    root
        The repository's root.
    module, attribute
        What the entry point names: ``example_project`` and ``problem``.
    problem, tests, settings
        The files to write.
    """

    root: Path
    module: str
    attribute: str
    problem: Path
    tests: Path
    settings: Path

    @classmethod
    def of(cls, root: Path) -> "Placing":
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
        tests = root / "tests" / package / "test_problem.py"
        return cls(root, entry.module, entry.attr, home / "problem.py", tests, root / "config" / "base.yaml")

    @property
    def old_tests(self) -> list[Path]:
        """Tests of the earlier problem, which the new one cannot pass."""
        return [path for path in sorted(self.tests.parent.glob("test_*problem.py")) if path != self.tests]

    def shown(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix() if path.is_relative_to(self.root) else str(path)

    def unsaved(self) -> list[str]:
        """Which of the files are not as git's last commit has them. All that are there, where there is no git."""
        named = (self.root / path for path in (TEST_SETTINGS, LAUNCH))
        there = [path for path in (self.problem, self.tests, self.settings, *named, *self.old_tests) if path.exists()]
        return [self.shown(path) for path in there if not self._is_committed(path)]

    def _is_committed(self, path: Path) -> bool:
        tracked = git(self.root, "ls-files", "--error-unmatch", "--", str(path)) is not None
        return tracked and git(self.root, "status", "--porcelain", "--", str(path)) == ""

    @property
    def is_template(self) -> bool:
        """Whether the kit's own tests are here. They need the example, and a project of the template has none."""
        return (self.root / "tests" / "starterkit").is_dir()

    def data_file(self, given: Path, name: str) -> Path:
        """Where the data will be: it stays in data/ if it is there, under its own name if the settings can carry it."""
        data = (self.root / "data").resolve()
        if given.resolve().is_relative_to(data) and ":" not in str(given):
            return self.root / "data" / given.resolve().relative_to(data)
        return self.root / "data" / f"{name}{given.suffix}"


def refuse_unsaved(placing: Placing) -> None:
    """
    Raises
    ------
    UserError
        A file that would be overwritten is in no commit.
    """
    unsaved = placing.unsaved()
    if unsaved:
        what = f"{', '.join(unsaved)} {'is' if len(unsaved) == 1 else 'are'} not committed and would be overwritten"
        raise UserError(what, "Commit first, or add --force, which keeps the earlier files as <name>.before")
