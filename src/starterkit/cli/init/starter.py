"""`ProblemStarter`: looks at a file, drafts a problem, tries it, and only then writes the project's files."""

import math
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from filecmp import cmp
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

from starterkit.cli.init.decisions import plan_for, read_table
from starterkit.cli.init.draft import BY_NAME, Plan, Undecided
from starterkit.cli.init.headers import problem_name
from starterkit.cli.init.project import Project, replace_all
from starterkit.cli.init.rendering import (
    Limits,
    formatted,
    parameters,
    problem_source,
    source_of_tests,
    with_problem,
)
from starterkit.contract import Task
from starterkit.data.dataset import Dataset
from starterkit.data.reader import DatasetReader
from starterkit.errors import DataError, ProblemError, UserError
from starterkit.files import scratch_folder
from starterkit.problem import Problem
from starterkit.progress import Progress, step
from starterkit.settings import DataSettings, GateSettings, Stage, TrainingSettings
from starterkit.training.leakage import single_feature_shares
from starterkit.training.trainer import Trainer

# --- The problem, tried before anything of the user's is touched: imported, read, fitted once.

_LIMITED = {"regression": ("rmse", "r2"), "classification": ("log_loss", "roc_auc")}


@dataclass(frozen=True)
class Trial:
    """What the first fit came to. `limits` lie between its figures and the naive guess's, at a third of the way."""

    figure: float
    naive: float
    limits: Limits

    @property
    def learnt(self) -> bool:
        return self.figure < self.naive


def _between(figure: float, guess: float) -> float:
    """A third of the way from the figure to the guess, in as few digits as stay between the two."""
    limit = (2 * figure + guess) / 3
    rounded = (float(f"{limit:.{digits}g}") for digits in range(2, 12))
    return next((one for one in rounded if abs(one - limit) < abs(guess - figure) / 10), limit)


@contextmanager
def imported(plan: Plan) -> Iterator[Problem]:
    """The problem of a plan, of which nothing is written yet."""
    with scratch_folder("starting") as folder:
        path = folder / "problem.py"
        path.write_text(problem_source(plan), "utf-8")
        spec = spec_from_file_location(f"starterkit_starting_{folder.name.rpartition('-')[2]}", path)
        assert spec is not None
        assert spec.loader is not None
        module = module_from_spec(spec)
        sys.modules[spec.name] = module  # pandera looks the annotations up there
        try:
            spec.loader.exec_module(module)
            yield replace(module.problem, name=plan.name)
        finally:
            del sys.modules[spec.name]


def read(problem: Problem, data: Path) -> Dataset:
    """
    Raises
    ------
    DataError
        The rows do not fit, or a side of the holdout is empty.
    """
    settings = DataSettings.model_construct(source=data.name)  # unchecked: its name may be one that no YAML could carry
    return DatasetReader(problem, settings, data.resolve().parent, Stage.LOCAL, keep_key=False).read()


def leaking(problem: Problem, dataset: Dataset, limit: float) -> dict[str, str]:
    """The features that the gate would take for the target in disguise, each with what it gives away."""
    shares = single_feature_shares(problem, dataset)
    reason = "alone removes {:.1%} of the naive guess's loss, as the target in disguise does"
    return {name: reason.format(share) for name, share in shares.items() if not share <= limit}


def try_out(problem: Problem, dataset: Dataset) -> Trial:
    """Fit once, as the first run will, and derive limits that a later version has to keep.

    Raises
    ------
    DataError
        The holdout has a class that the training side lacks, or the estimator refuses the rows.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model = Trainer(problem, TrainingSettings()).fit(dataset)
    scores, naive = model.evaluation.scores, model.baseline.scores
    metric = problem.deciding_metric.name
    limits = {}
    for name in _LIMITED[problem.task]:
        figure, guess = scores[name], naive[name]
        if math.isfinite(figure) and math.isfinite(guess):
            limits[name] = ("max" if name in ("rmse", "log_loss") else "min", _between(figure, guess))
    return Trial(scores[metric], naive[metric], limits)


# --- What somebody should look at in the written problem, in words.


def review(plan: Plan, learnt: bool, source: str, earlier: str, is_template: bool) -> list[str]:
    """A line for each thing. `earlier` is the data that was used before, where it is still there."""
    lines = []
    if not learnt:
        lines.append("the columns tell no more than a naive guess, so the gate will refuse: find better ones")
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
    """What came of it. `review` has a line for each thing that somebody should look at."""

    plan: Plan
    trial: Trial
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
    """

    def __init__(self, project: Project, progress: Progress) -> None:
        self._project = project
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
        project = self._project
        name = _checked(name) if name else _named(given.stem)
        data = project.data_file(given, name)
        others = project.named_anew(name, project.shown(data))
        files = [project.problem, project.tests, project.settings, *others, *project.old_tests]
        unsaved = project.unsaved(files)
        if not force:
            project.refuse(unsaved)
        with step(self._progress, "look at the columns") as note:
            frame = read_table(given)
            plan = plan_for(frame, given.name, target, name, task)
            note.text = f"{len(frame)} rows, {len(frame.columns)} columns"
        if data.exists() and not cmp(data, given, shallow=False) and not force:
            raise UserError(f"{project.shown(data)} is there with other content", "Add --force, or another --name")
        with step(self._progress, "try the problem"):
            plan, tried = _tried(plan, given)
        written = {**self._written(plan, tried, project.shown(data)), **others}
        if given.resolve() != data.resolve():
            written[data] = given
        lines = self._review(plan, tried, project.shown(data))
        changed = [*map(project.shown, written), *(f"{project.shown(path)} (removed)" for path in project.old_tests)]
        replace_all(written, project.old_tests, unsaved)
        return Started(plan, tried, tuple(changed), tuple(lines))

    def _written(self, plan: Plan, tried: Trial, source: str) -> dict[Path, bytes | Path]:
        project = self._project
        tests = source_of_tests(plan, project.entry.module, source)
        settings = with_problem(project.settings.read_text("utf-8"), source, parameters(plan), tried.limits)
        return {
            project.problem: formatted(problem_source(plan), project.problem).encode(),
            project.tests: formatted(tests, project.tests).encode(),
            project.settings: settings.encode(),
        }

    def _review(self, plan: Plan, tried: Trial, source: str) -> list[str]:
        earlier = self._project.source
        still = earlier if earlier != source and (self._project.root / earlier).is_file() else ""
        return review(plan, tried.learnt, source, still, self._project.is_template)


def _tried(plan: Plan, given: Path) -> tuple[Plan, Trial]:
    """The plan, without features that give the target away, and what a first fit of it came to."""
    try:
        with imported(plan) as problem:
            dataset = read(problem, given)
            leaks = leaking(problem, dataset, GateSettings().leak_limit)
            if not leaks:
                return plan, try_out(problem, dataset)
        plan = plan.without(leaks)
        if not plan.features:
            raise Undecided(given.name, [f"every column that is left gives the target '{plan.target.header}' away"])
        with imported(plan) as problem:
            return plan, try_out(problem, read(problem, given))
    except (DataError, ProblemError) as error:
        raise Undecided(given.name, [f"{error.what}: {error.hint}"]) from error


def _checked(name: str) -> str:
    if _named(name) != name:
        hint = f"Use up to {_LONGEST_NAME} small letters, digits and hyphens, as in '{_named(name)}'"
        raise UserError(f"the name '{name}' will not do", hint)
    return name


def _named(text: str) -> str:
    return problem_name(text)[:_LONGEST_NAME].strip("-")
