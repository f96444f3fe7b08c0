"""The boosted trees of CatBoost, read from the fitted model's own JSON.

It rounds columns to float32 and sums leaves in float64. Its own ONNX rounds these, and answers a Poisson loss with the
logarithm.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.training.export.families.nodes import CannotExport
from starterkit.training.export.families.trees import Link, Scoring, TreeFamily, Trees

_CLASSES = ("CatBoostClassifier", "CatBoostRegressor")
_LINKS: dict[str, Link] = {
    "RMSE": "identity",
    "MAE": "identity",
    "Quantile": "identity",
    "MAPE": "identity",
    "Huber": "identity",
    "LogCosh": "identity",
    "Lq": "identity",
    "Expectile": "identity",
    "Poisson": "exponential",
    "Tweedie": "exponential",
    "Logloss": "logistic",
    "CrossEntropy": "logistic",
    "MultiClass": "softmax",
    "MultiClassOneVsAll": "apart",
}


class CatBoost(TreeFamily):
    """`CatBoostRegressor` and `CatBoostClassifier`, with numeric columns."""

    def takes(self, kind: type) -> bool:
        return kind.__name__ in _CLASSES and kind.__module__.startswith("catboost.")

    def describe(self, estimator: Any) -> tuple[Trees, Scoring]:
        model = _described(estimator)
        loss = model["model_info"]["params"]["loss_function"]["type"]
        if loss not in _LINKS:
            raise CannotExport(f"CatBoost with loss_function='{loss}'; use one of {', '.join(_LINKS)}")
        if len(estimator.classes_) == 2 and estimator.get_probability_threshold() != 0.5:
            raise CannotExport("CatBoost with a probability threshold; use FixedThresholdClassifier around it")
        scale, bias = model["scale_and_bias"]
        missing_left = np.array(
            [one["nan_value_treatment"] != "AsTrue" for one in model["features_info"]["float_features"]]
        )
        trees = [_tree(one, place, scale, missing_left) for one in _grown(model) for place in range(len(bias))]
        return Trees.join(trees), Scoring(base=np.array(bias, dtype=np.float64), link=_LINKS[loss])

    def leaves(self, estimator: Any, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        model = _described(estimator)
        ends = estimator.calc_leaf_indexes(pd.DataFrame(rows, columns=estimator.feature_names_))
        numbers, start = [], 0
        for tree, found in zip(_grown(model), ends.T, strict=True):
            nodes = _in_order(tree)
            place = {node["leaf"]: number for number, node in enumerate(nodes) if "leaf" in node}
            lookup = np.array([place[leaf] for leaf in range(len(place))])
            for _ in model["scale_and_bias"][1]:
                numbers.append(lookup[found.astype(np.int64)] + start)
                start += len(nodes)
        return np.column_stack(numbers)


def _described(estimator: Any) -> dict[str, Any]:
    with TemporaryDirectory() as folder:
        file = Path(folder, "model.json")
        estimator.save_model(str(file), format="json")
        model = json.loads(file.read_text("utf-8"))
    if not model["features_info"].keys() <= {"float_features"}:
        raise CannotExport("CatBoost with cat_features; put a TargetEncoder or a OneHotEncoder in front instead")
    return model


def _grown(model: dict[str, Any]) -> list[dict[str, Any]]:
    """Its trees as nodes within nodes. Most are oblivious: all nodes of a level have one split, a bit of the leaf."""
    if "trees" in model:
        return [_numbered(tree, [0]) for tree in model["trees"]]
    return [_unfolded(one["splits"], np.reshape(one["leaf_values"], (2 ** len(one["splits"]), -1)), 0, 0)
            for one in model["oblivious_trees"]]  # fmt: skip


def _numbered(node: dict[str, Any], count: list[int]) -> dict[str, Any]:
    """A leaf right under a node is counted before those further down."""
    if "split" in node:
        leaves_first = sorted(("left", "right"), key=lambda way: "split" in node[way])
        ways = {way: _numbered(node[way], count) for way in leaves_first}
        return {"split": node["split"], "ways": [ways["left"], ways["right"]]}
    count[0] += 1
    return {"leaf": count[0] - 1, "value": np.atleast_1d(node["value"])}


def _unfolded(splits: Sequence[Any], values: NDArray[Any], level: int, leaf: int) -> dict[str, Any]:
    if level == len(splits):
        return {"leaf": leaf, "value": values[leaf]}
    ways = [_unfolded(splits, values, level + 1, leaf + (bit << level)) for bit in (0, 1)]
    return {"split": splits[level], "ways": ways}


def _in_order(tree: dict[str, Any]) -> list[dict[str, Any]]:
    """A tree's nodes, each before those under it."""
    found, waiting = [], [tree]
    while waiting:
        found.append(waiting.pop())
        waiting += found[-1].get("ways", [])[::-1]
    return found


def _tree(tree: dict[str, Any], place: int, scale: float, missing_left: NDArray[np.bool_]) -> Trees:
    nodes = _in_order(tree)
    number = {id(node): at for at, node in enumerate(nodes)}
    feature = np.array([node["split"]["float_feature_index"] if "split" in node else -1 for node in nodes])
    borders = [node["split"]["border"] if "split" in node else 0.0 for node in nodes]
    left, right = (
        np.array([number[id(node["ways"][way])] if "split" in node else 0 for node in nodes]) for way in (0, 1)
    )
    return Trees(
        roots=np.array([0]),
        feature=feature,
        threshold=np.array(borders, dtype=np.float32).astype(np.float64),
        left=left,
        right=right,
        missing_left=missing_left[feature] & (feature >= 0),
        target=np.full(len(nodes), place),
        weight=np.array([float(node["value"][place]) * scale if "leaf" in node else 0.0 for node in nodes]),
        single=True,
    )
