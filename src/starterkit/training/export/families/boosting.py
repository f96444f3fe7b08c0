"""The boosted trees of LightGBM and XGBoost, read from the fitted models' own descriptions."""

import json
import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.training.export.families.nodes import CannotExport
from starterkit.training.export.families.trees import Link, Scoring, TreeFamily, Trees

# --- LightGBM's scikit-learn estimators. LightGBM compares float64 values and sums its leaves in float64.

_OTHERWISE = ("linear_tree", "pred_early_stop")
"""Parameters with which a row's answer is more than a sum of leaves."""

_ZERO = float(np.float32(1e-35))
"""LightGBM takes a number that is not further from zero for zero."""

_LIGHTGBM_CLASSES = ("LGBMClassifier", "LGBMRegressor")
_LIGHTGBM_LINKS: dict[str, Link] = {
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
        return kind.__name__ in _LIGHTGBM_CLASSES and kind.__module__.startswith("lightgbm.")

    def describe(self, estimator: Any) -> tuple[Trees, Scoring]:
        for name in _OTHERWISE:
            if estimator.get_params().get(name):
                raise CannotExport(f"LightGBM with {name}; leave it out")
        model = estimator.booster_.dump_model()
        objective, *details = model.get("objective", "custom").split()
        if objective not in _LIGHTGBM_LINKS or "sqrt" in details:
            raise CannotExport(
                f"LightGBM with objective='{' '.join([objective, *details])}'; use {', '.join(_LIGHTGBM_LINKS)}"
            )
        scores = model["num_tree_per_iteration"]
        slope = next((float(one.split(":")[1]) for one in details if re.match(r"sigmoid:", one)), 1.0)
        trees = [
            _lightgbm_trees(one["tree_structure"], place % scores, slope)
            for place, one in enumerate(model["tree_info"])
        ]
        divisor = len(trees) / scores if model["average_output"] else 1.0
        return Trees.join(trees), Scoring(base=np.zeros(scores), divisor=divisor, link=_LIGHTGBM_LINKS[objective])

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


def _lightgbm_trees(root: dict[str, Any], target: int, slope: float) -> Trees:
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


# --- XGBoost's scikit-learn estimators. XGBoost rounds to float32 and sums its leaves in float32.

_XGBOOST_CLASSES = ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor")
_XGBOOST_LINKS: dict[str, Link] = {
    "reg:squarederror": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:logistic": "logistic",
    "reg:gamma": "exponential",
    "reg:tweedie": "exponential",
    "count:poisson": "exponential",
    "binary:logistic": "logistic",
    "multi:softprob": "softmax",
}


class XGBoost(TreeFamily):
    """`XGBRegressor`, `XGBClassifier` and their forests, with numeric columns."""

    def takes(self, kind: type) -> bool:
        return kind.__name__ in _XGBOOST_CLASSES and kind.__module__.startswith("xgboost.")

    def describe(self, estimator: Any) -> tuple[Trees, Scoring]:
        if not np.isnan(estimator.missing):
            raise CannotExport("XGBoost with missing other than NaN; leave it out, and give NaN for what is missing")
        if estimator.get_params().get("multi_strategy") == "multi_output_tree":
            raise CannotExport("XGBoost with multi_output_tree; leave out multi_strategy")
        learner = _learner(estimator)
        objective, booster = learner["objective"]["name"], learner["gradient_booster"]
        if booster["name"] != "gbtree":
            raise CannotExport(f"XGBoost with booster='{booster['name']}'; use booster='gbtree'")
        if objective not in _XGBOOST_LINKS:
            raise CannotExport(f"XGBoost with objective='{objective}'; use one of {', '.join(_XGBOOST_LINKS)}")
        link, model = _XGBOOST_LINKS[objective], booster["model"]
        trees = [_xgboost_trees(one, place) for one, place in zip(model["trees"], model["tree_info"], strict=True)]
        scores = max(int(learner["learner_model_param"]["num_class"]), 1)
        base = _before_link(np.array(_numbers(learner["learner_model_param"]["base_score"])), link)
        return Trees.join(trees), Scoring(base=np.broadcast_to(base, (scores,)).astype(np.float64), link=link)

    def leaves(self, estimator: Any, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        counts = [len(one["left_children"]) for one in _learner(estimator)["gradient_booster"]["model"]["trees"]]
        names = estimator.get_booster().feature_names
        given: Any = rows if names is None else pd.DataFrame(rows, columns=names)
        ends = estimator.apply(given).reshape(len(rows), len(counts))
        return ends.astype(np.int64) + np.cumsum([0, *counts[:-1]])


def _learner(estimator: Any) -> dict[str, Any]:
    """The fitted booster as JSON, with the trees that `predict` uses."""
    booster = estimator.get_booster()
    if getattr(estimator, "early_stopping_rounds", None) is not None:
        booster = booster[: booster.best_iteration + 1]
    return json.loads(booster.save_raw("json"))["learner"]


def _xgboost_trees(tree: dict[str, Any], place: int) -> Trees:
    if any(tree["split_type"]):
        raise CannotExport("XGBoost with categorical columns; put a OneHotEncoder in front instead")
    left = np.array(tree["left_children"], dtype=np.int64)
    # Written as the shortest decimal that is the float32 again.
    conditions = np.array(tree["split_conditions"], dtype=np.float32).astype(np.float64)
    return Trees(
        roots=np.array([0]),
        feature=np.where(left < 0, -1, np.array(tree["split_indices"], dtype=np.int64)),
        threshold=conditions,
        left=left,
        right=np.array(tree["right_children"], dtype=np.int64),
        missing_left=np.array(tree["default_left"], dtype=bool),
        target=np.full(len(left), place),
        weight=conditions,  # of a leaf it is the value
        comparison="below",
        single=True,
    )


def _numbers(text: str) -> list[float]:
    """One number, or from version 3.1 on a list of one a score."""
    found = json.loads(text)
    return [float(one) for one in found] if isinstance(found, list) else [float(found)]


def _before_link(base: NDArray[np.float64], link: Link) -> NDArray[np.float64]:
    """The base score is kept as an answer; here it is turned into a score."""
    if link == "logistic":
        return np.log(base / (1 - base))
    return np.log(base) if link == "exponential" else base
