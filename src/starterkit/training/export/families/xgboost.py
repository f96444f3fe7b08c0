"""XGBoost's scikit-learn estimators. XGBoost rounds to float32 and sums its leaves in float32."""

import json
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from starterkit.training.export.families.family import CannotExport
from starterkit.training.export.families.trees import Link, Scoring, TreeFamily, Trees

_CLASSES = ("XGBClassifier", "XGBRegressor", "XGBRFClassifier", "XGBRFRegressor")
_LINKS: dict[str, Link] = {
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
        return kind.__name__ in _CLASSES and kind.__module__.startswith("xgboost.")

    def describe(self, estimator: Any) -> tuple[Trees, Scoring]:
        if not np.isnan(estimator.missing):
            raise CannotExport("XGBoost with missing other than NaN; leave it out, and give NaN for what is missing")
        if estimator.get_params().get("multi_strategy") == "multi_output_tree":
            raise CannotExport("XGBoost with multi_output_tree; leave out multi_strategy")
        learner = _learner(estimator)
        objective, booster = learner["objective"]["name"], learner["gradient_booster"]
        if booster["name"] != "gbtree":
            raise CannotExport(f"XGBoost with booster='{booster['name']}'; use booster='gbtree'")
        if objective not in _LINKS:
            raise CannotExport(f"XGBoost with objective='{objective}'; use one of {', '.join(_LINKS)}")
        link, model = _LINKS[objective], booster["model"]
        trees = [_trees(one, place) for one, place in zip(model["trees"], model["tree_info"], strict=True)]
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


def _trees(tree: dict[str, Any], place: int) -> Trees:
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
