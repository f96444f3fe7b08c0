"""Ensembles of decision trees with their own float64 thresholds, whatever library grew them.

skl2onnx writes thresholds as float32, so that a value near one may fall on the other side. Operator `TreeEnsemble` of
ai.onnx.ml 5 has float64 thresholds and leaves. See docs/decisions/0005-parity.md.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from starterkit.training.export.families.family import Family, Nodes, attribute, labels_of

DOMAIN, VERSION = "ai.onnx.ml", 5
_SAID = 3  # skl2onnx knows versions up to 3; `conversion` raises the graph to 5 when it is done

Link = Literal["identity", "exponential", "logistic", "softmax", "votes"]
_MODES = {"at most": 0, "below": 1}  # BRANCH_LEQ, BRANCH_LT


@dataclass(frozen=True, kw_only=True)
class Trees:
    """m nodes of t trees, one tree behind the other. A row ends in one leaf of each tree, and the leaves are summed.

    Attributes
    ----------
    roots : t node numbers.
    feature : m column numbers, −1 for a leaf.
    threshold : m float64 values with which the column is compared.
    left, right : m node numbers: where the comparison holds, and where not.
    missing_left : m booleans: whether a missing value counts as held.
    target, weight : m score numbers and float64 values: to which score a leaf adds how much.
    comparison : the column is "at most" or "below" the threshold.
    single : whether columns are rounded to float32 before they are compared.
    """

    roots: NDArray[np.int64]
    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    missing_left: NDArray[np.bool_]
    target: NDArray[np.int64]
    weight: NDArray[np.float64]
    comparison: Literal["at most", "below"] = "at most"
    single: bool = False

    @classmethod
    def join(cls, trees: Sequence["Trees"]) -> "Trees":
        """Several ensembles of the same kind as one."""
        starts = np.cumsum([0, *(len(one.feature) for one in trees[:-1])])

        def joined(name: str, shifted: bool = False) -> NDArray[Any]:
            offsets = starts if shifted else np.zeros_like(starts)
            return np.concatenate([getattr(one, name) + start for one, start in zip(trees, offsets, strict=True)])

        return replace(
            trees[0],
            roots=joined("roots", shifted=True),
            feature=joined("feature"),
            threshold=joined("threshold"),
            left=joined("left", shifted=True),
            right=joined("right", shifted=True),
            missing_left=joined("missing_left").astype(bool),
            target=joined("target"),
            weight=joined("weight"),
        )

    def leaf_numbers(self) -> "Trees":
        """The same trees with a score for each, which is the number of the leaf that the row ends in."""
        tree = np.searchsorted(self.roots, np.arange(len(self.feature)), side="right") - 1
        return replace(self, target=tree, weight=np.arange(len(self.feature), dtype=np.float64))

    def operator(self, scores: int) -> dict[str, Any]:
        """The attributes of a `TreeEnsemble` node that gives n × `scores` sums."""
        leaf = self.feature < 0
        inner, leaves = np.flatnonzero(~leaf), np.flatnonzero(leaf)
        place = np.where(leaf, np.cumsum(leaf), np.cumsum(~leaf)) - 1
        alone = self.roots[leaf[self.roots]]  # a root that is a leaf gets a node in front, both ways to it
        front = len(inner) + np.arange(len(alone))
        roots = place[self.roots]
        roots[leaf[self.roots]] = front

        def both(of_inner: NDArray[Any], of_alone: Any) -> NDArray[Any]:
            return np.concatenate([of_inner, np.full(len(alone), of_alone, dtype=of_inner.dtype)])

        left, right = self.left[inner], self.right[inner]
        numbers = {
            "tree_roots": roots,
            "nodes_featureids": both(self.feature[inner], 0),
            "nodes_truenodeids": np.concatenate([place[left], place[alone]]),
            "nodes_trueleafs": both(leaf[left].astype(np.int64), 1),
            "nodes_falsenodeids": np.concatenate([place[right], place[alone]]),
            "nodes_falseleafs": both(leaf[right].astype(np.int64), 1),
            "nodes_missing_value_tracks_true": both(self.missing_left[inner].astype(np.int64), 0),
            "leaf_targetids": self.target[leaves],
        }
        modes = np.full(len(inner) + len(alone), _MODES[self.comparison], dtype=np.uint8)
        return {
            **{name: values.tolist() for name, values in numbers.items()},
            "nodes_splits": attribute("splits", both(self.threshold[inner], 0.0)),
            "nodes_modes": attribute("modes", modes),
            "leaf_weights": attribute("weights", self.weight[leaves]),
            "n_targets": scores,
            "aggregate_function": 1,  # sum
            "post_transform": 0,  # none
        }


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """From the trees' sums to the answer: (sum + base) / divisor, then the link.

    `base` holds one value a score. `votes` are shares of the classes; with two classes the second one's share alone.
    `second_at_zero`: which of two classes a score of exactly zero means.
    """

    base: NDArray[np.float64]
    divisor: float = 1.0
    link: Link = "identity"
    second_at_zero: bool = False


class TreeFamily(Family):
    """Ensembles of trees: a family only has to say what its trees are, and to find a row's leaves by itself."""

    @abstractmethod
    def describe(self, estimator: Any) -> tuple[Trees, Scoring]:
        """The fitted trees, and what is done with their sums."""

    @abstractmethod
    def leaves(self, estimator: Any, rows: NDArray[np.float64]) -> NDArray[np.int64]:
        """The library's own word: in which node of each tree (n × t) each of n rows of the trees' input ends."""

    def convert(self, estimator: Any, nodes: Nodes, gives: Sequence[str]) -> None:
        matrix = nodes.matrix()
        trees, scoring = self.describe(estimator)
        if trees.single:
            matrix = nodes.add("Cast", nodes.add("Cast", matrix, to=TensorProto.FLOAT), to=TensorProto.DOUBLE)
        sums = nodes.add("TreeEnsemble", matrix, domain=DOMAIN, version=_SAID, **trees.operator(len(scoring.base)))
        score = nodes.add("Add", sums, nodes.constant(scoring.base[None, :]), version=14)
        if scoring.divisor != 1.0:
            score = nodes.add("Div", score, nodes.constant(np.array([scoring.divisor])), version=14)
        if len(gives) == 1:
            _regress(nodes, scoring.link, score, gives[0])
        else:
            classify(nodes, scoring, score, labels_of(np.asarray(estimator.classes_)), gives)


def _regress(nodes: Nodes, link: Link, score: str, gives: str) -> None:
    operators: dict[Link, str] = {"identity": "Identity", "exponential": "Exp", "logistic": "Sigmoid"}
    nodes.add(operators[link], score, gives=gives)


def classify(nodes: Nodes, scoring: Scoring, score: str, labels: NDArray[Any], gives: Sequence[str]) -> None:
    """Label and probabilities from n × k scores, or n × 1 where there are two classes."""
    binary = len(scoring.base) == 1
    share = {"logistic": "Sigmoid", "softmax": "Softmax", "votes": "Identity"}[scoring.link]
    probability = nodes.add(share, score, axis=1) if share == "Softmax" else nodes.add(share, score)
    if binary:
        other = nodes.add("Sub", nodes.constant(np.array([1.0])), probability, version=14)
        probability = nodes.add("Concat", other, probability, axis=1)
    nodes.add("Identity", probability, gives=gives[1])
    if binary and scoring.link == "logistic":
        # By the score and not by the probability, which is 0.5 for all scores that are nearly zero.
        beyond = "GreaterOrEqual" if scoring.second_at_zero else "Greater"
        chosen = nodes.add(beyond, score, nodes.constant(np.array([0.0])), version=16 if scoring.second_at_zero else 13)
        chosen = nodes.add("Reshape", nodes.add("Cast", chosen, to=TensorProto.INT64), nodes.constant(np.array([-1])))
    else:
        ranked = probability if scoring.link == "votes" else score
        chosen = nodes.add("ArgMax", ranked, axis=1, keepdims=0)
    nodes.add("Gather", nodes.constant(labels), chosen, gives=gives[0], axis=0)
