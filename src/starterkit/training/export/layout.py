"""A graph's inputs and outputs, in the shape in which the kit and MLflow's pyfunc feed and read them."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx.common.data_types import DoubleTensorType, StringTensorType

from starterkit.contract import Column, Layout

MATRIX_INPUT = "features"


def layout_of(columns: Sequence[Column]) -> Layout:
    """One matrix where every column is a number; it is the faster one to feed."""
    return "columns" if any(column.type == "string" for column in columns) else "matrix"


def inputs_of(columns: Sequence[Column], by_name: bool) -> list[tuple[str, Any]]:
    """What skl2onnx is told: one matrix, or one n × 1 input a column."""
    if not by_name:
        return [(MATRIX_INPUT, DoubleTensorType([None, len(columns)]))]
    kinds = {True: StringTensorType, False: DoubleTensorType}
    return [(column.name, kinds[column.type == "string"]([None, 1])) for column in columns]


def shape_inputs(model: onnx.ModelProto, columns: Sequence[Column], by_name: bool) -> None:
    """Give the graph the layout of its columns."""
    if layout_of(columns) == "columns":
        _take_flat_columns(model, columns)
    elif by_name:
        _put_behind_one_matrix(model)


def _put_behind_one_matrix(model: onnx.ModelProto) -> None:
    """Replace the inputs, one a column, by a single matrix that is split into them."""
    graph = model.graph
    names = [value.name for value in graph.input]
    matrix, sizes = (f"kit.{word}" for word in (MATRIX_INPUT, "sizes"))  # names that no column has
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(matrix, TensorProto.DOUBLE, [None, len(names)]))
    graph.initializer.append(numpy_helper.from_array(np.ones(len(names), dtype=np.int64), sizes))
    graph.node.insert(0, helper.make_node("Split", [matrix, sizes], names, axis=1))
    onnx.checker.check_model(model)


def probability_names(target: str, classes: Iterable[Any]) -> list[str]:
    """The outputs for a classifier's probabilities."""
    return [f"{target}_is_{label}" for label in np.asarray(classes).tolist()]


def split_probabilities(model: onnx.ModelProto, names: Sequence[str]) -> None:
    """One output of length n for each class, instead of a matrix: so MLflow's pyfunc can make a table of them."""
    graph = model.graph
    label, matrix = graph.output
    columns = [f"kit.probability.{place}" for place in range(len(names))]
    graph.initializer.append(numpy_helper.from_array(np.ones(len(names), dtype=np.int64), "kit.classes"))
    graph.node.append(helper.make_node("Split", [matrix.name, "kit.classes"], columns, axis=1))
    graph.initializer.append(numpy_helper.from_array(np.array([-1]), "kit.flat"))
    for column, name in zip(columns, names, strict=True):
        graph.node.append(helper.make_node("Reshape", [column, "kit.flat"], [name]))
    kind, kept = matrix.type.tensor_type.elem_type, onnx.ValueInfoProto()
    kept.CopyFrom(label)
    del graph.output[:]
    graph.output.append(kept)
    graph.output.extend(helper.make_tensor_value_info(name, kind, [None]) for name in names)


def _take_flat_columns(model: onnx.ModelProto, columns: Sequence[Column]) -> None:
    """Replace each n × 1 input by one of length n with its column's name and type: so MLflow's pyfunc feeds them."""
    graph = model.graph
    inner = [value.name for value in graph.input]
    for node in graph.node:
        node.input[:] = [f"kit.{name}" if name in inner else name for name in node.input]
    del graph.input[:]
    graph.initializer.append(numpy_helper.from_array(np.array([1]), "kit.axis"))
    added = []
    for column, name in zip(columns, inner, strict=True):
        kind, flat = _tensor_type(column), column.name
        graph.input.append(helper.make_tensor_value_info(flat, kind, [None]))
        if kind in (TensorProto.INT64, TensorProto.BOOL):
            flat = f"kit.{name}.number"
            added.append(helper.make_node("Cast", [column.name], [flat], to=TensorProto.DOUBLE))
        added.append(helper.make_node("Unsqueeze", [flat, "kit.axis"], [f"kit.{name}"]))
    nodes = [*added, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    onnx.checker.check_model(model)


def _tensor_type(column: Column) -> int:
    """The type of a column's own input. A number that may be missing is a float, because only a float can be NaN."""
    whole = {"integer": TensorProto.INT64, "boolean": TensorProto.BOOL}
    if column.type == "string":
        return TensorProto.STRING
    return TensorProto.DOUBLE if column.nullable else whole.get(column.type, TensorProto.DOUBLE)
