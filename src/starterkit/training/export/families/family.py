"""The seam between an estimator and the graph: one small class a family."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np

from starterkit.training.export.families.nodes import Answer, Block, CannotExport, Nodes, labels_of


class Family(ABC):
    """How one kind of estimator becomes part of a graph.

    Another library, or a class of one's own, needs one such class, made known under the entry point group
    ``starterkit.families``. It has `takes` and `convert`. The kit's own have `answer` or `turn` instead, where they
    have more to say.
    """

    @abstractmethod
    def takes(self, kind: type) -> bool:
        """Whether estimators of this class are of the family. It imports no library that is not there yet."""

    def convert(self, estimator: Any, nodes: Nodes, gives: Sequence[str]) -> None:
        """Add the nodes whose results are named `gives`.

        One for a regressor, n × 1, or for a transformer, n × its columns; n labels and n × k probabilities for a
        classifier.

        Raises
        ------
        CannotExport
            The estimator was fitted in a way that a graph cannot follow.
        """
        raise CannotExport(
            "it has no graph in this place; a predictor stands at a pipeline's end, a transformer before"
        )

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        """Add the nodes of a predictor."""
        if not hasattr(estimator, "predict"):
            raise CannotExport("it predicts nothing; put a regressor or a classifier behind it")
        if not hasattr(estimator, "classes_"):
            values = nodes.canvas.name("values")
            self.convert(estimator, nodes, [values])
            return Answer(values=values)
        label, probabilities = nodes.canvas.name("label"), nodes.canvas.name("probabilities")
        self.convert(estimator, nodes, [label, probabilities])
        known = labels_of(np.asarray(estimator.classes_))
        kind = "strings" if known.dtype.kind == "U" else "int64s"
        keys: dict[str, Any] = {f"keys_{kind}": known.tolist(), "values_int64s": [*range(len(known))]}
        if kind == "int64s":  # onnxruntime's operator wants texts on one side
            equal = nodes.add("Equal", nodes.upright(label), nodes.constant(known.reshape(1, -1)))
            return Answer(place=nodes.largest(nodes.double(equal)), probabilities=probabilities)
        return Answer(place=nodes.add("LabelEncoder", label, domain="ai.onnx.ml", **keys), probabilities=probabilities)

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        """Add the nodes of a transformer; what it makes comes back."""
        if not hasattr(estimator, "transform"):
            raise CannotExport("it transforms nothing; put it at the end of the pipeline")
        made = nodes.canvas.name("columns")
        self.convert(estimator, nodes, [made])
        return [Block(made, columns_of(estimator, nodes.width))]


def columns_of(estimator: Any, taken: int) -> int:
    """How many columns a fitted transformer makes of so many."""
    try:
        return len(estimator.get_feature_names_out())
    except (AttributeError, ValueError, TypeError):
        return taken
