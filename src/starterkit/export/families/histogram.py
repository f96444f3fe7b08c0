"""scikit-learn's histogram gradient boosting: it compares float64 values as they are, and takes missing ones."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from starterkit.export.families.family import CannotExport
from starterkit.export.families.trees import Scoring, TreeFamily, Trees

_EXPONENTIAL = ("gamma", "poisson")
_NO_CATEGORIES = np.zeros((0, 8), dtype=np.uint32)


class HistogramBoosting(TreeFamily):
    """`HistGradientBoostingRegressor` and `HistGradientBoostingClassifier`, without categorical features."""

    def takes(self, kind: type) -> bool:
        return kind in (HistGradientBoostingClassifier, HistGradientBoostingRegressor)

    def describe(self, estimator: Any) -> tuple[Trees, Scoring]:
        if estimator.is_categorical_ is not None:
            raise CannotExport(
                f"{type(estimator).__name__} with categorical_features; put a OneHotEncoder in front instead"
            )
        trees = [_binned_tree(one.nodes, place) for stage in estimator._predictors for place, one in enumerate(stage)]
        base = np.asarray(estimator._baseline_prediction, dtype=np.float64).ravel()
        if hasattr(estimator, "classes_"):
            return Trees.join(trees), Scoring(base=base, link="logistic" if len(base) == 1 else "softmax")
        link = "exponential" if estimator.loss in _EXPONENTIAL else "identity"
        return Trees.join(trees), Scoring(base=base, link=link)

    def leaves(self, estimator: Any, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        ends, start = [], 0
        for one in (one for stage in estimator._predictors for one in stage):
            # scikit-learn gives a leaf's value only: with its number for a value it gives the leaf.
            numbered = one.nodes.copy()
            numbered["value"] = np.arange(len(numbered))
            copy = type(one)(numbered, one.binned_left_cat_bitsets, one.raw_left_cat_bitsets)
            known = np.zeros(rows.shape[1], dtype=np.uint32)
            ends.append(copy.predict(rows, _NO_CATEGORIES, known, n_threads=1).astype(np.int64) + start)
            start += len(numbered)
        return np.column_stack(ends)


def _binned_tree(nodes: NDArray[Any], place: int) -> Trees:
    leaf = nodes["is_leaf"].astype(bool)
    return Trees(
        roots=np.array([0]),
        feature=np.where(leaf, -1, nodes["feature_idx"].astype(np.int64)),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        target=np.full(len(nodes), place),
        weight=nodes["value"].astype(np.float64),
    )
