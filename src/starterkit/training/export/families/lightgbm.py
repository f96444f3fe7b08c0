"""LightGBM's scikit-learn estimators. LightGBM compares float64 values and sums its leaves in float64."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starterkit.training.export.families.family import CannotExport
from starterkit.training.export.families.trees import Link, Scoring, TreeFamily, Trees

_OTHERWISE = ("linear_tree", "pred_early_stop")
"""Parameters with which a row's answer is more than a sum of leaves."""

_ZERO = float(np.float32(1e-35))
"""LightGBM takes a number that is not further from zero for zero."""

_CLASSES = ("LGBMClassifier", "LGBMRegressor")
_LINKS: dict[str, Link] = {
    "regression": "identity",
    "regression_l1": "identity",
    "huber": "identity",
    "fair": "identity",
    "quantile": "identity",
    "mape": "identity",
    "poisson": "exponential",
    "gamma": "exponential",
    "tweedie": "exponential",
    "binary": "logistic",
    "multiclass": "softmax",
}


class LightGBM(TreeFamily):
    """`LGBMRegressor` and `LGBMClassifier`, with numeric columns."""

    def takes(self, kind: type) -> bool:
        return kind.__name__ in _CLASSES and kind.__module__.startswith("lightgbm.")

    def describe(self, estimator: Any) -> tuple[Trees, Scoring]:
        for name in _OTHERWISE:
            if estimator.get_params().get(name):
                raise CannotExport(f"LightGBM with {name}; leave it out")
        model = estimator.booster_.dump_model()
        objective, *details = model.get("objective", "custom").split()
        if objective not in _LINKS or "sqrt" in details:
            raise CannotExport(f"LightGBM with objective='{' '.join([objective, *details])}'; use {', '.join(_LINKS)}")
        scores = model["num_tree_per_iteration"]
        slope = next((float(one.split(":")[1]) for one in details if re.match(r"sigmoid:", one)), 1.0)
        trees = [_trees(one["tree_structure"], place % scores, slope) for place, one in enumerate(model["tree_info"])]
        divisor = len(trees) / scores if model["average_output"] else 1.0
        return Trees.join(trees), Scoring(base=np.zeros(scores), divisor=divisor, link=_LINKS[objective])

    def leaves(self, estimator: Any, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        ends = np.asarray(estimator.booster_.predict(rows, pred_leaf=True), dtype=np.int64).reshape(len(rows), -1)
        numbers, start = [], 0
        for tree, one in enumerate(estimator.booster_.dump_model()["tree_info"]):
            nodes = list(_nodes(one["tree_structure"]))
            place = {node.get("leaf_index", 0): place for place, node in enumerate(nodes) if _is_leaf(node)}
            lookup = np.array([place[leaf] for leaf in range(len(place))])
            numbers.append(lookup[ends[:, tree]] + start)
            start += len(nodes)
        return np.column_stack(numbers)


def _nodes(root: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """A tree's nodes, each before those under it."""
    waiting = [root]
    while waiting:
        node = waiting.pop()
        yield node
        if not _is_leaf(node):
            waiting += [node["right_child"], node["left_child"]]


def _is_leaf(node: dict[str, Any]) -> bool:
    return "leaf_value" in node


def _trees(root: dict[str, Any], target: int, slope: float) -> Trees:
    nodes = list(_nodes(root))
    place = {id(node): number for number, node in enumerate(nodes)}
    inner = [None if _is_leaf(node) else _split(node) for node in nodes]
    return Trees(
        roots=np.array([0]),
        feature=np.array([-1 if node is None else node["split_feature"] for node in inner]),
        threshold=_beyond_zero(np.array([0.0 if node is None else node["threshold"] for node in inner])),
        left=np.array([0 if node is None else place[id(node["left_child"])] for node in inner]),
        right=np.array([0 if node is None else place[id(node["right_child"])] for node in inner]),
        missing_left=np.array([node is not None and _missing_left(node) for node in inner]),
        target=np.full(len(nodes), target),
        weight=np.array([node.get("leaf_value", 0.0) for node in nodes]) * slope,
    )


def _beyond_zero(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same decisions for numbers that are not rounded to zero first."""
    below, above = (thresholds >= -_ZERO) & (thresholds < 0), (thresholds >= 0) & (thresholds < _ZERO)
    return np.where(below, np.nextafter(-_ZERO, -np.inf), np.where(above, _ZERO, thresholds))


def _split(node: dict[str, Any]) -> dict[str, Any]:
    if node["decision_type"] != "<=":
        raise CannotExport("LightGBM with categorical columns; put a OneHotEncoder in front instead")
    if node["missing_type"] == "Zero":
        raise CannotExport("LightGBM with zero_as_missing; leave it out")
    return node


def _missing_left(node: dict[str, Any]) -> bool:
    """Where no value was missing in training, LightGBM takes a missing one for a zero."""
    return node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0.0
