"""Transformers that change each column by itself, and back again for a transformed target; imputers.

A missing number is NaN; a missing text is empty, as everywhere in the kit.
"""

from abc import abstractmethod
from typing import Any

import numpy as np
import pandas as pd
from onnx import TensorProto
from sklearn.impute import KNNImputer, MissingIndicator, SimpleImputer
from sklearn.preprocessing import (
    Binarizer,
    FunctionTransformer,
    KBinsDiscretizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    PowerTransformer,
    QuantileTransformer,
    RobustScaler,
    StandardScaler,
)

from starterkit.training.export.families.functions import (
    applied,
    expm1,
    interpolated,
    interval,
    log1p,
    looked_up,
    normal_quantile,
)
from starterkit.training.export.families.nodes import Block, CannotExport, Family, Nodes, is_a

# --- Scalers, powers, quantiles, bins.


class Turning(Family):
    """As many columns as were there, and perhaps the way back."""

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        return [Block(self.forth(estimator, nodes, nodes.matrix()), nodes.width)]

    @abstractmethod
    def forth(self, estimator: Any, nodes: Nodes, name: str) -> str:
        """``transform`` of the columns."""

    def back(self, estimator: Any, nodes: Nodes, name: str) -> str:
        """``inverse_transform`` of one column."""
        raise CannotExport("its way back has no graph; use PowerTransformer, StandardScaler or a NumPy function")


class Scaling(Turning):
    """The scalers: less a shift, by a factor."""

    def takes(self, kind: type) -> bool:
        return kind in (MaxAbsScaler, MinMaxScaler, RobustScaler, StandardScaler)

    def forth(self, estimator: Any, nodes: Nodes, name: str) -> str:
        if is_a(estimator, MinMaxScaler):
            name = nodes.add("Add", nodes.add("Mul", name, nodes.row(estimator.scale_)), nodes.row(estimator.min_))
            low, high = estimator.feature_range
            return self._clipped(nodes, name, low, high) if estimator.clip else name
        if is_a(estimator, MaxAbsScaler):
            name = nodes.add("Div", name, nodes.row(estimator.scale_))
            return self._clipped(nodes, name, -1.0, 1.0) if getattr(estimator, "clip", False) else name
        shift, scale = self._shift_and_scale(estimator)
        if shift is not None:
            name = nodes.add("Sub", name, nodes.row(shift))
        return name if scale is None else nodes.add("Div", name, nodes.row(scale))

    def back(self, estimator: Any, nodes: Nodes, name: str) -> str:
        if is_a(estimator, MinMaxScaler):
            return nodes.add("Div", nodes.add("Sub", name, nodes.row(estimator.min_)), nodes.row(estimator.scale_))
        if is_a(estimator, MaxAbsScaler):
            return nodes.add("Mul", name, nodes.row(estimator.scale_))
        shift, scale = self._shift_and_scale(estimator)
        if scale is not None:
            name = nodes.add("Mul", name, nodes.row(scale))
        return name if shift is None else nodes.add("Add", name, nodes.row(shift))

    def _shift_and_scale(self, estimator: Any) -> tuple[Any, Any]:
        if is_a(estimator, RobustScaler):
            centre = estimator.center_ if estimator.with_centering else None
            return centre, estimator.scale_ if estimator.with_scaling else None
        return estimator.mean_ if estimator.with_mean else None, estimator.scale_ if estimator.with_std else None

    def _clipped(self, nodes: Nodes, name: str, low: float, high: float) -> str:
        inside = nodes.add("Clip", name, nodes.number(low), nodes.number(high))
        return nodes.add("Where", nodes.add("IsNaN", name), name, inside)


class RowScaling(Turning):
    """`Normalizer`, by the row's size, and `Binarizer`."""

    def takes(self, kind: type) -> bool:
        return kind in (Binarizer, Normalizer)

    def forth(self, estimator: Any, nodes: Nodes, name: str) -> str:
        if is_a(estimator, Binarizer):
            return nodes.double(nodes.add("Greater", name, nodes.number(estimator.threshold)))
        size = nodes.add("Abs", name)
        if estimator.norm == "max":
            size = nodes.add("ReduceMax", size, nodes.constant(np.array([1])), keepdims=1)
        elif estimator.norm == "l1":
            size = nodes.total(size)
        else:
            size = nodes.add("Sqrt", nodes.total(nodes.add("Mul", name, name)))
        none = nodes.add("Equal", size, nodes.number(0.0))
        return nodes.add("Div", name, nodes.add("Where", none, nodes.number(1.0), size))


class Functions(Turning):
    """`FunctionTransformer`: the function is applied to a stand-in for the columns."""

    def takes(self, kind: type) -> bool:
        return kind is FunctionTransformer

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        return list(nodes.blocks) if estimator.func is None else super().turn(estimator, nodes)

    def forth(self, estimator: Any, nodes: Nodes, name: str) -> str:
        return self._done(nodes, name, nodes.width, estimator.func, estimator.kw_args)

    def back(self, estimator: Any, nodes: Nodes, name: str) -> str:
        return self._done(nodes, name, 1, estimator.inverse_func, estimator.inv_kw_args)

    def _done(self, nodes: Nodes, name: str, width: int, function: Any, arguments: Any) -> str:
        return name if function is None else applied(nodes, name, width, function, arguments or {})


class Power(Turning):
    """`PowerTransformer`: Yeo and Johnson's, or Box and Cox's."""

    def takes(self, kind: type) -> bool:
        return kind is PowerTransformer

    def forth(self, estimator: Any, nodes: Nodes, name: str) -> str:
        turned = _box_cox if estimator.method == "box-cox" else _yeo_johnson
        columns = [turned(nodes, nodes.pick(name, [place]), one) for place, one in enumerate(estimator.lambdas_)]
        name = nodes.join(columns)
        return Scaling().forth(estimator._scaler, nodes, name) if estimator.standardize else name

    def back(self, estimator: Any, nodes: Nodes, name: str) -> str:
        if estimator.standardize:
            name = Scaling().back(estimator._scaler, nodes, name)
        power = float(estimator.lambdas_[0])
        if estimator.method == "box-cox":
            return _box_cox_back(nodes, name, power)
        above = _risen_back(nodes, name, power)
        below = nodes.add("Neg", _risen_back(nodes, nodes.add("Neg", name), 2.0 - power))
        return nodes.add("Where", nodes.add("GreaterOrEqual", name, nodes.number(0.0)), above, below)


_NONE = float(np.spacing(1.0))


def _risen(nodes: Nodes, name: str, power: float) -> str:
    risen = log1p(nodes, name)
    if abs(power) < _NONE:
        return risen
    return nodes.add("Div", expm1(nodes, nodes.add("Mul", nodes.number(power), risen)), nodes.number(power))


def _risen_back(nodes: Nodes, name: str, power: float) -> str:
    if abs(power) < _NONE:
        return nodes.add("Sub", nodes.add("Exp", name), nodes.number(1.0))
    base = nodes.add("Add", nodes.add("Mul", name, nodes.number(power)), nodes.number(1.0))
    return nodes.add("Sub", nodes.add("Pow", base, nodes.number(1.0 / power)), nodes.number(1.0))


def _yeo_johnson(nodes: Nodes, name: str, power: float) -> str:
    # Each half is asked about its own numbers alone: the other half's could be without a logarithm.
    above = _risen(nodes, nodes.add("Max", name, nodes.number(0.0)), power)
    below = nodes.add("Neg", _risen(nodes, nodes.add("Neg", nodes.add("Min", name, nodes.number(0.0))), 2.0 - power))
    made = nodes.add("Where", nodes.add("GreaterOrEqual", name, nodes.number(0.0)), above, below)
    return nodes.add("Where", nodes.add("IsNaN", name), name, made)


def _box_cox(nodes: Nodes, name: str, power: float) -> str:
    logarithm = nodes.add("Log", name)
    if power == 0:
        return logarithm
    return nodes.add("Div", expm1(nodes, nodes.add("Mul", nodes.number(power), logarithm)), nodes.number(power))


def _box_cox_back(nodes: Nodes, name: str, power: float) -> str:
    if power == 0:
        return nodes.add("Exp", name)
    logarithm = log1p(nodes, nodes.add("Mul", nodes.number(power), name))
    return nodes.add("Exp", nodes.add("Div", logarithm, nodes.number(power)))


_EDGE = 1e-7


class Quantiles(Turning):
    """`QuantileTransformer`: a column's share of the rows below it, straight between the quantiles."""

    def takes(self, kind: type) -> bool:
        return kind is QuantileTransformer

    def forth(self, estimator: Any, nodes: Nodes, name: str) -> str:
        columns = []
        for place in range(estimator.quantiles_.shape[1]):
            column = nodes.pick(name, [place])
            columns.append(self._share(estimator, nodes, column, estimator.quantiles_[:, place]))
        return nodes.join(columns)

    def _share(self, estimator: Any, nodes: Nodes, column: str, quantiles: Any) -> str:
        normal, references = estimator.output_distribution == "normal", estimator.references_
        up = interpolated(nodes, column, quantiles, references)
        down = interpolated(nodes, nodes.add("Neg", column), -quantiles[::-1], -references[::-1])
        share = nodes.add("Mul", nodes.add("Sub", up, down), nodes.number(0.5))
        low, high = nodes.number(quantiles[0]), nodes.number(quantiles[-1])
        if normal:
            above = nodes.add("Greater", nodes.add("Add", column, nodes.number(_EDGE)), high)
            below = nodes.add("Less", nodes.add("Sub", column, nodes.number(_EDGE)), low)
        else:
            above, below = nodes.add("Equal", column, high), nodes.add("Equal", column, low)
        share = nodes.add("Where", above, nodes.number(1.0), share)
        share = nodes.add("Where", below, nodes.number(0.0), share)
        if normal:
            from scipy.stats import norm

            lowest, highest = (float(norm.ppf(one)) for one in (_EDGE - np.spacing(1), 1 - (_EDGE - np.spacing(1))))
            kept = nodes.add("Clip", share, nodes.number(1e-300), nodes.number(1 - 2e-16))
            share = nodes.add("Clip", normal_quantile(nodes, kept), nodes.number(lowest), nodes.number(highest))
        return nodes.add("Where", nodes.add("IsNaN", column), column, share)

    def back(self, estimator: Any, nodes: Nodes, name: str) -> str:
        if estimator.output_distribution == "normal":
            raise CannotExport("its way back from output_distribution='normal' has no graph; use 'uniform'")
        return interpolated(nodes, name, estimator.references_, estimator.quantiles_[:, 0])


class Bins(Family):
    """`KBinsDiscretizer`: the bin's number, or a column for each."""

    def takes(self, kind: type) -> bool:
        return kind is KBinsDiscretizer

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        columns, width = [], 0
        for (column, is_text), edges, bins in zip(
            nodes.columns(), estimator.bin_edges_, estimator.n_bins_, strict=True
        ):
            if is_text:
                raise CannotExport("it is given texts; put an encoder in front of it")
            place = interval(nodes, column, edges[1:-1])
            table = np.arange(bins, dtype=np.float64)[:, None] if estimator.encode == "ordinal" else np.eye(int(bins))
            columns.append(looked_up(nodes, table, place))
            width += table.shape[1]
        return [Block(nodes.join(columns), width)]


# --- Imputers and marks of missing values.


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
