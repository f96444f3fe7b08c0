"""`ProblemStarter`: looks at a file, drafts a problem, tries it, and only then writes the project's files."""

import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from filecmp import cmp
from importlib.util import find_spec
from pathlib import Path

import yaml

from starterkit.cli.init import trial
from starterkit.cli.init.base_settings import with_problem
from starterkit.cli.init.code import parameters, problem_source, source_of_tests
from starterkit.cli.init.decisions import plan_for
from starterkit.cli.init.draft import Plan, Undecided, review
from starterkit.cli.init.profile import problem_name
from starterkit.cli.init.table import read_table
from starterkit.contract import Task
from starterkit.entry import project_entry
from starterkit.errors import DataError, ProblemError, UserError
from starterkit.progress import Progress, step
from starterkit.release.lineage.provenance import git
from starterkit.settings import GateSettings

# --- Where else a project names its data: stage test's settings, and the file that F5 offers to score.

TEST_SETTINGS = Path("config", "test.yaml")
LAUNCH = Path(".vscode", "launch.json")


def earlier_source(base: str) -> str:
    """What config/base.yaml says before it changes; nothing where it says none, or cannot be read."""
    try:
        source = yaml.safe_load(base)["data"]["source"]
    except (yaml.YAMLError, KeyError, TypeError):
        return ""
    return source if isinstance(source, str) else ""


def named_anew(root: Path, earlier: str, source: str, problem: str) -> Mapping[Path, bytes]:
    """The files that change with the data. What somebody wrote there that names other data stays to the letter."""
    made = {
        TEST_SETTINGS: lambda text: re.sub(
            r"(?m)^( +source: +)data/test/[\w.-]+\.parquet(?=\s|$)", rf"\g<1>data/test/{problem}.parquet", text
        ),
        LAUNCH: lambda text: text.replace(_quoted(earlier), _quoted(source)) if earlier else text,
    }
    changed = {}
    for path, change in made.items():
        if (root / path).is_file():
            text = (root / path).read_bytes().decode("utf-8")
            if (new := change(text)) != text:
                changed[root / path] = new.encode()
    return changed


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


# --- Where the written files go, what may be overwritten, and the moment in which all of them change at once.


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


# --- Several files change at once, or none does.


def replace_all(written: Mapping[Path, bytes | Path], removed: Sequence[Path], kept: Sequence[Path]) -> None:
    """Write all files, or leave everything as it was: also at a Ctrl-C, or where the disk is full.

    Each file is complete beside its place before the first is moved there.

    Parameters
    ----------
    written
        By path, the content, or a file to copy.
    removed
        Files that go.
    kept
        Files whose earlier content stays beside them as ``<name>.before``.
    """
    mark = secrets.token_hex(4)
    contents = {**written, **{path.with_name(f"{path.name}.before"): path for path in kept if path.exists()}}
    new = {path: path.with_name(f".{path.name}.{mark}.new") for path in contents}
    old = {path: path.with_name(f".{path.name}.{mark}.old") for path in (*contents, *removed) if path.exists()}
    try:
        for path, content in contents.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(content, Path):
                shutil.copyfile(content, new[path])
            else:
                new[path].write_bytes(content)
        for path, backup in old.items():
            shutil.copy2(path, backup)
        _move(new, removed, old)
    finally:
        for path in (*new.values(), *old.values()):
            path.unlink(missing_ok=True)


def _move(new: Mapping[Path, Path], removed: Sequence[Path], old: Mapping[Path, Path]) -> None:
    try:
        for path, ready in new.items():
            os.replace(ready, path)  # noqa: PTH105  # a test lets this one fail
        for path in removed:
            path.unlink()
    except BaseException:
        for path in (*new, *removed):
            if path in old:
                shutil.copy2(old[path], path)
            else:
                path.unlink(missing_ok=True)
        raise


# --- `ProblemStarter`: looks at a file, plans a problem, tries it, and only then writes the project's files.

_LONGEST_NAME = 40


@dataclass(frozen=True)
class Started:
    """What came of it. `review` has a line for each thing that somebody should look at."""

    plan: Plan
    trial: trial.Trial
    written: tuple[str, ...]
    review: tuple[str, ...]


class ProblemStarter:
    """Writes the user's problem from a file.

    Parameters
    ----------
    placing
        Where the files go.
    progress
        Hears of each step.
    """

    def __init__(self, placing: Placing, progress: Progress) -> None:
        self._placing = placing
        self._progress = progress

    def start(self, given: Path, target: str, name: str = "", task: Task | None = None, force: bool = False) -> Started:
        """
        Raises
        ------
        UserError
            The file or the target is of no use, or a file that nobody committed would be overwritten.
        Undecided
            There are things that a person has to decide first.
        """
        if not force:
            refuse_unsaved(self._placing)
        name = _checked(name) if name else _named(given.stem)
        with step(self._progress, "look at the columns") as note:
            frame = read_table(given)
            plan = plan_for(frame, given.name, target, name, task)
            note.text = f"{len(frame)} rows, {len(frame.columns)} columns"
        data = self._placing.data_file(given, plan.name)
        if data.exists() and not cmp(data, given, shallow=False) and not force:
            what = f"{self._placing.shown(data)} is there with other content"
            raise UserError(what, "Add --force, or another --name")
        with step(self._progress, "try the problem"):
            plan, tried = self._tried(plan, given)
        return self._write(plan, tried, given, data, force)

    def _tried(self, plan: Plan, given: Path) -> tuple[Plan, trial.Trial]:
        try:
            with trial.imported(problem_source(plan)) as problem:
                dataset = trial.read(problem, given)
                leaks = trial.leaking(problem, dataset, GateSettings().leak_limit)
                if not leaks:
                    return plan, trial.try_out(problem, dataset)
            plan = plan.without(leaks)
            if not plan.features:
                raise Undecided(given.name, [f"every column that is left gives the target '{plan.target.header}' away"])
            with trial.imported(problem_source(plan)) as problem:
                return plan, trial.try_out(problem, trial.read(problem, given))
        except (DataError, ProblemError) as error:
            raise Undecided(given.name, [f"{error.what}: {error.mend}"]) from error

    def _write(self, plan: Plan, tried: trial.Trial, given: Path, data: Path, force: bool) -> Started:
        placing = self._placing
        source = placing.shown(data)
        depth = len(placing.tests.relative_to(placing.root).parts) - 1
        base = placing.settings.read_text("utf-8")
        earlier = earlier_source(base)
        written: dict[Path, bytes | Path] = {
            placing.problem: problem_source(plan).encode(),
            placing.tests: source_of_tests(plan, placing.module, placing.attribute, source, depth).encode(),
            placing.settings: with_problem(base, source, parameters(plan), tried.limits).encode(),
            **named_anew(placing.root, earlier, source, plan.name),
        }
        if given.resolve() != data.resolve():
            written[data] = given
        unsaved = set(placing.unsaved()) if force else set()
        removed = placing.old_tests
        kept = [path for path in (*written, *removed) if placing.shown(path) in unsaved]
        replace_all(written, removed, kept)
        changed = [placing.shown(path) for path in written] + [f"{placing.shown(path)} (removed)" for path in removed]
        still = earlier if earlier != source and (placing.root / earlier).is_file() else ""
        lines = review(plan, tried.learnt, source, still, placing.is_template)
        return Started(plan, tried, tuple(changed), tuple(lines))


def _checked(name: str) -> str:
    if problem_name(name) != name or len(name) > _LONGEST_NAME:
        mend = f"Use up to {_LONGEST_NAME} small letters, digits and hyphens, as in '{_named(name)}'"
        raise UserError(f"the name '{name}' will not do", mend)
    return name


def _named(text: str) -> str:
    return problem_name(text)[:_LONGEST_NAME].strip("-")
