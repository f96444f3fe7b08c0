"""Imputers and marks of missing values. A missing number is NaN; a missing text is empty, as everywhere in the kit."""

from typing import Any

import numpy as np
import pandas as pd
from onnx import TensorProto
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer

from starterkit.training.export.families.family import Family
from starterkit.training.export.families.nodes import Block, CannotExport, Nodes


class Imputation(Family):
    """`SimpleImputer`: ``Where(is missing, the column's statistic, value)``."""

    def takes(self, kind: type) -> bool:
        return kind is SimpleImputer

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        start, made = 0, []
        known = ~np.array([pd.isna(one) for one in estimator.statistics_])
        if estimator.keep_empty_features:
            known[:] = True
        for block in nodes.blocks:
            places = np.arange(block.width)[known[start : start + block.width]]
            statistics = estimator.statistics_[start : start + block.width][places]
            start += block.width
            if not len(places):
                continue
            name = block.name if len(places) == block.width else nodes.pick(block.name, places.tolist())
            gone = where_missing(nodes, name, block.texts, estimator.missing_values)
            if block.texts:
                fill = nodes.constant(statistics.astype(str)[None, :])
            else:
                fill = nodes.row([0.0 if pd.isna(one) else float(one) for one in statistics])
            made.append(Block(nodes.add("Where", gone, fill, name), len(places), block.texts))
        if estimator.indicator_ is not None:
            made += _marks(estimator.indicator_, nodes)
        return made


class Marks(Family):
    """`MissingIndicator`: one where a value is missing."""

    def takes(self, kind: type) -> bool:
        return kind is MissingIndicator

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        return _marks(estimator, nodes)


def _marks(indicator: Any, nodes: Nodes) -> list[Block]:
    return [
        Block(nodes.double(where_missing(nodes, block.name, block.texts, indicator.missing_values)), block.width)
        for block in nodes.select(list(indicator.features_))
    ]


def where_missing(nodes: Nodes, name: str, texts: bool, mark: Any) -> str:
    """Booleans: where values are missing, by an imputer's mark for them."""
    unmarked = mark is None or mark is pd.NA or (isinstance(mark, float) and np.isnan(mark))
    if texts:
        if not unmarked:
            raise CannotExport("its missing_values is a text; leave it out, a missing text is found without it")
        keys = {"keys_strings": [""], "values_int64s": [1], "default_int64": 0}
        found = nodes.add("LabelEncoder", name, domain="ai.onnx.ml", **keys)
        return nodes.add("Cast", found, to=TensorProto.BOOL)
    if unmarked:
        return nodes.add("IsNaN", name)
    if not isinstance(mark, int | float | np.number):
        raise CannotExport("its missing_values is no number; leave it out, or give it columns of texts")
    return nodes.add("Equal", name, nodes.number(float(mark)))


class NeighbourImputation(Family):
    """`KNNImputer`: the mean of the nearest rows that have a value, by the distance over the columns that both have."""

    def takes(self, kind: type) -> bool:
        return kind is KNNImputer

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        if estimator.weights not in ("uniform", None) or estimator.metric != "nan_euclidean":
            raise CannotExport("it weighs or measures in a way of its own; use weights='uniform' and no metric")
        if not (isinstance(estimator.missing_values, float) and np.isnan(estimator.missing_values)):
            raise CannotExport("its missing_values is another than NaN; leave it out")
        matrix, fitted, absent = nodes.matrix(), np.asarray(estimator._fit_X, dtype=np.float64), estimator._mask_fit_X
        gone = nodes.add("IsNaN", matrix)
        there, filled = nodes.double(nodes.add("Not", gone)), nodes.add("Where", gone, nodes.number(0.0), matrix)
        known, held = np.where(absent, 0.0, fitted), (~absent).astype(np.float64)
        # The sum of (x − y)² over the columns that both rows have, and how many these are.
        squares = nodes.linear(nodes.add("Mul", filled, filled), held.T, 0.0)
        squares = nodes.add("Add", squares, nodes.linear(there, (known**2).T, 0.0))
        twice = nodes.linear(filled, 2.0 * known.T, 0.0)
        shared = nodes.linear(there, held.T, 0.0)
        squares = nodes.add("Max", nodes.add("Sub", squares, twice), nodes.number(0.0))
        none = nodes.add("Equal", shared, nodes.number(0.0))
        away = nodes.add("Div", squares, shared)
        far = 1e300
        away = nodes.add("Where", none, nodes.number(far), away)
        columns = []
        for place in range(fitted.shape[1]):
            mine = nodes.pick(matrix, [place])
            donors = ~absent[:, place]
            if not donors.any():
                if estimator.keep_empty_features:
                    columns.append(nodes.add("Where", nodes.add("IsNaN", mine), nodes.number(0.0), mine))
                continue
            columns.append(self._filled(estimator, nodes, away, mine, fitted[:, place], np.flatnonzero(donors), far))
        made = [Block(nodes.join(columns), len(columns))]
        return made if estimator.indicator_ is None else [*made, *_marks(estimator.indicator_, nodes)]

    def _filled(self, estimator: Any, nodes: Nodes, away: str, mine: str, values: Any, donors: Any, far: float) -> str:
        near = nodes.pick(away, donors.tolist())
        count = min(estimator.n_neighbors, len(donors))
        distances, places = nodes.canvas.name("distances"), nodes.canvas.name("nearest")
        nodes.several("TopK", [near, nodes.constant(np.array([count]))], [distances, places], axis=1, largest=0)
        given = nodes.add("Gather", nodes.constant(values[donors].astype(np.float64)), places, axis=0)
        usable = nodes.double(nodes.add("Less", distances, nodes.number(far)))
        found = nodes.total(usable)
        mean = nodes.add("Div", nodes.total(nodes.add("Mul", given, usable)), found)
        alone = nodes.add("Equal", found, nodes.number(0.0))
        mean = nodes.add("Where", alone, nodes.number(float(values[donors].mean())), mean)
        return nodes.add("Where", nodes.add("IsNaN", mine), mean, mine)


class RoundImputation(Family):
    """`IterativeImputer`: each column from the others, in the rounds that were fitted, written down one by one."""

    def takes(self, kind: type) -> bool:
        return kind.__name__ == "IterativeImputer" and kind.__module__.startswith("sklearn.")

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        if estimator.sample_posterior:
            raise CannotExport("sample_posterior draws its values; leave it out")
        matrix = nodes.matrix()
        (first,) = nodes.turn(estimator.initial_imputer_, nodes.blocks, "initial_imputer")
        if first.width != nodes.width:
            raise CannotExport("one of its columns had no value; leave the column out")
        gone = where_missing(nodes, matrix, False, estimator.missing_values)
        lost = [nodes.add("Gather", gone, nodes.constant(np.array([place])), axis=1) for place in range(nodes.width)]
        columns = [nodes.pick(first.name, [place]) for place in range(nodes.width)]
        for step in estimator.imputation_sequence_ if estimator.n_iter_ else ():
            others = [Block(columns[place], 1) for place in step.neighbor_feat_idx]
            values = nodes.answer(step.estimator, others, "estimator").values
            low, high = (float(one[step.feat_idx]) for one in (estimator._min_value, estimator._max_value))
            values = nodes.add("Clip", values, nodes.number(low), nodes.number(high))
            columns[step.feat_idx] = nodes.add("Where", lost[step.feat_idx], values, columns[step.feat_idx])
        made = [Block(nodes.join(columns), len(columns))]
        return made if estimator.indicator_ is None else [*made, *_marks(estimator.indicator_, nodes)]
