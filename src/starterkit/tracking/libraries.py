"""Which distributions an estimator's parts come from, beyond scikit-learn's."""

from collections.abc import Iterable
from importlib.metadata import packages_distributions
from typing import Any


def types_of(estimator: Any) -> list[str]:
    """The types of a fitted estimator's parts that skops would not load unasked."""
    from skops.io import dumps, get_untrusted_types

    return get_untrusted_types(data=dumps(estimator))


def libraries(types: Iterable[str]) -> list[str]:
    """The distributions beyond scikit-learn's that an estimator's types come from, such as xgboost-cpu."""
    roots = {name.partition(".")[0] for name in types} - {"numpy", "sklearn"}
    installed = packages_distributions() if roots else {}
    own = installed.get("starterkit", [])  # on no index, and the project's own types with it
    return sorted({name for root in roots for name in installed.get(root, []) if name not in own})
