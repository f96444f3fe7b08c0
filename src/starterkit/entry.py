"""The entry point by which a project names its `Problem`, and what can be read there without running its code."""

import ast
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec, resolve_name
from pathlib import Path

from starterkit.errors import ProblemError

GROUP = "starterkit.problem"
_FARTHEST = 8


def project_entry() -> EntryPoint:
    """The one entry point that the installed project declares in pyproject.toml under ``starterkit.problem``.

    Raises
    ------
    ProblemError
        None or several are declared.
    """
    found = list(entry_points(group=GROUP))
    if len(found) != 1:
        names = ", ".join(entry.value for entry in found) or "none"
        mend = f'Declare one in pyproject.toml under [project.entry-points."{GROUP}"] and run `make env`'
        raise ProblemError(f"the kit needs one entry point '{GROUP}' and finds {names}", mend)
    return found[0]


def stated_name() -> str | None:
    """The problem's name, as the project's source states it; importing the project would load pandas and scikit-learn.

    None where the source does not say it as plainly as ``problem = Problem(name="diabetes", …)``. It is read each time,
    so it is never an older one.
    """
    entry = project_entry()
    try:
        return _name_of(entry.attr, entry.module, _FARTHEST)
    except (OSError, SyntaxError, ValueError, ImportError):  # whoever imports the project will say what is wrong
        return None


def _name_of(variable: str, module: str, farthest: int) -> str | None:
    """Follow a variable through imports to the one place where it is assigned."""
    path = _file_of(module)
    if path is None or not farthest:
        return None
    tree = ast.parse(path.read_bytes())
    bindings = _bindings(variable, tree)
    if len(bindings) != 1 or not (at_top := [node for node in tree.body if bindings[0] in ast.walk(node)]):
        return None
    statement = at_top[0]
    if isinstance(statement, ast.ImportFrom):
        package = module if path.name == "__init__.py" else module.rpartition(".")[0]
        origin = resolve_name("." * statement.level + (statement.module or ""), package)
        names = [alias.name for alias in statement.names if (alias.asname or alias.name) == variable]
        return _name_of(names[0], origin, farthest - 1)
    return _name_in(statement.value, tree) if isinstance(statement, ast.Assign | ast.AnnAssign) else None


def _name_in(value: ast.expr | None, tree: ast.Module) -> str | None:
    """The name in ``Problem(name="diabetes", …)``, if `Problem` is the kit's."""
    if not (isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id == "Problem"):
        return None
    given = [word.value for word in value.keywords if word.arg == "name"]
    match _bindings("Problem", tree), given:
        case [ast.ImportFrom(module=str(origin))], [ast.Constant(value=str(name))] if origin == GROUP:
            return name
    return None


def _bindings(name: str, tree: ast.Module) -> list[ast.AST]:
    """The nodes, anywhere in a module, that give a name its meaning, or may."""
    return [node for node in ast.walk(tree) if not {name, "*"}.isdisjoint(_bound_by(node))]


def _bound_by(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Name):
        return [] if isinstance(node.ctx, ast.Load) else [node.id]
    if isinstance(node, ast.ImportFrom | ast.Import):
        return [alias.asname or alias.name for alias in node.names]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return [node.name]
    return []


def _file_of(module: str) -> Path | None:
    """A module's source. Only the outermost package is looked for: finding an inner one would run the outer ones."""
    package, *inner = module.split(".")
    found = find_spec(package)
    if found is None or found.origin is None:
        return None
    path = Path(found.origin)
    if inner:
        stem = path.parent.joinpath(*inner)
        path = next((one for one in (stem / "__init__.py", stem.with_suffix(".py")) if one.exists()), stem)
    return path if path.suffix == ".py" and path.exists() else None
