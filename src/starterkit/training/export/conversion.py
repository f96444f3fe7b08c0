"""From a fitted scikit-learn estimator to an ONNX graph that computes in float64 and decides as the estimator does.

skl2onnx alone, given float32 inputs, scales in float32 and rounds thresholds, so that about one row in a hundred falls
on the other side of one. Here inputs and preprocessing are float64, and the kit's families carry trees with their own
float64 thresholds. See docs/decisions/0005-parity.md.
"""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common._registration import get_shape_calculator
from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType, Int64TensorType, StringTensorType
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.pipeline import Pipeline

from starterkit.contract import Column, Layout
from starterkit.errors import ExportError
from starterkit.training.export.families import family_of
from starterkit.training.export.families.family import Family, Nodes
from starterkit.training.export.families.trees import DOMAIN, VERSION, TreeFamily

# --- A graph's inputs and outputs, in the shape in which the kit and MLflow's pyfunc feed and read them.

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


# --- What cannot be exported, by name, and what does instead. Found by trying; the proof of parity refuses the rest.

_INSTEAD: Mapping[str, str] = {
    "AdaBoostClassifier": "GradientBoostingClassifier",
    "AdaBoostRegressor": "GradientBoostingRegressor",
    "BaggingClassifier": "RandomForestClassifier",
    "BaggingRegressor": "RandomForestRegressor",
    "CalibratedClassifierCV": "LogisticRegression or HistGradientBoostingClassifier by itself",
    "FixedThresholdClassifier": "the classifier in it, and hold its probability against the threshold",
    "FunctionTransformer": "columns made in load()",
    "IterativeImputer": "SimpleImputer",
    "KBinsDiscretizer": "trees, which need no bins",
    "KernelRidge": "Ridge or HistGradientBoostingRegressor",
    "KNNImputer": "SimpleImputer",
    "MissingIndicator": "a column made in load()",
    "PolynomialFeatures": "trees, or products of columns made in load()",
    "PowerTransformer": "QuantileTransformer",
    "SplineTransformer": "trees, or columns made in load()",
    "SVR": "LinearSVR or HistGradientBoostingRegressor",
    "TransformedTargetRegressor": "a target that load() transforms, or HistGradientBoostingRegressor(loss='gamma')",
    "TunedThresholdClassifierCV": "the classifier in it, and hold its probability against the threshold",
    "VotingClassifier": "VotingClassifier(voting='soft', flatten_transform=False), with weights as a numpy array",
    "VotingRegressor": "weights as a numpy array, or none",
}
_PAGES = "docs/parity.md lists what holds, docs/decisions/0015-families.md says how to add more"


_OTHERWISE = ("TunedThresholdClassifierCV",)
"""What skl2onnx converts, but into a graph that decides otherwise; among ties the proof would not see it."""


def parts(estimator: Any) -> Iterator[Any]:
    """The estimator and every estimator in it."""
    yield estimator
    for part in estimator.get_params(deep=True).values():
        if isinstance(part, BaseEstimator):
            yield part


def refusal(estimator: Any, reason: str) -> ExportError:
    """Why there is no export, with the part to blame where it is known.

    A reason may bring its own hint, after a semicolon.
    """
    reason = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", reason)
    said, _, hint = reason.partition("; ")
    if hint and "; " not in hint and "labels changed" not in hint:
        return ExportError(
            f"{_chain(estimator)} cannot be exported to ONNX: {said}", f"{hint[:1].upper()}{hint[1:]}; {_PAGES}"
        )
    if "does not answer" in reason and _takes_zeros_for_missing(estimator):
        what = f"{_chain(estimator)} cannot be exported to ONNX: XGBoost takes the zeros of a sparse matrix for missing"
        return ExportError(
            what, f"Give OneHotEncoder sparse_output=False, and ColumnTransformer sparse_threshold=0; {_PAGES}"
        )
    inner = next((type(part).__name__ for part in parts(estimator) if _library(part) in ("lightgbm", "xgboost")), None)
    if inner and (inner in reason or "Unable to find" in reason):
        what = f"{_chain(estimator)} cannot be exported to ONNX with {inner} inside"
        return ExportError(what, f"Use {inner} by itself or at the end of a Pipeline; {_PAGES}")
    known = next((name for part in parts(estimator) if (name := type(part).__name__) in _INSTEAD), None)
    if known is None:
        what = f"{_chain(estimator)} cannot be exported to ONNX: {reason}"
        return ExportError(what, f"Use another estimator; {_PAGES}")
    inside = "" if type(estimator).__name__ == known else f" (in {_chain(estimator)})"
    what = f"{known}{inside} cannot be exported to ONNX: {reason}"
    return ExportError(what, f"Use {_INSTEAD[known]} instead; {_PAGES}")


def _takes_zeros_for_missing(estimator: Any) -> bool:
    sparse = ("sparse_output_", "sparse_output")
    return any(_library(part) == "xgboost" for part in parts(estimator)) and any(
        getattr(part, name, False) is True for part in parts(estimator) for name in sparse
    )


def _library(part: Any) -> str:
    return type(part).__module__.partition(".")[0]


def _chain(estimator: Any) -> str:
    if isinstance(estimator, Pipeline):
        return " → ".join(type(step).__name__ for _, step in estimator.steps)
    return type(estimator).__name__


# --- The conversion.

OPSET = {"": 18, "ai.onnx.ml": 3}


@dataclass(frozen=True)
class Placed:
    """Trees in a graph: whose they are, and the name of the float64 matrix that they take."""

    estimator: Any
    family: TreeFamily
    taken: str


@dataclass(frozen=True)
class Converted:
    """A graph, and where in it the estimator's trees stand."""

    graph: bytes
    placed: tuple[Placed, ...]


def to_graph(estimator: Any, columns: Sequence[Column], target: str) -> Converted:
    """The graph of a fitted estimator. Its first output bears the target's name.

    Raises
    ------
    ExportError
        A part of it cannot be converted.
    """
    if any(type(part).__name__ in _OTHERWISE for part in parts(estimator)):
        raise refusal(estimator, "skl2onnx leaves out the threshold that it found")
    given, estimator = estimator, bare(estimator)
    by_name = _reads_by_name(estimator) or any(column.type == "string" for column in columns)
    classifies = hasattr(estimator, "predict_proba")
    kinds = {type(part) for part in parts(estimator)}
    found = {kind: family for kind in kinds if (family := family_of(kind))}
    placed: list[Placed] = []
    outputs = [
        target,
        *([f"{target}_probabilities", *probability_names(target, estimator.classes_)] if classifies else []),
    ]
    if taken := {column.name for column in columns} & set(outputs):
        raise refusal(given, f"column '{min(taken)}' has the name of an output; rename the column")
    try:
        model = convert_sklearn(
            estimator,
            initial_types=inputs_of(columns, by_name),
            final_types=[(name, None) for name in outputs[:2]],
            target_opset=OPSET,
            options=_options(estimator, found),
            custom_parsers={kind: _parse for kind, family in found.items() if family.answers},
            custom_conversion_functions={kind: _converter(family, placed) for kind, family in found.items()},
            custom_shape_calculators={
                kind: found[kind].declare if kind in found else _declare_double for kind in kinds
            },
        )
        if placed:
            _raise_version(model)
        if classifies:
            split_probabilities(model, outputs[2:])
        shape_inputs(model, columns, by_name)
    except Exception as error:  # skl2onnx raises a different class from nearly every converter
        raise refusal(given, (str(error) or type(error).__name__).splitlines()[0][:200]) from error
    model.graph.name = "model"  # skl2onnx draws one, and the same model would have another digest each time
    opsets = sorted(model.opset_import, key=lambda opset: opset.domain)  # and orders these as it happens
    del model.opset_import[:]
    model.opset_import.extend(opsets)
    return Converted(model.SerializeToString(), tuple(placed))


def bare(estimator: Any) -> Any:
    """The estimator without the search that found it, and without steps that do nothing."""
    while hasattr(estimator, "best_estimator_"):
        estimator = estimator.best_estimator_
    if isinstance(estimator, Pipeline):
        steps = [(name, bare(step)) for name, step in estimator.steps if step not in (None, "passthrough")]
        return Pipeline(steps) if steps else estimator
    return estimator


def _parse(scope: Any, estimator: Any, inputs: list[Any], custom_parsers: Any = None) -> list[Any]:
    """Tell skl2onnx that there is an operator, for classes too that it does not know."""
    operator = scope.declare_local_operator(f"Kit{type(estimator).__name__}", estimator)
    operator.inputs = inputs
    if hasattr(estimator, "classes_"):
        operator.outputs.append(scope.declare_local_variable("label", Int64TensorType()))
        operator.outputs.append(scope.declare_local_variable("probabilities", DoubleTensorType()))
    else:
        operator.outputs.append(scope.declare_local_variable("variable", DoubleTensorType()))
    return operator.outputs


def _declare_double(operator: Any) -> None:
    """What skl2onnx says of an operator's results, but float64 where it takes float64.

    Behind mixed columns skl2onnx guesses float32, and writes the next step in float32 or for a type that is not there.
    """
    get_shape_calculator(operator.type)(operator)
    if any(isinstance(given.type, DoubleTensorType) for given in operator.inputs):
        for made in operator.outputs:
            if isinstance(made.type, FloatTensorType):
                made.type = DoubleTensorType(made.type.shape)


def _converter(family: Family, placed: list[Placed]) -> Callable[[Any, Any, Any], None]:
    def convert(scope: Any, operator: Any, container: Any) -> None:
        nodes, fitted = Nodes(scope, operator, container), operator.raw_operator
        family.convert(fitted, nodes, [output.full_name for output in operator.outputs])
        if isinstance(family, TreeFamily):
            placed.append(Placed(fitted, family, nodes.taken))

    return convert


def _options(estimator: Any, found: dict[type, Family]) -> dict[int, dict[str, bool]]:
    """Probabilities as one array: skl2onnx makes a list of mappings of them unless something is said."""
    last = estimator
    while isinstance(last, Pipeline):
        last = last.steps[-1][1]
    said: dict[int, dict[str, bool]] = {id(part): {} for part in parts(estimator) if type(part) in found}
    return said if type(last) in found or not hasattr(last, "predict_proba") else {**said, id(last): {"zipmap": False}}


def _raise_version(model: onnx.ModelProto) -> None:
    """skl2onnx writes version 3 of ONNX's operators for machine learning; `TreeEnsemble` came with 5."""
    for used in model.opset_import:
        if used.domain == DOMAIN:
            used.version = VERSION


def _reads_by_name(estimator: Any) -> bool:
    if isinstance(estimator, Pipeline):
        return any(_reads_by_name(step) for _, step in estimator.steps)
    return isinstance(estimator, ColumnTransformer)
