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
from onnx import NodeProto, TensorProto, helper, numpy_helper
from sklearn.pipeline import Pipeline

from starterkit.contract import Column, Layout
from starterkit.errors import ExportError
from starterkit.serving.graph import DECISION, GUARDED_ROWS
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

__all__ = ["MATRIX_INPUT", "OPSET", "Converted", "Placed", "bare", "layout_of", "probability_names", "refusal"]

MATRIX_INPUT = "features"
_PRODUCER = "starterkit"
_IR_VERSION = 10


@dataclass(frozen=True)
class Converted:
    """A graph, where in it the estimator's trees stand, and whether a part answers in float32."""

    graph: bytes
    placed: tuple[Placed, ...]
    single: bool = False


def layout_of(columns: Sequence[Column]) -> Layout:
    """One matrix where every column is a number; it is the faster one to feed."""
    return "columns" if any(column.type == "string" for column in columns) else "matrix"


def probability_names(target: str, classes: Iterable[Any]) -> list[str]:
    """The outputs for a classifier's probabilities."""
    return [f"{target}_is_{label}" for label in np.asarray(classes).tolist()]


def decision_names(target: str, classes: Sequence[Any]) -> list[str]:
    """The outputs for a classifier's decision values. Of two classes the second one has one."""
    told = np.asarray(classes).tolist()
    return [f"{target}{DECISION}{label}" for label in (told[1:] if len(told) == 2 else told)]


def to_graph(estimator: Any, columns: Sequence[Column], target: str) -> Converted:
    """The graph of a fitted estimator. Its first output bears the target's name.

    Raises
    ------
    ExportError
        A part of it cannot be converted.
    """
    classes: Any = getattr(estimator, "classes_", ())  # of CatBoost's regressors it is empty
    names = [target]
    if hasattr(estimator, "predict_proba"):
        names += probability_names(target, classes)
    elif hasattr(estimator, "decision_function"):
        names += decision_names(target, classes)
    if target == MATRIX_INPUT:
        raise refusal(estimator, f"the target has the name of the input; rename '{target}'")
    if taken := {column.name for column in columns} & set(names):
        raise refusal(estimator, f"column '{min(taken)}' has the name of an output; rename the column")
    canvas = Canvas(family_for)
    inputs, blocks = _inputs(columns, Nodes(canvas, ()))
    try:
        nodes = Nodes(canvas, blocks)
        answer = nodes.answer(estimator, blocks)
        outputs = _outputs(answer, names, np.asarray(classes) if len(classes) else None, nodes)
    except CannotExport as error:
        raise refusal(estimator, str(error), part=error.part, steps=error.steps) from error
    graph = helper.make_graph(canvas.nodes, "model", inputs, outputs, initializer=canvas.constants)
    domains = {node.domain for node in canvas.nodes}
    opset = {**OPSET, OWN_DOMAIN: 1} if OWN_DOMAIN in domains else OPSET
    versions = [helper.make_opsetid(domain, version) for domain, version in opset.items()]
    model = helper.make_model(graph, opset_imports=versions, ir_version=_IR_VERSION, producer_name=_PRODUCER)
    kept = _used(model)
    placed = tuple(one for one in canvas.placed if one.taken in kept)
    return Converted(model.SerializeToString(), placed, canvas.single)


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
    nodes.add("Gather", nodes.constant(labels), answer.place, gives=names[0])
    kind = TensorProto.STRING if labels.dtype.kind == "U" else TensorProto.INT64
    outputs = [helper.make_tensor_value_info(names[0], kind, [None])]
    decides = names[-1].startswith(f"{names[0]}{DECISION}")
    numbers = answer.scores if decides else answer.probabilities
    if decides and not numbers:  # as with votes of pairs: the label is all there is
        return outputs
    if len(names) > 1 and not numbers:
        raise CannotExport("its probabilities have no graph; use CalibratedClassifierCV around it")
    for place, name in enumerate(names[1:]):
        column = nodes.pick(numbers, [place])
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


# --- What cannot be exported: which step it is, why, and what does instead, in a user's words.


_PAGES = "docs/parity.md lists what holds"


def refusal(estimator: Any, reason: str, *, part: str = "", steps: Sequence[str] = ()) -> ExportError:
    """Why there is no export, with the part to blame where it is known.

    A reason may bring its own hint, after a semicolon.
    """
    if "onnxruntime" in reason.lower():
        reason = "its graph cannot be run; leave out the step that was added last, and report it"
    said, _, hint = reason.partition("; ")
    if "labels changed" in hint:
        said, hint = reason, ""
    hint = f"{hint[:1].upper()}{hint[1:]}; {_PAGES}" if hint else f"Use another estimator; {_PAGES}"
    where = _chain(estimator)
    if part and part != where:
        through = f"step {' → '.join(repr(step) for step in steps)} of " if steps else "in "
        where = f"{part} ({through}{where})"
    return ExportError(f"{where} cannot be exported to ONNX: {said.rstrip('. ')}", hint)


def _chain(estimator: Any) -> str:
    if isinstance(estimator, Pipeline):
        return " → ".join(type(step).__name__ for _, step in estimator.steps)
    return type(estimator).__name__


# --- The guard: a graph itself refuses numbers beyond its proof, so that pyfunc, Spark or Triton do not answer them
# either. The kit looks at values before it asks a graph, with words for each (`serving.validation`), and opens the
# guard: docs/decisions/0005-parity.md.


_SAYS = "A number lies beyond the range in which this model is proven; contract.json has it for each column"
"""The name of the node that fails: onnxruntime repeats it, and can be told no other words."""
_ALL_ROWS = 2**40
"""The largest number that there is would be optimised away, and the constant with it."""


def guarded(graph: bytes, columns: Sequence[Column]) -> bytes:
    """The graph, which fails for a number beyond its column's range. A missing one lies in every range.

    It looks at as many rows of a call as a constant says, for which a session can be given another: so who checks the
    rows opens it, and looking costs nothing then.
    """
    ranges = {column.name: found for column in columns if (found := _range(column))}
    if not ranges:
        return graph
    model = onnx.load_from_string(graph)
    by_name = {given.name: given.type.tensor_type.elem_type for given in model.graph.input}
    if by_name.keys() >= ranges.keys():
        checked = list(ranges.values())
        nodes, numbers = _side_by_side({name: by_name[name] for name in ranges}), "kit.guard.numbers"
    else:  # one matrix
        checked = [ranges.get(column.name, (-np.inf, np.inf)) for column in columns]
        nodes, numbers = [], model.graph.input[0].name
    for name, place in (("kit.guard.lowest", 0), ("kit.guard.highest", 1)):
        ends = np.array([[one[place] for one in checked]], np.float64)
        model.graph.initializer.append(numpy_helper.from_array(ends, name))
    for name, value in (("kit.guard.start", 0), (GUARDED_ROWS, _ALL_ROWS)):
        model.graph.initializer.append(numpy_helper.from_array(np.array([value]), name))
    nodes += [
        helper.make_node("Slice", [numbers, "kit.guard.start", GUARDED_ROWS], ["kit.guard.looked"]),
        helper.make_node("Less", ["kit.guard.looked", "kit.guard.lowest"], ["kit.guard.below"]),
        helper.make_node("Greater", ["kit.guard.looked", "kit.guard.highest"], ["kit.guard.above"]),
        helper.make_node("Or", ["kit.guard.below", "kit.guard.above"], ["kit.guard.beyond"]),
        helper.make_node("Cast", ["kit.guard.beyond"], ["kit.guard.each"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["kit.guard.each"], ["kit.guard.count"], keepdims=0),
    ]
    nodes += [*model.graph.node, *_held_back(model.graph)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.checker.check_model(model)
    return model.SerializeToString()


def _range(column: Column) -> tuple[float, float] | None:
    if column.categories and column.type in ("float", "integer"):
        return float(min(column.categories)), float(max(column.categories))
    return column.proven


def _side_by_side(inputs: dict[str, int]) -> list[NodeProto]:
    """Columns of numbers as one matrix of them."""
    nodes, upright = [], []
    for place, (name, kind) in enumerate(inputs.items()):
        if kind != TensorProto.DOUBLE:
            nodes.append(helper.make_node("Cast", [name], [f"kit.guard.{place}.number"], to=TensorProto.DOUBLE))
            name = f"kit.guard.{place}.number"
        nodes.append(helper.make_node("Unsqueeze", [name, "kit.guard.axis"], [f"kit.guard.{place}"]))
        upright.append(f"kit.guard.{place}")
    axis = helper.make_node("Constant", [], ["kit.guard.axis"], value=numpy_helper.from_array(np.array([1])))
    return [axis, *nodes, helper.make_node("Concat", upright, ["kit.guard.numbers"], axis=1)]


def _held_back(graph: onnx.GraphProto) -> list[NodeProto]:
    """Each output takes its shape from the rank, to which a 0 is added: looked up, by the count, in a table of one."""
    renamed = {output.name: f"kit.guard.free.{place}" for place, output in enumerate(graph.output)}
    for node in graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    graph.initializer.append(numpy_helper.from_array(np.array([0]), "kit.guard.table"))
    nodes = [helper.make_node("Gather", ["kit.guard.table", "kit.guard.count"], ["kit.guard.sound"], name=_SAYS)]
    for place, output in enumerate(graph.output):
        shape = [-1, 1] if len(output.type.tensor_type.shape.dim) > 1 else [-1]
        flat, held = f"kit.guard.flat.{place}", f"kit.guard.held.{place}"
        graph.initializer.append(numpy_helper.from_array(np.array(shape), flat))
        nodes.append(helper.make_node("Add", [flat, "kit.guard.sound"], [held]))
        nodes.append(helper.make_node("Reshape", [renamed[output.name], held], [output.name]))
    return nodes
