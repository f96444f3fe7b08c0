"""Ensembles of decision trees with their own float64 thresholds, whatever library grew them.

skl2onnx writes thresholds as float32, so that a value near one may fall on the other side. Operator `TreeEnsemble` of
ai.onnx.ml 5 has float64 thresholds and leaves. See docs/decisions/0005-parity.md.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from starterkit.training.export.families.nodes import DOMAIN, Answer, CannotExport, Family, Nodes, Placed, attribute

Link = Literal["identity", "exponential", "squared", "logistic", "softmax", "apart", "votes"]
_MODES = {"at most": 0, "below": 1}  # BRANCH_LEQ, BRANCH_LT
_MEMBER = 6  # BRANCH_MEMBER


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
    narrow : whether leaves are summed in float32, one tree after the other.
    members : of nodes whose threshold is −∞: the whole numbers, categories, that go left; one at least.
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
    narrow: bool = False
    members: Mapping[int, NDArray[np.int64]] = field(default_factory=dict)

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
            members={
                node + int(start): some
                for one, start in zip(trees, starts, strict=True)
                for node, some in one.members.items()
            },
        )

    def holds(self, at: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each of n nodes sends its value left."""
        threshold = self.threshold[at]
        held = values <= threshold if self.comparison == "at most" else values < threshold
        if self.members:
            width = 1 + max(int(some.max()) for some in self.members.values())
            sorts = np.isin(at, list(self.members))
            known = np.concatenate([node * width + some for node, some in self.members.items()])
            inside = (values >= 0) & (values < width) & (values == np.floor(values))
            held = np.where(sorts, inside & np.isin(at * width + np.where(inside, values, 0), known), held)
        return held | (np.isnan(values) & self.missing_left[at])

    def leaf_numbers(self) -> "Trees":
        """The same trees with a score for each, which is the number of the leaf that the row ends in."""
        tree = np.searchsorted(self.roots, np.arange(len(self.feature)), side="right") - 1
        return replace(self, narrow=False, target=tree, weight=np.arange(len(self.feature), dtype=np.float64))

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
        kind = np.float32 if self.narrow else np.float64
        modes = np.full(len(inner) + len(alone), _MODES[self.comparison], dtype=np.uint8)
        sorts = sorted(self.members)
        modes[place[sorts]] = _MEMBER
        listed = [number for node in sorts for number in (*self.members[node], np.nan)]
        return {
            **{name: values.tolist() for name, values in numbers.items()},
            "nodes_splits": attribute("splits", both(self.threshold[inner], 0.0).astype(kind)),
            "nodes_modes": attribute("modes", modes),
            "leaf_weights": attribute("weights", self.weight[leaves].astype(kind)),
            "n_targets": scores,
            "aggregate_function": 1,  # sum
            "post_transform": 0,  # none
            **({"membership_values": attribute("members", np.array(listed, dtype=kind))} if listed else {}),
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

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        trees, scoring = self.describe(estimator)
        matrix = self.prepared(estimator, trees, nodes)
        nodes.canvas.placed.append(Placed(estimator, self, matrix))
        score = self.sums(estimator, trees, scoring, nodes, matrix)
        answered = classify if len(getattr(estimator, "classes_", ())) else regress
        return answered(nodes, scoring, score)

    def prepared(self, estimator: Any, trees: Trees, nodes: Nodes) -> str:
        """All columns as the trees see them, one float64 matrix."""
        return nodes.matrix()

    def inside(self, estimator: Any) -> Any:
        """An estimator that takes the prepared matrix and answers as this one does."""
        return estimator

    def sums(self, estimator: Any, trees: Trees, scoring: Scoring, nodes: Nodes, matrix: str) -> str:
        """The trees' sums over the rows of a matrix, with the base and divided, before the link."""
        if trees.narrow:
            base = [_constant(value, place, trees) for place, value in enumerate(scoring.base)]
            first = Trees.join([*base, trees])  # the library's sums begin with it
            single = nodes.add("Cast", matrix, to=TensorProto.FLOAT)
            return nodes.double(nodes.add("TreeEnsemble", single, domain=DOMAIN, **first.operator(len(scoring.base))))
        if trees.single:
            matrix = nodes.double(nodes.add("Cast", matrix, to=TensorProto.FLOAT))
        score = nodes.add("TreeEnsemble", matrix, domain=DOMAIN, **trees.operator(len(scoring.base)))
        if scoring.base.any():
            score = nodes.add("Add", score, nodes.row(scoring.base))
        return score if scoring.divisor == 1.0 else nodes.add("Div", score, nodes.number(scoring.divisor))


def _constant(value: float, place: int, like: Trees) -> Trees:
    """A tree of one leaf."""
    return replace(
        like,
        roots=np.array([0]),
        feature=np.array([-1]),
        threshold=np.zeros(1),
        left=np.zeros(1, dtype=np.int64),
        right=np.zeros(1, dtype=np.int64),
        missing_left=np.zeros(1, dtype=bool),
        target=np.array([place]),
        weight=np.array([value], dtype=np.float64),
        members={},
    )


def regress(nodes: Nodes, scoring: Scoring, score: str) -> Answer:
    """Values from n × 1 scores."""
    link = scoring.link
    if link == "squared":
        return Answer(values=nodes.add("Mul", score, nodes.add("Abs", score)))
    if link == "logistic":
        return Answer(values=nodes.sigmoid(score))
    return Answer(values=nodes.add("Exp", score) if link == "exponential" else score)


def classify(nodes: Nodes, scoring: Scoring, score: str) -> Answer:
    """Place and probabilities from n × k scores, or n × 1 where there are two classes."""
    binary = len(scoring.base) == 1
    shares = {"logistic": "Sigmoid", "apart": "Sigmoid", "softmax": "Softmax", "votes": ""}
    if scoring.link not in shares:
        raise CannotExport("its objective is a regression's, which gives classes no probabilities; leave objective out")
    share = shares[scoring.link]
    probability = nodes.add("Softmax", score, axis=1) if share == "Softmax" else score
    if share == "Sigmoid":
        probability = nodes.sigmoid(score)
    if binary:
        probability = nodes.both(probability)
    if binary and scoring.link == "logistic":
        # By the score and not by the probability, which is 0.5 for all scores that are nearly zero.
        chosen = nodes.beyond(score, also_at=scoring.second_at_zero)
    else:
        chosen = nodes.largest(probability if scoring.link in ("votes", "apart") else score)
    return Answer(place=chosen, probabilities=probability, scores="" if scoring.link in ("votes", "apart") else score)
