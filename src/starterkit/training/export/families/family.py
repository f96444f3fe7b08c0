"""The seam for estimators that skl2onnx converts wrongly, or not at all: one small class a family."""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, numpy_helper
from skl2onnx.common.data_types import DoubleTensorType, Int64TensorType, StringTensorType
from skl2onnx.operator_converters.common import concatenate_variables


class CannotExport(Exception):
    """An estimator was fitted in a way that no graph can follow. After a semicolon the message has the hint."""


class Nodes:
    """Adds nodes to the graph that is being made, and gives each result a name of its own."""

    def __init__(self, scope: Any, operator: Any, container: Any) -> None:
        self._scope = scope
        self._operator = operator
        self._container = container
        self.taken = ""
        """The name of `matrix`, once it is there."""

    def add(
        self, kind: str, *taken: str, gives: str | None = None, domain: str = "", version: int = 13, **attributes: Any
    ) -> str:
        """A node of operator set `version`; the name of its one result comes back."""
        name = gives or self._scope.get_unique_variable_name(f"kit_{kind}")
        self._container.add_node(
            kind,
            list(taken),
            name,
            op_domain=domain,
            op_version=version,
            name=self._scope.get_unique_operator_name(f"kit_{kind}"),
            **attributes,
        )
        return name

    def constant(self, values: NDArray[Any]) -> str:
        """Fixed values: float64, int64 or texts."""
        name = self._scope.get_unique_variable_name("kit_constant")
        kind = TensorProto.STRING if values.dtype.kind in "OU" else onnx.helper.np_dtype_to_tensor_dtype(values.dtype)
        self._container.add_initializer(name, kind, list(values.shape), values.ravel().tolist())
        return name

    @property
    def texts(self) -> bool:
        """Whether the operator takes texts."""
        return isinstance(self._operator.inputs[0].type, StringTensorType)

    def columns(self) -> Iterator[tuple[str, bool]]:
        """What the operator takes, one n × 1 column after the other, and whether it holds texts."""
        for given in self._operator.inputs:
            is_text = isinstance(given.type, StringTensorType)
            if given.type.shape[1] == 1:
                yield given.full_name, is_text
                continue
            for place in range(given.type.shape[1]):
                yield self.add("Gather", given.full_name, self.constant(np.array([place])), axis=1), is_text

    def inputs(self) -> str:
        """What the operator takes, as one matrix of their common type."""
        return str(concatenate_variables(self._scope, self._operator.inputs, self._container))

    def matrix(self) -> str:
        """What the operator takes, as one float64 matrix."""
        self.taken = self.add("Cast", self.inputs(), to=TensorProto.DOUBLE)
        return self.taken


class Family(ABC):
    """How one kind of estimator becomes part of a graph.

    Another library needs one such class, made known under the entry point group ``starterkit.families``.
    """

    answers = True
    """Whether its estimators predict. Others transform columns."""

    @abstractmethod
    def takes(self, kind: type) -> bool:
        """Whether estimators of this class are of the family. It imports no library that is not there yet."""

    @abstractmethod
    def convert(self, estimator: Any, nodes: Nodes, gives: Sequence[str]) -> None:
        """Add the nodes whose results are named `gives`: one for a regressor, label and probabilities else.

        Raises
        ------
        CannotExport
            The estimator was fitted in a way that a graph cannot follow.
        """

    def declare(self, operator: Any) -> None:
        """Say what the results are: n × 1 values, or n labels and n × k probabilities."""
        classes = getattr(operator.raw_operator, "classes_", None)
        if classes is None:
            operator.outputs[0].type = DoubleTensorType([None, 1])
            return
        kind = Int64TensorType if np.asarray(classes).dtype.kind in "biu" else StringTensorType
        operator.outputs[0].type = kind([None])
        operator.outputs[1].type = DoubleTensorType([None, len(classes)])


def labels_of(classes: NDArray[Any]) -> NDArray[Any]:
    """A classifier's labels as ONNX has them: whole numbers or texts."""
    if classes.dtype.kind in "biu":
        return classes.astype(np.int64)
    if classes.dtype.kind in "OU":
        return classes.astype(str)
    raise CannotExport("labels that are neither texts, booleans nor whole numbers; turn them into texts in load()")


def attribute(name: str, values: NDArray[Any]) -> Any:
    """Values as a tensor that stands in a node's attribute."""
    return numpy_helper.from_array(values, name)
