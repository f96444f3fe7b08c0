"""Finding the project's `Problem` by its entry point, so that the kit never names the project's package."""

from importlib.metadata import EntryPoint

from starterkit.entry import UNNAMED, project_entry
from starterkit.errors import ProblemError, place_of
from starterkit.problem.problem import Problem


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


def _load(entry: EntryPoint) -> object:
    try:
        return entry.load()
    except ProblemError:
        raise
    except ModuleNotFoundError as error:
        what = f"{entry.value} cannot be imported: there is no module '{error.name}' ({place_of(error)})"
        package = (error.name or "").partition(".")[0]
        own = package == entry.module.partition(".")[0]
        mend = "Mend the import" if own else f"Mend the import, or install the package: `make add PKG={package}`"
        raise ProblemError(what, mend) from error
    except SyntaxError as error:  # its message holds the place already
        what = f"{entry.value} cannot be imported: {type(error).__name__}: {error.msg} ({place_of(error)})"
        raise ProblemError(what, "Mend the project's code") from error
    except Exception as error:  # the project's own code may fail in any way while it is imported
        what = f"{entry.value} cannot be imported: {type(error).__name__}: {error} ({place_of(error)})"
        raise ProblemError(what, "Mend the project's code") from error
