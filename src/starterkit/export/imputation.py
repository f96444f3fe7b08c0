"""An ONNX converter for `SimpleImputer`, because onnxruntime's own operator takes neither float64 nor texts.

A missing number is NaN; a missing text is empty, as everywhere in the kit.
"""

from typing import Any

import numpy as np
from onnx import TensorProto
from skl2onnx.common.data_types import DoubleTensorType, StringTensorType
from skl2onnx.operator_converters.common import concatenate_variables


def shape_of_imputer(operator: Any) -> None:
    """As many columns as were fitted, of the same type."""
    taken, fitted = operator.inputs[0].type, operator.raw_operator
    if not isinstance(taken, DoubleTensorType | StringTensorType):
        raise NotImplementedError(f"SimpleImputer over {type(taken).__name__}")
    if fitted.indicator_ is not None or not isinstance(fitted.missing_values, float):
        raise NotImplementedError("SimpleImputer with add_indicator, or with missing_values other than NaN")
    operator.outputs[0].type = type(taken)([None, len(fitted.statistics_)])


def convert_imputer(scope: Any, operator: Any, container: Any) -> None:
    """``Where(is missing, the column's statistic, value)``."""
    texts = isinstance(operator.inputs[0].type, StringTensorType)
    statistics = operator.raw_operator.statistics_.astype(str if texts else np.float64)
    if not texts and np.isnan(statistics).any():
        raise NotImplementedError("SimpleImputer with a column that had no value")
    given = concatenate_variables(scope, operator.inputs, container)
    missing = _where_missing(scope, container, given, texts)
    fill = scope.get_unique_variable_name("fill")
    kind = TensorProto.STRING if texts else TensorProto.DOUBLE
    container.add_initializer(fill, kind, [1, len(statistics)], statistics.tolist())
    container.add_node("Where", [missing, fill, given], operator.outputs[0].full_name, op_version=9)


def _where_missing(scope: Any, container: Any, given: str, texts: bool) -> str:
    missing = scope.get_unique_variable_name("missing")
    if not texts:
        container.add_node("IsNaN", [given], missing, op_version=13)
        return missing
    empty = scope.get_unique_variable_name("empty")  # onnxruntime compares texts from opset 19 on only
    marks = {"keys_strings": [""], "values_int64s": [1], "default_int64": 0}
    container.add_node("LabelEncoder", [given], empty, op_domain="ai.onnx.ml", op_version=2, **marks)
    container.add_node("Cast", [empty], missing, to=TensorProto.BOOL, op_version=13)
    return missing
