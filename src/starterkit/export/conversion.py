"""From a fitted scikit-learn estimator to an ONNX graph that computes in float64.

skl2onnx alone, given float32 inputs, scales in float32 and puts about one row in a hundred on the other side of a
tree's threshold. Here the inputs and the preprocessing are float64, and the cast to float32 that trees need stands
right in front of them, where scikit-learn's own trees have it. See docs/decisions/0005-parity.md.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import DoubleTensorType, StringTensorType
from skl2onnx.sklapi import CastTransformer
from sklearn.compose import ColumnTransformer
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
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.tree import BaseDecisionTree

from starterkit.contract import Column, Layout
from starterkit.errors import ExportError
from starterkit.export.imputation import convert_imputer, shape_of_imputer

OPSET = {"": 18, "ai.onnx.ml": 3}
MATRIX_INPUT = "features"

_TREES = (
    BaseDecisionTree,
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)


def layout_of(columns: Sequence[Column]) -> Layout:
    """One matrix where every column is a number; it is the faster one to feed."""
    return "columns" if any(column.type == "string" for column in columns) else "matrix"


def to_graph(estimator: Any, columns: Sequence[Column], target: str) -> bytes:
    """The serialized graph of a fitted estimator. Its first output bears the target's name.

    Raises
    ------
    ExportError
        skl2onnx has no converter for a part of it.
    """
    by_name = _reads_by_name(estimator) or layout_of(columns) == "columns"
    inputs: list[tuple[str, Any]] = [(MATRIX_INPUT, DoubleTensorType([None, len(columns)]))]
    if by_name:
        inputs = [(column.name, _tensor(column)) for column in columns]
    try:
        model = convert_sklearn(
            _with_casts(estimator),
            initial_types=inputs,
            final_types=[(name, None) for name in _output_names(estimator, target)],
            target_opset=OPSET,
            options=_options(estimator),
            custom_conversion_functions={SimpleImputer: convert_imputer},
            custom_shape_calculators={SimpleImputer: shape_of_imputer},
        )
        if hasattr(estimator, "predict_proba"):
            _split_probabilities(model, target, estimator.classes_.tolist())
        if layout_of(columns) == "columns":
            _take_flat_columns(model, columns)
        elif by_name:
            _put_behind_one_matrix(model)
    except Exception as error:  # skl2onnx raises a different class from nearly every converter
        what = f"{_name(estimator)} cannot be converted to ONNX: {str(error).splitlines()[0][:200]}"
        raise ExportError(what, "Use an estimator from docs/decisions/0005-parity.md, or add a converter") from error
    model.graph.name = "model"  # skl2onnx draws one, and the same model would have another digest each time
    return model.SerializeToString()


def _with_casts(estimator: Any) -> Any:
    """The same estimator with a cast to float32 in front of the trees. Fitted parts are shared, not copied."""
    if isinstance(estimator, Pipeline):
        *before, (name, last) = estimator.steps
        casted = _with_casts(last)
        if casted is last:
            return estimator
        return Pipeline([*before, *casted.steps[:-1], (name, casted.steps[-1][1])])
    if isinstance(estimator, _TREES):
        return Pipeline([("to_float32", CastTransformer(dtype=np.float32)), ("trees", estimator)])
    return estimator


def _options(estimator: Any) -> dict[int, dict[str, bool]]:
    """Probabilities as one array instead of a list of mappings."""
    last = estimator
    while isinstance(last, Pipeline):
        last = last.steps[-1][1]
    return {id(last): {"zipmap": False}} if hasattr(last, "predict_proba") else {}


def _output_names(estimator: Any, target: str) -> list[str]:
    return [target, f"{target}_probabilities"] if hasattr(estimator, "predict_proba") else [target]


def _reads_by_name(estimator: Any) -> bool:
    if isinstance(estimator, Pipeline):
        return any(_reads_by_name(step) for _, step in estimator.steps)
    return isinstance(estimator, ColumnTransformer)


def _tensor(column: Column) -> Any:
    return StringTensorType([None, 1]) if column.type == "string" else DoubleTensorType([None, 1])


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


def _split_probabilities(model: onnx.ModelProto, target: str, classes: list[Any]) -> None:
    """One output of length n for each class, instead of a matrix: so MLflow's pyfunc can make a table of them."""
    graph = model.graph
    label, matrix = graph.output
    names = [f"{target}_is_{label}" for label in classes]
    columns = [f"kit.probability.{place}" for place in range(len(classes))]
    graph.initializer.append(numpy_helper.from_array(np.ones(len(classes), dtype=np.int64), "kit.classes"))
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


def _name(estimator: Any) -> str:
    if isinstance(estimator, Pipeline):
        return " → ".join(type(step).__name__ for _, step in estimator.steps)
    return type(estimator).__name__
