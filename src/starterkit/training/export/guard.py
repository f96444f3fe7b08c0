"""A graph that itself refuses numbers beyond its proof, so that pyfunc, Spark or Triton do not answer them either.

The kit looks at values before it asks a graph, with words for each (`serving.validation`), and opens the guard:
docs/decisions/0005-parity.md.
"""

from collections.abc import Sequence

import numpy as np
import onnx
from onnx import NodeProto, TensorProto, helper, numpy_helper

from starterkit.contract import Column
from starterkit.serving.graph import STRICT

_SAYS = "A number lies beyond the range in which this model is proven; contract.json has it for each column"
"""The name of the node that fails: onnxruntime repeats it, and can be told no other words."""


def guarded(graph: bytes, columns: Sequence[Column]) -> bytes:
    """The graph, which fails for a number beyond its column's range. A missing one lies in every range.

    What it counts is multiplied with a constant, for which a session can be given another: so who checks the rows
    opens it. Two, for a product with one would be optimised away.
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
    model.graph.initializer.append(numpy_helper.from_array(np.array(2), STRICT))
    nodes += [
        helper.make_node("Less", [numbers, "kit.guard.lowest"], ["kit.guard.below"]),
        helper.make_node("Greater", [numbers, "kit.guard.highest"], ["kit.guard.above"]),
        helper.make_node("Or", ["kit.guard.below", "kit.guard.above"], ["kit.guard.beyond"]),
        helper.make_node("Cast", ["kit.guard.beyond"], ["kit.guard.each"], to=TensorProto.INT64),
        helper.make_node("ReduceSum", ["kit.guard.each"], ["kit.guard.all"], keepdims=0),
        helper.make_node("Mul", ["kit.guard.all", STRICT], ["kit.guard.count"]),
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
