"""Encoders: columns of texts or numbers whose values stand for categories."""

import warnings
from collections.abc import Iterator
from itertools import accumulate
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, TargetEncoder

from starterkit.training.export.families.family import Family
from starterkit.training.export.families.nodes import Block, CannotExport, Nodes

# --- `OneHotEncoder`, `OrdinalEncoder`, `TargetEncoder`: a table for each column, looked up by the category's number.
#
# The tables are the fitted encoder's own answers, so dropped, rare, missing and unknown categories are encoded as it
# encodes them. skl2onnx does that in float32, takes a missing text for an unknown one, and knows no fractions.


class Encoding(Family):
    """``Gather(table, number of the category)`` for each column."""

    def takes(self, kind: type) -> bool:
        return kind in (OneHotEncoder, OrdinalEncoder, TargetEncoder)

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        blocks, width = [], 0
        for (column, is_text), categories, table in zip(
            nodes.columns(), estimator.categories_, _tables(estimator), strict=True
        ):
            number = _number_of_text(nodes, column, categories) if is_text else _number_of(nodes, column, categories)
            blocks.append(nodes.add("Gather", nodes.constant(table), nodes.flat(number), axis=0))
            width += table.shape[1]
        return [Block(nodes.join(blocks), width)]


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
        raise CannotExport("it tells an empty text from a missing one; replace the empty ones in load()")
    attributes = {"keys_strings": keys, "values_int64s": [*range(len(keys))], "default_int64": len(keys)}
    return nodes.add("LabelEncoder", column, domain="ai.onnx.ml", **attributes)


def _number_of(nodes: Nodes, column: str, categories: NDArray[Any]) -> str:
    missing = np.array([bool(pd.isna(category)) for category in categories])
    values = np.array([np.nan if gone else float(one) for one, gone in zip(categories, missing, strict=True)])
    found = nodes.double(nodes.add("Equal", column, nodes.row(values)))
    if missing.any():
        gaps = nodes.double(nodes.add("IsNaN", column))
        found = nodes.add("Add", found, nodes.add("Mul", gaps, nodes.row(missing)))
    # The first largest is the category's; a row with none has the half at the end.
    padded = nodes.add("Pad", found, nodes.constant(np.array([0, 0, 0, 1])), nodes.constant(np.array([0.5])))
    return nodes.largest(padded)
