"""`ProblemStarter`: looks at a file, plans a problem, tries it, and only then writes the project's files."""

from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path

from starterkit.contract import Task
from starterkit.errors import DataError, ProblemError, UserError
from starterkit.progress import Progress, step
from starterkit.settings import GateSettings
from starterkit.starting import trial
from starterkit.starting.base_settings import with_problem
from starterkit.starting.deciding import plan_for
from starterkit.starting.elsewhere import earlier_source, named_anew
from starterkit.starting.estimators import parameters
from starterkit.starting.names import problem_name
from starterkit.starting.placing import Placing, refuse_unsaved
from starterkit.starting.planning import Plan, Undecided
from starterkit.starting.proving import source_of_tests
from starterkit.starting.reading import read_table
from starterkit.starting.replacing import replace_all
from starterkit.starting.reviewing import review
from starterkit.starting.writing import problem_source

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
