"""`start_problem` looks at a file, drafts a problem, tries it, and only then writes the project's files."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from filecmp import cmp
from functools import partial
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path

import yaml

from starterkit.cli.init.decisions import plan_for, read_table
from starterkit.cli.init.draft import BY_NAME, Plan, Undecided
from starterkit.cli.init.headers import problem_name
from starterkit.cli.init.rendering import formatted, problem_source, source_of_tests, with_problem
from starterkit.cli.init.trial import (
    SECONDS,
    Trial,
    imported,
    leaking,
    leaking_together,
    read,
    select,
    texts_of_many_values,
    times_of,
    try_out,
)
from starterkit.contract import COMMAS, Dialect, Task
from starterkit.data.dataset import Dataset
from starterkit.data.sources import CsvFile, is_text_file
from starterkit.errors import DataError, ProblemError, UserError
from starterkit.files import write_together
from starterkit.machine import project_entry
from starterkit.progress import Note, Progress, silent, step
from starterkit.release.provenance import git
from starterkit.settings import GateSettings

# --- Where the files are.


@dataclass(frozen=True)
class Project:
    """A project, as this command finds and changes it: `entry` names its problem, `home` is the package's folder."""

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


# --- What somebody should look at in the written problem, in words.


def _review(project: Project, plan: Plan, tried: Trial, source: str) -> list[str]:
    lines = []
    if not tried.learnt:
        lines.append("the columns tell no more than a naive guess, so the gate will refuse: find better ones")
    if tried.suspects:
        names = ", ".join(tried.suspects)
        what = f"{plan.target.name} is told nearly perfectly by {names}"
        lines.append(f"{what}: leave out what is known no earlier than the target")
    sensitive = [one.name for one in plan.fields if one.sensitive]
    lines.append(f"sensitive by their names: {', '.join(sensitive) or 'none'}; only you know whether that is all")
    if plan.left_out:
        lines.append(f"left out: {', '.join(plan.left_out)}; problem.py says why")
    lines += plan.notes
    lines += [f"{row.what} and no record: load() leaves it out" for row in plan.odd_rows]
    lines += [f"{one.name}: {one.review}" for one in plan.fields if one.review and one.review != BY_NAME]
    lines.append(f"bounds and units in the schema, and whether {source} may be committed to git")
    earlier = project.source
    if earlier != source and (project.root / earlier).is_file():
        lines.append(f"of the earlier problem, yours to delete: {earlier}, what data/README.md and README.md say of it")
    if project.is_template:
        lines.append("this is the template, whose own tests need its example: begin in a project of it (README.md)")
    return lines


# --- From the file to the project's files.

_LONGEST_NAME = 40
_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}
_MOST_FORMULAS = 3
"""That a table may have for its target: the price with and without tax, say."""


@dataclass(frozen=True)
class Started:
    """What came of it: why that estimator, and a line for each thing that somebody should look at."""

    plan: Plan
    trial: Trial
    estimator: str
    written: tuple[str, ...]
    review: tuple[str, ...]


def start_problem(
    project: Project,
    given: Path,
    target: str,
    name: str = "",
    task: Task | None = None,
    *,
    force: bool = False,
    seconds: float = SECONDS,
    progress: Progress = silent,
) -> Started:
    """Write the user's problem from a file. Without `seconds` for a comparison of estimators it has a linear model.

    Raises
    ------
    UserError
        The file or the target is of no use, or a file that nobody committed would be overwritten.
    Undecided
        There are things that a person has to decide first.
    """
    name = _named(name, given)
    data = project.data_file(given, name)
    source = project.shown(data) + "/" * given.is_dir()
    others = project.named_anew(name, source)
    files = [project.problem, project.tests, project.settings, *others, *project.old_tests]
    unsaved = project.unsaved(files)
    with step(progress, "look at the columns") as note:
        frame = read_table(given)
        if unsaved and not force:
            said, are = ", ".join(map(project.shown, unsaved)), "is" if len(unsaved) == 1 else "are"
            what = f"{said} {are} not committed and would be overwritten"
            raise UserError(what, "Commit first, or add --force, which keeps the earlier files as <name>.before")
        plan = plan_for(frame, given.name, target, name, task, note)
        dialect = CsvFile(given).dialect if is_text_file(given) else COMMAS
        note.text = f"{len(frame)} rows, {len(frame.columns)} columns{_in_words(dialect)}"
    if data.is_file() and not cmp(data, given, shallow=False) and not force:
        raise UserError(f"{project.shown(data)} is there with other content", "Add --force, or another --name")
    try:
        plan, estimator, tried = _tried(plan, given, seconds, progress)
    except (DataError, ProblemError) as error:
        raise Undecided(given.name, [f"{error.what}: {error.hint}"]) from error
    tests = source_of_tests(plan, project.entry.module, source)
    settings = project.settings.read_text("utf-8")
    written: dict[Path, bytes | Path] = {
        project.problem: formatted(problem_source(plan), project.problem).encode(),
        project.tests: formatted(tests, project.tests).encode(),
        project.settings: with_problem(settings, source, plan.choice.parameters, tried.limits, dialect).encode(),
        **others,
    }
    if given.resolve() != data.resolve():
        written[data] = given
    lines = _review(project, plan, tried, source)
    changed = [*map(project.shown, written), *(f"{project.shown(path)} (removed)" for path in project.old_tests)]
    kept = {path.with_name(f"{path.name}.before"): path for path in unsaved}
    write_together(written | kept, project.old_tests)
    return Started(plan, tried, estimator, tuple(changed), tuple(lines))


def _in_words(dialect: Dialect) -> str:
    """How a text file is written that is not written as most are."""
    said = [_DELIMITERS[dialect.delimiter]] if dialect.delimiter != COMMAS.delimiter else []
    said += [dialect.encoding] if dialect.encoding != COMMAS.encoding else []
    said += [f"quotes {dialect.quote}"] if dialect.quote != COMMAS.quote else []
    return "".join(f", {word}" for word in said)


def _tried(plan: Plan, given: Path, seconds: float, progress: Progress) -> tuple[Plan, str, Trial]:
    """The plan without leaks and with its estimator, a line on that, and the first fit."""
    with step(progress, "look for leaks") as note:
        plan, dataset = _without_leaks(plan, given, note)
    plan = replace(plan, many=texts_of_many_values(plan, dataset))
    with step(progress, "compare estimators") as note:
        selection = select(plan, dataset, times_of(plan, given), seconds, note)
        plan = replace(plan, choice=selection.choice)
        note.text = selection.choice.name
    with step(progress, "try the problem"), imported(plan) as problem:
        return plan, selection.line, try_out(problem, dataset)


def _without_leaks(plan: Plan, given: Path, note: Note) -> tuple[Plan, Dataset]:
    """The plan, without features that give the target away, and the rows as its problem reads them."""
    ways = [partial(leaking, limit=GateSettings().leak_limit, note=note), *[leaking_together] * _MOST_FORMULAS]
    while True:
        with imported(plan) as problem:
            dataset, leaks = read(problem, given), dict[str, str]()
            while ways and not leaks:
                leaks = ways[0](problem, dataset)
                ways = [] if ways[0] is leaking_together and not leaks else ways[1:]
        if not leaks:
            return plan, dataset
        plan = plan.without(leaks)
        if not plan.features:
            named = "; ".join(f"{name} {reason.partition(':')[0]}" for name, reason in leaks.items())
            what = f"every column that is left gives the target '{plan.target.header}' away: {named}"
            raise Undecided(given.name, [what])


def _named(name: str, file: Path) -> str:
    stem = file.stem if file.suffix.lower() != ".gz" else Path(file.stem).stem
    made = problem_name(name or stem)[:_LONGEST_NAME].strip("-")
    if name and made != name:
        hint = f"Use up to {_LONGEST_NAME} small letters, digits and hyphens, as in '{made}'"
        raise UserError(f"the name '{name}' will not do", hint)
    return made
