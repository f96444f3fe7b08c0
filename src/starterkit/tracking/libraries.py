"""Which distributions an estimator's parts come from, beyond scikit-learn's."""

import pickle
from collections.abc import Iterable
from importlib.metadata import packages_distributions
from types import BuiltinFunctionType, FunctionType
from typing import Any

import numpy as np

_HOW_NOT_WHAT = {"builtins", "copyreg"}
"""Their functions say how pickle makes a thing, such as getattr, and are no part of an estimator."""


def types_of(estimator: Any) -> set[str]:
    """The types and functions that a fitted estimator holds: those that skops would not load unasked are among them.

    skops can tell which these are, after it has written the whole estimator as JSON; pickle walks the same parts in a
    hundredth of the time. What it walks is thrown away.
    """
    walk = _Walk()
    try:
        walk.dump(estimator)
    except (pickle.PicklingError, AttributeError, TypeError):  # a lambda, or a class inside a function
        from skops.io import dumps, get_untrusted_types

        return set(get_untrusted_types(data=dumps(estimator)))
    return walk.met


def libraries(types: Iterable[str]) -> list[str]:
    """The distributions beyond scikit-learn's that an estimator's types come from, such as xgboost-cpu."""
    roots = {name.partition(".")[0] for name in types} - {"builtins", "numpy", "sklearn"}
    installed = packages_distributions() if roots else {}
    own = installed.get("starterkit", [])  # on no index, and the project's own types with it
    return sorted({name for root in roots for name in installed.get(root, []) if name not in own})


class _Nowhere:
    def write(self, _: Any) -> None:
        """Keep nothing."""


class _Walk(pickle.Pickler):
    """Notes what it meets, under the names that skops uses."""

    def __init__(self) -> None:
        super().__init__(_Nowhere(), pickle.HIGHEST_PROTOCOL)
        self.met: set[str] = set()

    def reducer_override(self, part: Any) -> Any:
        is_function = isinstance(part, FunctionType | BuiltinFunctionType)
        named = part if is_function or isinstance(part, type | np.ufunc) else type(part)
        module = getattr(named, "__module__", None) or "numpy"
        if not (is_function and module in _HOW_NOT_WHAT):
            self.met.add(f"{module}.{named.__name__}")
        return NotImplemented
