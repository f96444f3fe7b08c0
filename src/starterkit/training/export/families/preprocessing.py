"""What stands in front of an estimator: encoders and imputers, in float64 and with texts."""

import warnings
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from onnx import TensorProto
from skl2onnx.common.data_types import DoubleTensorType, StringTensorType
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from starterkit.training.export.families.family import CannotExport, Family, Nodes

# --- `OneHotEncoder`, `OrdinalEncoder`, `TargetEncoder`: a table for each column, looked up by the category's number.
#
# The tables are the fitted encoder's own answers, so dropped, rare, missing and unknown categories are encoded as it
# encodes them. skl2onnx does that in float32, takes a missing text for an unknown one, and knows no fractions.


class Encoding(Family):
    """``Gather(table, number of the category)`` for each column."""

    answers = False

    def takes(self, kind: type) -> bool:
        return kind in (OneHotEncoder, OrdinalEncoder, TargetEncoder)

    def declare(self, operator: Any) -> None:
        width = len(operator.raw_operator.get_feature_names_out())
        operator.outputs[0].type = DoubleTensorType([None, width])

    def convert(self, estimator: Any, nodes: Nodes, gives: Sequence[str]) -> None:
        blocks = []
        for (column, is_text), categories, table in zip(
            nodes.columns(), estimator.categories_, _tables(estimator), strict=True
        ):
            number = _number_of_text(nodes, column, categories) if is_text else _number_of(nodes, column, categories)
            flat = nodes.add("Reshape", number, nodes.constant(np.array([-1])))
            blocks.append(nodes.add("Gather", nodes.constant(table), flat, axis=0))
        nodes.add("Concat", *blocks, gives=gives[0], axis=1)


def _tables(estimator: Any) -> Iterator[NDArray[np.float64]]:
    """For each column with m categories, the rows that stand for them, and one more for an unknown one.

    An encoder that refuses unknown ones has no such row, and neither has the graph: it fails as the encoder does.
    """
    each = [list(categories) for categories in estimator.categories_]
    if isinstance(estimator, TargetEncoder):
        yield from _target_tables(estimator)
        return
    widths = getattr(estimator, "_n_features_outs", [1] * len(each))
    firsts = [categories[0] for categories in each]
    starts = accumulate(widths, initial=0)
    for place, (categories, start, width) in enumerate(zip(each, starts, widths, strict=False)):
        asked = categories if estimator.handle_unknown == "error" else [*categories, _unknown(categories)]
        rows = [[*firsts[:place], category, *firsts[place + 1 :]] for category in asked]
        yield _encoded(estimator, rows)[:, start : start + width]


def _target_tables(estimator: TargetEncoder) -> Iterator[NDArray[np.float64]]:
    """One figure a category, or one for each class; a category that was never seen has the target's mean."""
    means = np.atleast_1d(np.asarray(estimator.target_mean_, dtype=np.float64))
    figures = iter(estimator.encodings_)
    for _ in estimator.categories_:
        seen = np.column_stack([np.asarray(next(figures), dtype=np.float64) for _ in means])
        yield np.vstack([seen, means])


def _encoded(estimator: Any, rows: list[list[Any]]) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of columns without names, and unknown categories, asked about on purpose
        encoded = estimator.transform(np.array(rows, dtype=object))
    return np.asarray(encoded.toarray() if hasattr(encoded, "toarray") else encoded, dtype=np.float64)


def _unknown(categories: list[Any]) -> Any:
    known = [category for category in categories if not pd.isna(category)]
    if texts := [category for category in known if isinstance(category, str)]:
        return "?" + max(texts, key=len)
    return max(known, default=0.0) + 1.0


def _number_of_text(nodes: Nodes, column: str, categories: NDArray[Any]) -> str:
    keys = ["" if pd.isna(category) else str(category) for category in categories]  # a missing text is an empty one
    if len(set(keys)) < len(keys):
        raise CannotExport("an encoder that tells an empty text from a missing one; replace the empty ones in load()")
    attributes = {"keys_strings": keys, "values_int64s": [*range(len(keys))], "default_int64": len(keys)}
    return nodes.add("LabelEncoder", column, domain="ai.onnx.ml", version=2, **attributes)


def _number_of(nodes: Nodes, column: str, categories: NDArray[Any]) -> str:
    missing = np.array([bool(pd.isna(category)) for category in categories])
    values = np.array([np.nan if gone else float(one) for one, gone in zip(categories, missing, strict=True)])
    column = nodes.add("Cast", column, to=TensorProto.DOUBLE)
    found = nodes.add("Equal", column, nodes.constant(values[None, :]))
    found = nodes.add("Cast", found, to=TensorProto.DOUBLE)
    if missing.any():
        gaps = nodes.add("Cast", nodes.add("IsNaN", column), to=TensorProto.DOUBLE)
        found = nodes.add("Add", found, nodes.add("Mul", gaps, nodes.constant(missing[None, :].astype(float))))
    # The first largest is the category's; a row with none has the half at the end.
    padded = nodes.add("Pad", found, nodes.constant(np.array([0, 0, 0, 1])), nodes.constant(np.array([0.5])))
    return nodes.add("ArgMax", padded, axis=1, keepdims=0)


# --- `SimpleImputer`, because onnxruntime's own operator takes neither float64 nor texts.
#
# A missing number is NaN; a missing text is empty, as everywhere in the kit.


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
