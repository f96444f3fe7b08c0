"""From a fitted scikit-learn estimator to an ONNX graph that computes in float64 and decides as the estimator does.

Every part of an estimator is written by one of the kit's families, from its own fitted state. What no family takes is
refused: a converter that leaves out a parameter would answer otherwise without a word. See
docs/decisions/0005-parity.md.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

from starterkit.contract import Column, Layout
from starterkit.training.export.families import family_for
from starterkit.training.export.families.composition import bare
from starterkit.training.export.families.nodes import (
    OPSET,
    OWN_DOMAIN,
    Answer,
    Block,
    CannotExport,
    Canvas,
    Nodes,
    Placed,
    labels_of,
)
from starterkit.training.export.refused import refusal

__all__ = ["MATRIX_INPUT", "OPSET", "Converted", "Placed", "bare", "layout_of", "probability_names", "refusal"]

MATRIX_INPUT = "features"
_PRODUCER = "starterkit"
_IR_VERSION = 10


@dataclass(frozen=True)
class Converted:
    """A graph, and where in it the estimator's trees stand."""

    graph: bytes
    placed: tuple[Placed, ...]


def layout_of(columns: Sequence[Column]) -> Layout:
    """One matrix where every column is a number; it is the faster one to feed."""
    return "columns" if any(column.type == "string" for column in columns) else "matrix"


def probability_names(target: str, classes: Iterable[Any]) -> list[str]:
    """The outputs for a classifier's probabilities."""
    return [f"{target}_is_{label}" for label in np.asarray(classes).tolist()]


def to_graph(estimator: Any, columns: Sequence[Column], target: str) -> Converted:
    """The graph of a fitted estimator. Its first output bears the target's name.

    Raises
    ------
    ExportError
        A part of it cannot be converted.
    """
    classes = getattr(estimator, "classes_", None)
    names = [target, *(probability_names(target, classes) if hasattr(estimator, "predict_proba") else [])]
    if target == MATRIX_INPUT:
        raise refusal(estimator, f"the target has the name of the input; rename '{target}'")
    if taken := {column.name for column in columns} & set(names):
        raise refusal(estimator, f"column '{min(taken)}' has the name of an output; rename the column")
    canvas = Canvas(family_for)
    inputs, blocks = _inputs(columns, Nodes(canvas, ()))
    try:
        nodes = Nodes(canvas, blocks)
        answer = nodes.answer(estimator, blocks)
        outputs = _outputs(answer, names, None if classes is None else np.asarray(classes), nodes)
    except CannotExport as error:
        raise refusal(estimator, str(error), part=error.part, steps=error.steps) from error
    graph = helper.make_graph(canvas.nodes, "model", inputs, outputs, initializer=canvas.constants)
    domains = {node.domain for node in canvas.nodes}
    opset = {**OPSET, OWN_DOMAIN: 1} if OWN_DOMAIN in domains else OPSET
    versions = [helper.make_opsetid(domain, version) for domain, version in opset.items()]
    model = helper.make_model(graph, opset_imports=versions, ir_version=_IR_VERSION, producer_name=_PRODUCER)
    kept = _used(model)
    return Converted(model.SerializeToString(), tuple(placed for placed in canvas.placed if placed.taken in kept))


# --- A graph's inputs and outputs, in the shape in which the kit and MLflow's pyfunc feed and read them.


def _inputs(columns: Sequence[Column], nodes: Nodes) -> tuple[list[onnx.ValueInfoProto], list[Block]]:
    """One matrix, or one input of length n a column; and what they are for the estimator."""
    if layout_of(columns) == "matrix":
        name = MATRIX_INPUT
        shape = [None, len(columns)]
        return [helper.make_tensor_value_info(name, TensorProto.DOUBLE, shape)], [Block(name, len(columns))]
    inputs, blocks = [], []
    for column in columns:
        kind, flat = _tensor_type(column), column.name
        inputs.append(helper.make_tensor_value_info(flat, kind, [None]))
        upright = nodes.upright(nodes.double(flat) if kind in (TensorProto.INT64, TensorProto.BOOL) else flat)
        blocks.append(Block(upright, 1, texts=column.type == "string"))
    return inputs, blocks


def _tensor_type(column: Column) -> int:
    """The type of a column's own input. A number that may be missing is a float, because only a float can be NaN."""
    whole = {"integer": TensorProto.INT64, "boolean": TensorProto.BOOL}
    if column.type == "string":
        return TensorProto.STRING
    return TensorProto.DOUBLE if column.nullable else whole.get(column.type, TensorProto.DOUBLE)


def _outputs(
    answer: Answer, names: Sequence[str], classes: NDArray[Any] | None, nodes: Nodes
) -> list[onnx.ValueInfoProto]:
    """The values, or the labels and one output of length n for each class: so MLflow's pyfunc makes a table of them."""
    if classes is None:
        nodes.add("Identity", answer.values, gives=names[0])
        return [helper.make_tensor_value_info(names[0], TensorProto.DOUBLE, [None, 1])]
    labels = labels_of(classes)
    nodes.add("Gather", nodes.constant(labels), answer.place, gives=names[0], axis=0)
    kind = TensorProto.STRING if labels.dtype.kind == "U" else TensorProto.INT64
    outputs = [helper.make_tensor_value_info(names[0], kind, [None])]
    if len(names) > 1 and not answer.probabilities:
        raise CannotExport("its probabilities have no graph; use CalibratedClassifierCV around it")
    for place, name in enumerate(names[1:]):
        column = nodes.pick(answer.probabilities, [place])
        nodes.add("Reshape", column, nodes.constant(np.array([-1])), gives=name)
        outputs.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None]))
    return outputs


def _used(model: onnx.ModelProto) -> set[str]:
    """Leave out what leads to no output; the names that are kept come back."""
    needed, kept = {output.name for output in model.graph.output}, []
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            kept.append(node)
            needed |= set(node.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))
    constants = [one for one in model.graph.initializer if one.name in needed]
    del model.graph.initializer[:]
    model.graph.initializer.extend(constants)
    return needed
