"""scikit-learn's own trees, forests, gradient boosting and logistic regression."""

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor

from starterkit.training.export.families.nodes import CannotExport, Nodes, is_a
from starterkit.training.export.families.trees import Scoring, TreeFamily, Trees

# --- scikit-learn's histogram gradient boosting: it compares float64 values as they are, and takes missing ones.

_EXPONENTIAL = ("gamma", "poisson")


class HistogramBoosting(TreeFamily):
    """`HistGradientBoostingRegressor` and `HistGradientBoostingClassifier`.

    Columns of categories are numbered by an encoder of its own and stand first; an unknown one is a missing one.
    """

    def takes(self, kind: type) -> bool:
        return kind in (HistGradientBoostingClassifier, HistGradientBoostingRegressor)

    def describe(self, estimator: Any) -> tuple[Trees, Scoring]:
        trees = [_binned_tree(one, place) for stage in estimator._predictors for place, one in enumerate(stage)]
        base = np.asarray(estimator._baseline_prediction, dtype=np.float64).ravel()
        if hasattr(estimator, "classes_"):
            return Trees.join(trees), Scoring(base=base, link="logistic" if len(base) == 1 else "softmax")
        link = "exponential" if estimator.loss in _EXPONENTIAL else "identity"
        return Trees.join(trees), Scoring(base=base, link=link)

    def prepared(self, estimator: Any, trees: Trees, nodes: Nodes) -> str:
        if estimator.is_categorical_ is None:
            return nodes.matrix()
        sorts = np.asarray(estimator.is_categorical_)
        encoder = estimator._preprocessor.named_transformers_["encoder"]
        numbered = nodes.turn(encoder, nodes.select(np.flatnonzero(sorts).tolist()))
        return Nodes(nodes.canvas, [*numbered, *nodes.select(np.flatnonzero(~sorts).tolist())]).matrix()

    def inside(self, estimator: Any) -> Any:
        if estimator.is_categorical_ is None:
            return estimator
        within = copy(estimator)
        within._preprocessor = None
        vars(within).pop("feature_names_in_", None)  # its columns stand in another order
        return within

    def leaves(self, estimator: Any, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        ends, start, known = [], 0, estimator._bin_mapper.make_known_categories_bitsets()
        for one in (one for stage in estimator._predictors for one in stage):
            # scikit-learn gives a leaf's value only: with its number for a value it gives the leaf.
            numbered = one.nodes.copy()
            numbered["value"] = np.arange(len(numbered))
            counting = type(one)(numbered, one.binned_left_cat_bitsets, one.raw_left_cat_bitsets)
            ends.append(counting.predict(rows, *known, n_threads=1).astype(np.int64) + start)
            start += len(numbered)
        return np.column_stack(ends)


def _binned_tree(tree: Any, place: int) -> Trees:
    nodes = tree.nodes
    leaf = nodes["is_leaf"].astype(bool)
    sorts = nodes["is_categorical"].astype(bool) & ~leaf
    bits = np.unpackbits(tree.raw_left_cat_bitsets.astype("<u4").view(np.uint8), axis=1, bitorder="little")
    sets = {int(node): np.flatnonzero(bits[nodes["bitset_idx"][node]]) for node in np.flatnonzero(sorts)}
    return Trees(
        roots=np.array([0]),
        feature=np.where(leaf, -1, nodes["feature_idx"].astype(np.int64)),
        threshold=np.where(sorts, -np.inf, nodes["num_threshold"].astype(np.float64)),
        left=nodes["left"].astype(np.int64),
        right=nodes["right"].astype(np.int64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        target=np.full(len(nodes), place),
        weight=nodes["value"].astype(np.float64),
        members={node: some for node, some in sets.items() if len(some)},
    )


# --- scikit-learn's own trees, forests and gradient boosting.

_TREES = (DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor)
_FORESTS = (ExtraTreesClassifier, ExtraTreesRegressor, RandomForestClassifier, RandomForestRegressor)


class Forests(TreeFamily):
    """A decision tree, or several whose answers are averaged. They round to float32 and take missing values."""

    def takes(self, kind: type) -> bool:
        return kind in _TREES + _FORESTS

    def describe(self, estimator: Any) -> tuple[Trees, Scoring]:
        grown = [one.tree_ for one in _members(estimator)]
        classes = len(getattr(estimator, "classes_", ()))
        if classes == 1:
            raise CannotExport("a classifier that was fitted with one class; give it rows of two")
        scoring = Scoring(
            base=np.zeros(1 if classes <= 2 else classes),
            divisor=float(len(grown)),
            link="votes" if classes else "identity",
        )
        return Trees.join([layer for tree in grown for layer in _layers(tree, classes)]), scoring

    def leaves(self, estimator: Any, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        classes = len(getattr(estimator, "classes_", ()))
        ends, start, single = [], 0, rows.astype(np.float32)
        for one in _members(estimator):
            for _ in _layers(one.tree_, classes):
                ends.append(one.tree_.apply(single) + start)
                start += one.tree_.node_count
        return np.column_stack(ends)


class Boosting(TreeFamily):
    """`GradientBoostingRegressor` and `GradientBoostingClassifier`. They round to float32."""

    def takes(self, kind: type) -> bool:
        return kind in (GradientBoostingClassifier, GradientBoostingRegressor)

    def describe(self, estimator: Any) -> tuple[Trees, Scoring]:
        stages = estimator.estimators_
        rate, scores = estimator.learning_rate, stages.shape[1]
        # AdaBoost's loss: its probability is that of twice the score.
        twice = 2.0 if getattr(estimator, "loss", "") == "exponential" else 1.0
        trees = Trees.join(
            [
                _trees(one.tree_, np.full(one.tree_.node_count, place), one.tree_.value[:, 0, 0] * rate * twice)
                for stage in stages
                for place, one in enumerate(stage)
            ]
        )
        link = "identity" if not hasattr(estimator, "classes_") else "logistic" if scores == 1 else "softmax"
        return trees, Scoring(base=_start(estimator) * twice, link=link, second_at_zero=True)

    def leaves(self, estimator: Any, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        grown, single = estimator.estimators_.ravel(), rows.astype(np.float32)
        starts = np.cumsum([0, *(one.tree_.node_count for one in grown[:-1])])
        return np.column_stack([one.tree_.apply(single) for one in grown]) + starts


def _members(estimator: Any) -> Sequence[Any]:
    return estimator.estimators_ if is_a(estimator, _FORESTS) else [estimator]


def _start(estimator: Any) -> NDArray[np.float64]:
    """The scores before the first tree, which are the same for every row unless `init` is a model."""
    if not isinstance(estimator.init_, str | DummyClassifier | DummyRegressor):
        raise CannotExport(f"gradient boosting that starts from a {type(estimator.init_).__name__}; leave out init")
    return estimator._raw_predict_init(np.zeros((1, estimator.n_features_in_), dtype=np.float32))[0].astype(np.float64)


def _layers(tree: Any, classes: int) -> list[Trees]:
    """A leaf of `TreeEnsemble` adds to one score; so a tree whose leaves know several classes is written repeatedly.

    Each layer holds the next class of each leaf. Leaves of a tree grown to the end know one class: one layer.
    """
    values = tree.value[:, 0, :]
    if classes <= 2:
        return [_trees(tree, np.zeros(len(values), dtype=np.int64), values[:, -1])]
    order = np.argsort(values == 0, axis=1, kind="stable")  # the classes that a node knows, first
    rows = np.arange(len(values))
    known = int((values[tree.children_left < 0] != 0).sum(axis=1).max())
    return [_trees(tree, order[:, layer], values[rows, order[:, layer]]) for layer in range(known)]


def _trees(tree: Any, target: NDArray[np.int64], weight: NDArray[np.float64]) -> Trees:
    return Trees(
        roots=np.array([0]),
        feature=np.where(tree.children_left < 0, -1, tree.feature),
        threshold=tree.threshold,
        left=tree.children_left,
        right=tree.children_right,
        missing_left=tree.missing_go_to_left.astype(bool),
        target=target,
        weight=weight,
        single=True,
    )
