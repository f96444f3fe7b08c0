"""Finding the project's `Problem` by its entry point, so that the kit never names the project's package."""

from importlib.metadata import EntryPoint, entry_points

from starterkit.errors import ProblemError
from starterkit.problem.place import place_of
from starterkit.problem.problem import Problem

GROUP = "starterkit.problem"


def find_problem() -> Problem:
    """The problem that the installed project declares in pyproject.toml under ``starterkit.problem``.

    Raises
    ------
    ProblemError
        None or several are declared, or the project's code fails when it is imported.
    """
    found = list(entry_points(group=GROUP))
    if len(found) != 1:
        names = ", ".join(entry.value for entry in found) or "none"
        mend = f'Declare one in pyproject.toml under [project.entry-points."{GROUP}"] and run `make env`'
        raise ProblemError(f"the kit needs one entry point '{GROUP}' and finds {names}", mend)
    problem = _load(found[0])
    if not isinstance(problem, Problem):
        raise ProblemError(f"{found[0].value} is a {type(problem).__name__}", "Let it name a Problem")
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
