"""`SimpleImputer`, because onnxruntime's own operator takes neither float64 nor texts.

A missing number is NaN; a missing text is empty, as everywhere in the kit.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from onnx import TensorProto
from skl2onnx.common.data_types import DoubleTensorType, StringTensorType
from sklearn.impute import SimpleImputer

from starterkit.export.families.family import CannotExport, Family, Nodes


class Imputation(Family):
    """``Where(is missing, the column's statistic, value)``."""

    answers = False

    def takes(self, kind: type) -> bool:
        return kind is SimpleImputer

    def declare(self, operator: Any) -> None:
        """As many columns as were fitted, of the same type."""
        taken, fitted = operator.inputs[0].type, operator.raw_operator
        if not isinstance(taken, DoubleTensorType | StringTensorType):
            raise CannotExport(f"SimpleImputer over {type(taken).__name__}")
        operator.outputs[0].type = type(taken)([None, len(fitted.statistics_)])

    def convert(self, estimator: Any, nodes: Nodes, gives: Sequence[str]) -> None:
        is_nan = isinstance(estimator.missing_values, float) and np.isnan(estimator.missing_values)
        if estimator.indicator_ is not None or not is_nan:
            raise CannotExport(
                "SimpleImputer with add_indicator, or with missing_values other than NaN; leave these out"
            )
        statistics = estimator.statistics_.astype(str if nodes.texts else np.float64)
        if not nodes.texts and np.isnan(statistics).any():
            raise CannotExport("SimpleImputer with a column that had no value; leave the column out")
        given = nodes.inputs()
        missing = _where_empty(nodes, given) if nodes.texts else nodes.add("IsNaN", given)
        nodes.add("Where", missing, nodes.constant(statistics[None, :]), given, gives=gives[0], version=9)


def _where_empty(nodes: Nodes, given: str) -> str:
    # onnxruntime compares texts from opset 19 on only
    marks = {"keys_strings": [""], "values_int64s": [1], "default_int64": 0}
    empty = nodes.add("LabelEncoder", given, domain="ai.onnx.ml", version=2, **marks)
    return nodes.add("Cast", empty, to=TensorProto.BOOL)
