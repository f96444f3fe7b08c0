"""`ProblemStarter`: looks at a file, drafts a problem, tries it, and only then writes the project's files."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from filecmp import cmp
from pathlib import Path

from starterkit.cli.init.decisions import plan_for, read_table
from starterkit.cli.init.draft import BY_NAME, Plan, Undecided
from starterkit.cli.init.headers import problem_name
from starterkit.cli.init.project import Project, replace_all
from starterkit.cli.init.rendering import formatted, problem_source, source_of_tests, with_problem
from starterkit.cli.init.selection import SECONDS, select, texts_of_many_values
from starterkit.cli.init.trial import Trial, imported, leaking, read, times_of, try_out
from starterkit.contract import COMMAS, Dialect, Task
from starterkit.data.dataset import Dataset
from starterkit.data.sources import CsvFile, is_text_file
from starterkit.errors import DataError, ProblemError, UserError
from starterkit.progress import Progress, step
from starterkit.settings import GateSettings

# --- What somebody should look at in the written problem, in words.


def review(plan: Plan, tried: Trial, source: str, earlier: str, is_template: bool) -> list[str]:
    """A line for each thing. `earlier` is the data that was used before, where it is still there."""
    lines = []
    if not tried.learnt:
        lines.append("the columns tell no more than a naive guess, so the gate will refuse: find better ones")
    if tried.suspects:
        made = "is a sum or product of" if tried.formula else "is told nearly perfectly by"
        names = ", ".join(tried.suspects)
        lines.append(f"{plan.target.name} {made} {names}: leave out what is known no earlier than the target")
    sensitive = [one.name for one in plan.fields if one.sensitive]
    lines.append(f"sensitive by their names: {', '.join(sensitive) or 'none'}; only you know whether that is all")
    if plan.left_out:
        lines.append(f"left out: {', '.join(plan.left_out)}; problem.py says why")
    lines += plan.notes
    lines += [f"{row.what} and no record: load() leaves it out" for row in plan.odd_rows]
    lines += [f"{one.name}: {one.review}" for one in plan.fields if one.review and one.review != BY_NAME]
    lines.append(f"bounds and units in the schema, and whether {source} may be committed to git")
    if earlier:
        lines.append(f"of the earlier problem, yours to delete: {earlier}, what data/README.md and README.md say of it")
    if is_template:
        lines.append("this is the template, whose own tests need its example: begin in a project of it (README.md)")
    return lines


# --- From the file to the project's files.

_LONGEST_NAME = 40


@dataclass(frozen=True)
class Started:
    """What came of it: why that estimator, and a line for each thing that somebody should look at."""

    plan: Plan
    trial: Trial
    estimator: str
    written: tuple[str, ...]
    review: tuple[str, ...]


class ProblemStarter:
    """Writes the user's problem from a file.

    Parameters
    ----------
    project
        What is written into.
    progress
        Hears of each step.
    seconds
        For the comparison of estimators. Without any it is a linear model.
    """

    def __init__(self, project: Project, progress: Progress, seconds: float = SECONDS) -> None:
        self._project = project
        self._progress = progress
        self._seconds = seconds

    def start(self, given: Path, target: str, name: str = "", task: Task | None = None, force: bool = False) -> Started:
        """
        Raises
        ------
        UserError
            The file or the target is of no use, or a file that nobody committed would be overwritten.
        Undecided
            There are things that a person has to decide first.
        """
        project = self._project
        stem = given.stem if given.suffix.lower() != ".gz" else Path(given.stem).stem
        name = _checked(name) if name else _named(stem)
        data = project.data_file(given, name)
        source = project.shown(data) + "/" * given.is_dir()
        others = project.named_anew(name, source)
        files = [project.problem, project.tests, project.settings, *others, *project.old_tests]
        unsaved = project.unsaved(files)
        if not force:
            project.refuse(unsaved)
        with step(self._progress, "look at the columns") as note:
            frame = read_table(given)
            plan = plan_for(frame, given.name, target, name, task)
            dialect = CsvFile(given).dialect if is_text_file(given) else COMMAS
            note.text = f"{len(frame)} rows, {len(frame.columns)} columns{_in_words(dialect)}"
        if data.is_file() and not cmp(data, given, shallow=False) and not force:
            raise UserError(f"{project.shown(data)} is there with other content", "Add --force, or another --name")
        with _undecided_where_refused(given):
            with step(self._progress, "look for leaks"):
                plan, dataset = _without_leaks(plan, given)
            plan = replace(plan, many=texts_of_many_values(plan, dataset))
            with step(self._progress, "compare estimators") as note:
                with imported(plan) as problem:
                    times = times_of(problem, given)
                selection = select(plan, dataset, times, self._seconds)
                plan = replace(plan, choice=selection.choice)
                note.text = selection.choice.name
            with step(self._progress, "try the problem"), imported(plan) as problem:
                tried = try_out(problem, dataset)
        written = {**self._written(plan, tried, source, dialect), **others}
        if given.resolve() != data.resolve():
            written[data] = given
        lines = self._review(plan, tried, source)
        changed = [*map(project.shown, written), *(f"{project.shown(path)} (removed)" for path in project.old_tests)]
        replace_all(written, project.old_tests, unsaved)
        return Started(plan, tried, selection.line, tuple(changed), tuple(lines))

    def _written(self, plan: Plan, tried: Trial, source: str, dialect: Dialect) -> dict[Path, bytes | Path]:
        project = self._project
        tests = source_of_tests(plan, project.entry.module, source)
        settings = with_problem(
            project.settings.read_text("utf-8"), source, plan.choice.parameters, tried.limits, dialect
        )
        return {
            project.problem: formatted(problem_source(plan), project.problem).encode(),
            project.tests: formatted(tests, project.tests).encode(),
            project.settings: settings.encode(),
        }

    def _review(self, plan: Plan, tried: Trial, source: str) -> list[str]:
        earlier = self._project.source
        still = earlier if earlier != source and (self._project.root / earlier).is_file() else ""
        return review(plan, tried, source, still, self._project.is_template)


def _in_words(dialect: Dialect) -> str:
    """How a text file is written that is not written as most are."""
    said = [_DELIMITERS[dialect.delimiter]] if dialect.delimiter != COMMAS.delimiter else []
    said += [dialect.encoding] if dialect.encoding != COMMAS.encoding else []
    said += [f"quotes {dialect.quote}"] if dialect.quote != COMMAS.quote else []
    return "".join(f", {word}" for word in said)


_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "vertical bars"}


def _without_leaks(plan: Plan, given: Path) -> tuple[Plan, Dataset]:
    """The plan, without features that give the target away, and the rows as its problem reads them."""
    with imported(plan) as problem:
        dataset = read(problem, given)
        leaks = leaking(problem, dataset, GateSettings().leak_limit)
    if not leaks:
        return plan, dataset
    plan = plan.without(leaks)
    if not plan.features:
        named = "; ".join(f"{name} {reason.partition(':')[0]}" for name, reason in leaks.items())
        what = f"every column that is left gives the target '{plan.target.header}' away: {named}"
        raise Undecided(given.name, [what])
    with imported(plan) as problem:
        return plan, read(problem, given)


@contextmanager
def _undecided_where_refused(given: Path) -> Iterator[None]:
    try:
        yield
    except (DataError, ProblemError) as error:
        raise Undecided(given.name, [f"{error.what}: {error.hint}"]) from error


def _checked(name: str) -> str:
    if _named(name) != name:
        hint = f"Use up to {_LONGEST_NAME} small letters, digits and hyphens, as in '{_named(name)}'"
        raise UserError(f"the name '{name}' will not do", hint)
    return name


def _named(text: str) -> str:
    return problem_name(text)[:_LONGEST_NAME].strip("-")
