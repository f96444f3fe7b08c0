"""The boosted trees of LightGBM and XGBoost, read from the fitted models' own descriptions."""

import json
import re
from collections.abc import Iterator
from copy import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from onnx import TensorProto

from starterkit.training.export.families.nodes import DOMAIN, Answer, CannotExport, Nodes, summed
from starterkit.training.export.families.trees import Link, Scoring, TreeFamily, Trees, classify, regress

_IN_FRONT = "put an OrdinalEncoder in front and "


def _where_sorted(trees: Trees, nodes: Nodes, whole: str, matrix: str) -> str:
    """Whole numbers in the columns of categories, the others as they are."""
    sorts = np.isin(np.arange(nodes.width), [trees.feature[node] for node in trees.members])
    return nodes.add("Where", nodes.constant(sorts[None, :]), whole, matrix)


# --- LightGBM's scikit-learn estimators. LightGBM compares float64 values and sums its leaves in float64.

_OTHERWISE = ("pred_early_stop",)
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
    "multiclassova": "apart",
}


class LightGBM(TreeFamily):
    """`LGBMRegressor` and `LGBMClassifier`."""

    def takes(self, kind: type) -> bool:
        return kind.__name__ in _LIGHTGBM_CLASSES and kind.__module__.startswith("lightgbm.")

    def describe(self, estimator: Any) -> tuple[Trees, Scoring]:
        for name in _OTHERWISE:
            if estimator.get_params().get(name):
                raise CannotExport(f"LightGBM with {name}; leave it out")
        model = estimator.booster_.dump_model()
        if model["pandas_categorical"]:
            raise CannotExport(f"its columns have pandas' category type; {_IN_FRONT}categorical_feature=[0, …]")
        objective, *details = model.get("objective", "custom").split()
        if objective not in _LIGHTGBM_LINKS or ("sqrt" in details and objective != "regression"):
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
        link = "squared" if "sqrt" in details else _LIGHTGBM_LINKS[objective]
        return Trees.join(trees), Scoring(base=np.zeros(scores), divisor=divisor, link=link)

    def prepared(self, estimator: Any, trees: Trees, nodes: Nodes) -> str:
        """It cuts off what a category has behind the point, of −0.5 too."""
        matrix = nodes.matrix()
        if not trees.members:
            return matrix
        whole = nodes.add("Mul", nodes.add("Sign", matrix), nodes.add("Floor", nodes.add("Abs", matrix)))
        return _where_sorted(trees, nodes, whole, matrix)

    def sums(self, estimator: Any, trees: Trees, scoring: Scoring, nodes: Nodes, matrix: str) -> str:
        if not estimator.get_params().get("linear_tree"):
            return super().sums(estimator, trees, scoring, nodes, matrix)
        model = estimator.booster_.dump_model()
        if scoring.divisor != 1.0 or "sigmoid:" in model["objective"].replace("sigmoid:1", ""):
            raise CannotExport("LightGBM's linear_tree with this boosting; leave it out")
        each = linear_leaves(model["tree_info"], trees, nodes, matrix)
        return nodes.join([summed(nodes, each[place :: len(scoring.base)]) for place in range(len(scoring.base))])

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
    members = {
        number: np.array(node["threshold"].split("||"), dtype=np.int64)
        for number, node in enumerate(inner)
        if node and node["decision_type"] == "=="
    }
    return Trees(
        roots=np.array([0]),
        feature=np.array([-1 if node is None else node["split_feature"] for node in inner]),
        threshold=_beyond_zero(np.array([0.0 if node is None else _threshold(node) for node in inner])),
        left=np.array([0 if node is None else place[id(node["left_child"])] for node in inner]),
        right=np.array([0 if node is None else place[id(node["right_child"])] for node in inner]),
        missing_left=np.array([node is not None and _missing_left(node) for node in inner]),
        target=np.full(len(nodes), target),
        weight=np.array([node.get("leaf_value", 0.0) for node in nodes]) * slope,
        members=members,
    )


def _threshold(node: dict[str, Any]) -> float:
    if node["decision_type"] == "==":
        return -np.inf
    # It writes an infinite one so.
    return node["threshold"] if abs(node["threshold"]) < 1e300 else float(np.copysign(np.inf, node["threshold"]))


def _beyond_zero(thresholds: NDArray[np.float64]) -> NDArray[np.float64]:
    """The same decisions for numbers that are not rounded to zero first."""
    below, above = (thresholds >= -_ZERO) & (thresholds < 0), (thresholds >= 0) & (thresholds < _ZERO)
    return np.where(below, np.nextafter(-_ZERO, -np.inf), np.where(above, _ZERO, thresholds))


def _split(node: dict[str, Any]) -> dict[str, Any]:
    if node["missing_type"] == "Zero":
        raise CannotExport("LightGBM with zero_as_missing; leave it out")
    return node


def _missing_left(node: dict[str, Any]) -> bool:
    """Where no value was missing in training, LightGBM takes a missing one for a zero. It is of no category."""
    if node["decision_type"] == "==":
        return False
    return node["default_left"] if node["missing_type"] == "NaN" else node["threshold"] >= 0.0


def linear_leaves(described: list[dict[str, Any]], trees: Trees, nodes: Nodes, matrix: str) -> list[str]:
    """Leaves that hold a line instead of a value; where one of its columns is missing, the leaf's value."""
    numbered = trees.leaf_numbers().operator(len(trees.roots))
    ends = nodes.add("Cast", nodes.add("TreeEnsemble", matrix, domain=DOMAIN, **numbered), to=TensorProto.INT64)
    gone = nodes.add("IsNaN", matrix)
    filled, lost = nodes.add("Where", gone, nodes.number(0.0), matrix), nodes.double(gone)
    values_of: list[str] = []
    start = 0
    for place, one in enumerate(described):
        found = list(_nodes(one["tree_structure"]))
        lines, values = np.zeros((len(found), nodes.width)), np.zeros((len(found), 2))
        for row, node in enumerate(found):
            if _is_leaf(node):
                lines[row, node.get("leaf_features", [])] = node.get("leaf_coeff", [])
                values[row] = node.get("leaf_const", node["leaf_value"]), node["leaf_value"]
        leaf = nodes.add("Sub", nodes.flat(nodes.pick(ends, [place])), nodes.constant(np.array(start)))
        line = nodes.add("Gather", nodes.constant(lines), leaf, axis=0)
        both = nodes.add("Gather", nodes.constant(values), leaf, axis=0)
        used = nodes.add("Gather", nodes.constant((lines != 0).astype(np.float64)), leaf, axis=0)
        lacks = nodes.add("Greater", nodes.total(nodes.add("Mul", used, lost)), nodes.number(0.0))
        risen = nodes.add("Add", nodes.total(nodes.add("Mul", line, filled)), nodes.pick(both, [0]))
        values_of.append(nodes.add("Where", lacks, nodes.pick(both, [1]), risen))
        start += len(found)
    return values_of


# --- XGBoost's scikit-learn estimators. XGBoost rounds to float32 and sums its leaves in float32.

_XGBOOST_CLASSES = ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor")
_XGBOOST_LINKS: dict[str, Link] = {
    "reg:squarederror": "identity",
    "reg:absoluteerror": "identity",
    "reg:pseudohubererror": "identity",
    "reg:quantileerror": "identity",
    "reg:squaredlogerror": "identity",
    "reg:logistic": "logistic",
    "reg:gamma": "exponential",
    "reg:tweedie": "exponential",
    "count:poisson": "exponential",
    "binary:logistic": "logistic",
    "multi:softmax": "softmax",
    "multi:softprob": "softmax",
}


class XGBoost(TreeFamily):
    """`XGBRegressor`, `XGBClassifier` and their forests."""

    def takes(self, kind: type) -> bool:
        return kind.__name__ in _XGBOOST_CLASSES and kind.__module__.startswith("xgboost.")

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        learner = _learner(estimator)
        if learner["gradient_booster"]["name"] != "gblinear":
            return super().answer(estimator, nodes)
        scoring, matrix = _xgboost_scoring(learner), self._marked(estimator, nodes)
        weights = np.array(learner["gradient_booster"]["model"]["weights"], dtype=np.float64)
        weights = weights.reshape(nodes.width + 1, -1)
        known = nodes.add("Where", nodes.add("IsNaN", matrix), nodes.number(0.0), matrix)
        # To every class it adds the first one's base score.
        score = nodes.linear(known, weights[:-1], weights[-1] + scoring.base[0])
        return classify(nodes, scoring, score) if hasattr(estimator, "classes_") else regress(nodes, scoring, score)

    def prepared(self, estimator: Any, trees: Trees, nodes: Nodes) -> str:
        """It cuts off what a category has behind the point, and knows no negative ones."""
        matrix = self._marked(estimator, nodes)
        if not trees.members:
            return matrix
        single = nodes.double(nodes.add("Cast", matrix, to=TensorProto.FLOAT))
        return _where_sorted(trees, nodes, nodes.add("Floor", single), matrix)

    def _marked(self, estimator: Any, nodes: Nodes) -> str:
        """Its mark for missing values becomes NaN."""
        matrix = nodes.matrix()
        if np.isnan(estimator.missing):
            return matrix
        mark = nodes.number(float(np.float32(estimator.missing)))
        single = nodes.double(nodes.add("Cast", matrix, to=TensorProto.FLOAT))
        return nodes.add("Where", nodes.add("Equal", single, mark), nodes.number(np.nan), matrix)

    def inside(self, estimator: Any) -> Any:
        within = copy(estimator)
        within.missing = np.nan
        return within

    def describe(self, estimator: Any) -> tuple[Trees, Scoring]:
        if estimator.get_params().get("multi_strategy") == "multi_output_tree":
            raise CannotExport("XGBoost with multi_output_tree; leave out multi_strategy")
        learner = _learner(estimator)
        booster = learner["gradient_booster"]
        model, drops = booster.get("gbtree", booster)["model"], booster.get("weight_drop", [])
        if model.get("cats", {}).get("enc"):
            raise CannotExport(f"its columns have pandas' category type; {_IN_FRONT}feature_types=['c', …]")
        trees = [_xgboost_trees(one, place) for one, place in zip(model["trees"], model["tree_info"], strict=True)]
        shares = np.array(drops or [1.0] * len(trees), dtype=np.float32)
        weighed = [
            replace(one, weight=(one.weight.astype(np.float32) * share).astype(np.float64))
            for one, share in zip(trees, shares, strict=True)
        ]
        return Trees.join(weighed), _xgboost_scoring(learner)

    def leaves(self, estimator: Any, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        booster = _learner(estimator)["gradient_booster"]
        counts = [len(one["left_children"]) for one in booster.get("gbtree", booster)["model"]["trees"]]
        names = estimator.get_booster().feature_names
        given: Any = rows if names is None else pd.DataFrame(rows, columns=names)
        ends = self.inside(estimator).apply(given).reshape(len(rows), len(counts))
        return ends.astype(np.int64) + np.cumsum([0, *counts[:-1]])


def _learner(estimator: Any) -> dict[str, Any]:
    """The fitted booster as JSON, with the trees that `predict` uses."""
    booster = estimator.get_booster()
    if getattr(estimator, "early_stopping_rounds", None) is not None:
        booster = booster[: booster.best_iteration + 1]
    return json.loads(booster.save_raw("json"))["learner"]


def _xgboost_scoring(learner: dict[str, Any]) -> Scoring:
    objective = learner["objective"]["name"]
    if objective not in _XGBOOST_LINKS:
        raise CannotExport(f"XGBoost with objective='{objective}'; use one of {', '.join(_XGBOOST_LINKS)}")
    scores = max(int(learner["learner_model_param"]["num_class"]), 1)
    base = _before_link(np.array(_numbers(learner["learner_model_param"]["base_score"])), _XGBOOST_LINKS[objective])
    return Scoring(base=np.broadcast_to(base, (scores,)).astype(np.float64), link=_XGBOOST_LINKS[objective])


def _xgboost_trees(tree: dict[str, Any], place: int) -> Trees:
    left, right = (np.array(tree[f"{side}_children"], dtype=np.int64) for side in ("left", "right"))
    sorts, missing_left = np.array(tree["split_type"], dtype=bool), np.array(tree["default_left"], dtype=bool)
    segments = zip(tree["categories_nodes"], tree["categories_segments"], tree["categories_sizes"], strict=True)
    members = {node: np.array(tree["categories"][start : start + size]) for node, start, size in segments if size}
    # Written as the shortest decimal that is the float32 again.
    conditions = np.array(tree["split_conditions"], dtype=np.float32).astype(np.float64)
    return Trees(
        roots=np.array([0]),
        feature=np.where(left < 0, -1, np.array(tree["split_indices"], dtype=np.int64)),
        threshold=np.where(sorts, -np.inf, conditions),
        left=np.where(sorts, right, left),  # its categories go right
        right=np.where(sorts, left, right),
        missing_left=missing_left ^ sorts,
        target=np.full(len(left), place),
        weight=conditions,  # of a leaf it is the value
        comparison="below",
        single=True,
        narrow=True,
        members=members,
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
