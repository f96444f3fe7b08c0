"""The contract between the user's code and the kit. The one module of the kit that a project imports.

`Problem` is what a project says about its data, its estimator and what makes a model good.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib.metadata import EntryPoint
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from starterkit.contract import Column, Role, Scalar, Task, Written
from starterkit.errors import KitError, ProblemError, place_of
from starterkit.machine import UNNAMED, project_entry
from starterkit.metrics import Metric, metrics_for
from starterkit.problem.columns import feature, group, identifier, read_columns, target, time
from starterkit.problem.estimator import (
    Direction,
    Expectation,
    Invariance,
    Jitter,
    all_metrics,
    build_estimator,
    complete_parameters,
    refuse_unknown_features,
)
from starterkit.verdict import Check, Evidence, Verdict

if TYPE_CHECKING:
    import pandas as pd
    import pandera.pandas as pa
    from sklearn.base import BaseEstimator

__all__ = [
    "Check",
    "Direction",
    "Evidence",
    "Expectation",
    "Holdout",
    "Invariance",
    "Jitter",
    "Metric",
    "Problem",
    "Source",
    "Verdict",
    "Written",
    "feature",
    "find_problem",
    "group",
    "identifier",
    "target",
    "time",
]

# --- `Holdout`: which rows no model is ever trained on.


@dataclass(frozen=True, kw_only=True)
class Holdout:
    """Which rows no model is ever trained on. See docs/decisions/0004-frozen-holdout.md.

    A row's side follows from a hash of its id (or group) and the project's salt, so it stays on that side when the
    data grows, is reordered or masked. Change the salt and every earlier comparison is void.

    Attributes
    ----------
    fraction
        The expected share of ids on the holdout's side.
    salt
        Part of the hash. Empty means the problem's name.
    cutoff
        For problems in time: rows whose `time()` column is at or after this ISO date are the holdout instead.
    """

    fraction: float = 0.2
    salt: str = ""
    cutoff: str = ""

    def __post_init__(self) -> None:
        if not 0 < self.fraction < 1:
            raise ProblemError(f"Holdout(fraction={self.fraction}) leaves one side empty", "Use a number such as 0.2")
        if self.cutoff:
            try:
                datetime.fromisoformat(self.cutoff)
            except ValueError:
                raise ProblemError(
                    f"Holdout(cutoff='{self.cutoff}') is no date", "Use ISO, such as 2026-01-31"
                ) from None


class Source(Protocol):
    """Where the stage's data is: a CSV or Parquet file, or a SQL query. All three read alike."""

    def read(self, names: Mapping[str, str] | None = None) -> "pd.DataFrame":
        """The whole table, with the schema's text columns kept as text. `names` gives columns other names by header."""
        ...


def _read_all(source: Source) -> "pd.DataFrame":
    return source.read()


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The one thing that a project hands to the kit.

    Attributes
    ----------
    title
        One line for people.
    task
        ``"regression"`` or ``"classification"``.
    schema
        A pandera model whose columns are declared with `feature`, `target`, `identifier`, `group` and `time`.
    estimator
        Builds an unfitted scikit-learn estimator. Its keyword arguments, with types and defaults, are the
        parameters that ``training.params`` may set; an argument called ``random_state`` gets ``training.seed``.
    metric
        The metric that decides between two models: rmse, mae, r2, log_loss, roc_auc or accuracy, any scorer of
        scikit-learn's by its name, or a `Metric` with a function of your own.
    metrics
        Further ones that are computed, shown and can be limited (``gate.limits``), given likewise.
    load
        Turns the stage's source into a data frame that fits the schema. By default the source as it is.
    holdout
        Which rows are held out.
    checks
        Checks of the project's own, asked by the gate after the kit's.
    slices
        Features by which the holdout is looked at in parts: a part a category, three parts of a number's range.
    strong
        Features that may predict the target alone. The gate takes any other that does for a leak.
    coarse
        Whether rows may be alike without being copies, as where few columns have few values each. Else the gate
        refuses a holdout of which more than a tenth stands in the training side, target and all.
    robustness
        How answers have to bear changed rows: `Jitter`, `Direction`, `Invariance`.
    name
        Names the experiment and the registered model: ``<stage>.<name>``. Lower-case letters, digits and hyphens.
        By default that of the project's entry point in pyproject.toml; only a problem that is no project's says one.
        A model with other inputs is another model: give it another name.

    Raises
    ------
    ProblemError
        The parts contradict each other.
    """

    title: str
    task: Task
    schema: "type[pa.DataFrameModel]"
    estimator: "Callable[..., BaseEstimator]"
    metric: str | Metric
    metrics: Sequence[str | Metric] = ()
    load: "Callable[[Source], pd.DataFrame]" = _read_all
    holdout: Holdout = Holdout()  # frozen
    checks: tuple[Check, ...] = ()
    slices: tuple[str, ...] = ()
    strong: tuple[str, ...] = ()
    coarse: bool = False
    robustness: tuple[Expectation, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", project_entry().name)
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.name):
            what = f"the problem's name '{self.name}' has other signs than lower-case letters, digits and hyphens"
            raise ProblemError(what, "Rename it, as in 'house-prices'")
        if not callable(self.estimator):
            what = f"the problem's estimator is a {type(self.estimator).__name__}"
            raise ProblemError(what, "Give a function that builds one, so that training.params can set its arguments")
        if not metrics_for(self.task):
            raise ProblemError(f"task '{self.task}' is not one that the kit knows", "Use regression or classification")
        self._refuse_contradicting_columns()
        _ = self.all_metrics  # which refuses a name that is none
        needed: Role = "time" if self.holdout.cutoff else "identifier"
        if not self._with_role(needed) and not (needed == "identifier" and self._with_role("group")):
            raise ProblemError(f"the holdout needs a column declared with {needed}()", "Add it to the schema")
        refuse_unknown_features(self.features, slices=self.slices, strong=self.strong, robustness=self.robustness)

    def _refuse_contradicting_columns(self) -> None:
        if len(self._with_role("target")) != 1 or not self.features:
            raise ProblemError("the schema needs one target() and at least one feature()", "Declare them")
        for role in ("identifier", "group", "time"):
            if len(self._with_role(role)) > 1:
                raise ProblemError(f"the schema has more than one {role}() column", "Keep one")
        for column in self.columns:
            if column.nullable and column.role != "feature":
                what = f"column '{column.name}' is nullable, but every row needs its {column.role}"
                raise ProblemError(what, "Leave out nullable=True, and rows without it in load()")
        if self.task == "regression" and self.target.type not in ("float", "integer"):
            what = f"the target '{self.target.name}' of a regression is {self.target.kind}"
            raise ProblemError(what, "Declare it as float or int, or change the task to classification")

    @cached_property
    def columns(self) -> tuple[Column, ...]:
        """Every column of the schema, in order."""
        return read_columns(self.schema)

    @property
    def features(self) -> tuple[Column, ...]:
        """The model's inputs, in order."""
        return self._with_role("feature")

    @property
    def target(self) -> Column:
        return self._with_role("target")[0]

    @property
    def side_column(self) -> Column:
        """The column that decides the side of the holdout: time with a cut-off, else the group, else the id."""
        if self.holdout.cutoff:
            return self._with_role("time")[0]
        return next(iter(self._with_role("group") or self._with_role("identifier")))

    @property
    def key_columns(self) -> tuple[Column, ...]:
        """The columns by which a row is known again: the identifier, and what decides the side."""
        return tuple({column.name: column for column in (*self._with_role("identifier"), self.side_column)}.values())

    @property
    def group(self) -> Column | None:
        """What repeated measures share: rows of one group are not independent of each other."""
        return next(iter(self._with_role("group")), None)

    @property
    def deciding_metric(self) -> Metric:
        return next(metric for metric in self.all_metrics if metric.name == str(self.metric))

    @cached_property
    def all_metrics(self) -> tuple[Metric, ...]:
        """Every metric that is computed for a model: the kit's for the task, and the project's."""
        return all_metrics(self.task, (self.metric, *self.metrics), len(self.target.categories))

    def parameters(self, given: Mapping[str, Scalar | None], seed: int) -> dict[str, Any]:
        """Every parameter of the estimator: those given, the seed, and the defaults of the rest.

        Raises
        ------
        ProblemError
            A given name is not a keyword argument of `estimator`.
        """
        return complete_parameters(self.estimator, given, seed)

    def build(self, parameters: Mapping[str, Any]) -> "BaseEstimator":
        """An unfitted estimator.

        Raises
        ------
        ProblemError
            A parameter has the wrong type, or the estimator's own code refuses it.
        """
        return build_estimator(self.estimator, self.task, parameters)

    def read(self, source: Source) -> "pd.DataFrame":
        """What the project's `load` makes of a source.

        Raises
        ------
        ProblemError
            `load` fails, or gives no data frame.
        """
        import pandas as pd

        try:
            frame = self.load(source)
        except KitError:
            raise
        except Exception as error:  # as above; the message is left out, because it could repeat a value
            what = f"load() of '{self.name}' fails with {type(error).__name__} ({place_of(error)})"
            raise ProblemError(what, "Mend the project's code") from error
        if not isinstance(frame, pd.DataFrame):
            raise ProblemError(f"load() of '{self.name}' gives a {type(frame).__name__}", "Return a data frame")
        return frame

    def _with_role(self, role: str) -> tuple[Column, ...]:
        return tuple(column for column in self.columns if column.role == role)


# --- Finding the project's `Problem` by its entry point, so that the kit never names the project's package.


def find_problem() -> Problem:
    """The problem that the installed project declares in pyproject.toml under ``starterkit.problem``.

    Raises
    ------
    ProblemError
        None or several are declared, they call the problem otherwise than it does itself, or the project's code fails
        when it is imported.
    """
    entry = project_entry()
    problem = _load(entry)
    if not isinstance(problem, Problem):
        raise ProblemError(f"{entry.value} is a {type(problem).__name__}", "Let it name a Problem")
    if entry.name not in (UNNAMED, problem.name):  # what does not import the problem would take it for another
        what = f"pyproject.toml calls the problem '{entry.name}', and {entry.value} says name='{problem.name}'"
        raise ProblemError(what, "Leave name= out of Problem(…), or call the entry point so")
    return problem


BROUGHT = "brought"


def brought_folder() -> Path | None:
    """What `make wheel` lays beside the project's code: settings and data for where there is no clone."""
    package = find_spec(project_entry().module.partition(".")[0])
    places = package.submodule_search_locations if package else None
    return next((found for place in places or () if (found := Path(place) / BROUGHT).is_dir()), None)


def _load(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except ProblemError:
        raise
    except ModuleNotFoundError as error:
        what = f"{entry.value} cannot be imported: there is no module '{error.name}' ({place_of(error)})"
        package = (error.name or "").partition(".")[0]
        own = package == entry.module.partition(".")[0]
        hint = "Mend the import" if own else f"Mend the import, or install the package: `make add PKG={package}`"
        raise ProblemError(what, hint) from error
    except Exception as error:  # the project's own code may fail in any way while it is imported
        said = error.msg if isinstance(error, SyntaxError) else error  # which holds the place already
        what = f"{entry.value} cannot be imported: {type(error).__name__}: {said} ({place_of(error)})"
        raise ProblemError(what, "Mend the project's code") from error
