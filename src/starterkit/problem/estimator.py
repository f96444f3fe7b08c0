"""From settings to an unfitted estimator: every parameter named, typed and checked before any work."""

import inspect
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any

from pydantic import ConfigDict, ValidationError, validate_call

from starterkit.contract import Scalar, Task
from starterkit.errors import ProblemError, place_of

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator

Factory = Callable[..., Any]
"""Builds an unfitted estimator; its keyword arguments are the parameters."""


def complete_parameters(estimator: Factory, given: Mapping[str, Scalar | None], seed: int) -> dict[str, Any]:
    """Every parameter of the estimator: those given, the seed, and the defaults of the rest."""
    accepted = inspect.signature(estimator).parameters
    unknown = sorted(set(given) - set(accepted))
    if unknown:
        hint = f"The project's estimator takes {', '.join(accepted) or 'none'}"
        raise ProblemError(f"training.params.{unknown[0]} is not a parameter of the estimator", hint)
    values = {name: parameter.default for name, parameter in accepted.items()} | dict(given)
    if "random_state" in accepted and "random_state" not in given:
        values["random_state"] = seed
    missing = [name for name, value in values.items() if value is inspect.Parameter.empty]
    if missing:
        raise ProblemError(
            f"the estimator's parameter '{missing[0]}' has no value", f"Set training.params.{missing[0]}"
        )
    return values


def build_estimator(estimator: Factory, task: Task, parameters: Mapping[str, Any]) -> "BaseEstimator":
    """An unfitted estimator of the right kind."""
    try:
        built = _strict(estimator)(**parameters)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        what = first["msg"].replace("Input should", "should").partition(", unable to ")[0]
        hint = "Change it where `starterkit config show` says that it comes from"
        raise ProblemError(f"training.params.{first['loc'][0]} {what}", hint) from None
    except Exception as error:  # the project's own code may fail in any way
        what = f"the project's estimator cannot be built: {type(error).__name__}: {error} ({place_of(error)})"
        raise ProblemError(what, "Mend the project's code, or the parameter in config") from error
    _refuse_the_wrong_kind(task, built)
    return built


def _strict(estimator: Factory) -> Factory:
    """`estimator`, which may also be a class or a partial, with its parameters' types enforced."""

    @wraps(estimator)
    def build(**parameters: Any) -> Any:
        return estimator(**parameters)

    declared = inspect.signature(estimator).parameters.values()
    # Without the result's type, which many import for type checkers only.
    build.__annotations__ = {one.name: one.annotation for one in declared if one.annotation is not one.empty}
    return validate_call(config=ConfigDict(arbitrary_types_allowed=True, strict=True))(build)


def _refuse_the_wrong_kind(task: Task, built: Any) -> None:
    from sklearn.base import is_classifier, is_regressor

    hint = f"Return an unfitted scikit-learn estimator for {task}"
    what = f"the project's estimator is a {type(built).__name__}"
    needed = ["fit", "predict", "get_params"]
    lacking = [method for method in needed if isinstance(built, type) or not _has(built, method)]
    if lacking:
        raise ProblemError(f"{what}, which has no {lacking[0]}()", hint)
    if (is_classifier if task == "regression" else is_regressor)(built):
        raise ProblemError(f"{what}, which is not for {task}", hint)


def _has(built: Any, method: str) -> bool:
    """Whether it has a method, or will once it is fitted: a stack without a final estimator shows none before."""
    if hasattr(built, method):
        return True
    if not hasattr(type(built), method):
        return False
    steps = getattr(built, "steps", None)
    inner = steps[-1][1] if steps else getattr(built, "estimator", None)
    return _has(inner, method) if inner is not None else getattr(built, "final_estimator", built) is None
