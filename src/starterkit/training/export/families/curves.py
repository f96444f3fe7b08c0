"""Curves over one column: which interval a number lies in, and what is between its ends."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from starterkit.training.export.families.nodes import DOMAIN, Nodes
from starterkit.training.export.families.trees import Trees

Floats = NDArray[np.float64]


def interval(nodes: Nodes, column: str, edges: Any, upper: bool = False) -> str:
    """How many of the rising edges an n × 1 number has passed: n whole numbers.

    A number right at an edge has passed it, unless `upper`. One balanced tree finds it, for a comparison with each of
    a thousand edges would fill the memory. A missing number has passed all.
    """
    edges = np.asarray(edges, dtype=np.float64)
    if not len(edges):
        return nodes.beyond(nodes.add("Abs", column), np.inf)
    found = nodes.add("TreeEnsemble", column, domain=DOMAIN, **_balanced(edges, upper).operator(1))
    return nodes.flat(nodes.add("Cast", found, to=TensorProto.INT64))


def _balanced(edges: Floats, upper: bool) -> Trees:
    feature: list[int] = []
    threshold: list[float] = []
    left: list[int] = []
    right: list[int] = []
    weight: list[float] = []

    def grow(low: int, high: int) -> int:
        place = len(feature)
        for values in (feature, threshold, left, right, weight):
            values.append(0)
        if low == high:
            feature[place], weight[place] = -1, float(low)
            return place
        middle = (low + high) // 2
        threshold[place] = float(edges[middle])
        left[place], right[place] = grow(low, middle), grow(middle + 1, high)
        return place

    grow(0, len(edges))
    return Trees(
        roots=np.array([0]),
        feature=np.array(feature),
        threshold=np.array(threshold, dtype=np.float64),
        left=np.array(left),
        right=np.array(right),
        missing_left=np.zeros(len(feature), dtype=bool),
        target=np.zeros(len(feature), dtype=np.int64),
        weight=np.array(weight, dtype=np.float64),
        comparison="at most" if upper else "below",
    )


def interpolated(nodes: Nodes, column: str, knots: Any, values: Any) -> str:
    """As ``np.interp``: straight lines between the knots, and beyond them the ends' values. n × 1."""
    knots, values = (np.asarray(one, dtype=np.float64) for one in (knots, values))
    # Of equal knots NumPy takes the last one's value.
    last = np.append(knots[1:] != knots[:-1], True)
    place = interval(nodes, column, knots[last])
    steps = np.diff(knots[last])
    first = np.append(True, knots[1:] != knots[:-1])
    slopes = (values[first][1:] - values[last][:-1]) / steps
    knot = np.append(knots[last][0], knots[last])
    slope = np.concatenate([[0.0], slopes, [0.0]])
    start = np.append(values[0], values[last])
    away = nodes.add("Sub", column, looked_up(nodes, knot, place))
    line = nodes.add("Mul", looked_up(nodes, slope, place), away)
    return nodes.add("Add", line, looked_up(nodes, start, place))


def looked_up(nodes: Nodes, table: Any, place: str) -> str:
    """For each of n places its row of a table of m × k, or its one of m values: n × k."""
    table = np.asarray(table, dtype=np.float64)
    return nodes.add("Gather", nodes.constant(table if table.ndim == 2 else table[:, None]), place, axis=0)


def polynomial(nodes: Nodes, column: str, coefficients: Sequence[float]) -> str:
    """The highest power's coefficient first."""
    value = nodes.number(coefficients[0])
    for one in coefficients[1:]:
        value = nodes.add("Add", nodes.add("Mul", value, column), nodes.number(one))
    return value


def normal_quantile(nodes: Nodes, share: str) -> str:
    """The normal distribution's quantile (Wichura, Algorithm AS 241, 1988), right to about 1e-16."""
    away = nodes.add("Sub", share, nodes.number(0.5))
    square = nodes.add("Mul", away, away)
    middle = nodes.add("Sub", nodes.number(0.180625), square)
    near = nodes.add("Mul", away, _ratio(nodes, middle, 0))
    tail = nodes.add("Min", share, nodes.add("Sub", nodes.number(1.0), share))
    root = nodes.add("Sqrt", nodes.add("Neg", nodes.add("Log", tail)))
    far = nodes.add(
        "Where",
        nodes.add("LessOrEqual", root, nodes.number(5.0)),
        _ratio(nodes, nodes.add("Sub", root, nodes.number(1.6)), 1),
        _ratio(nodes, nodes.add("Sub", root, nodes.number(5.0)), 2),
    )
    far = nodes.add("Mul", far, nodes.add("Sign", away))
    return nodes.add("Where", nodes.add("LessOrEqual", nodes.add("Abs", away), nodes.number(0.425)), near, far)


def _ratio(nodes: Nodes, value: str, region: int) -> str:
    above, below = _AS241[region]
    return nodes.add("Div", polynomial(nodes, value, above), polynomial(nodes, value, below))


_AS241 = (
    (
        (
            *(2509.0809287301226727, 33430.575583588128105, 67265.770927008700853, 45921.953931549871457),
            *(13731.693765509461125, 1971.5909503065514427, 133.14166789178437745, 3.387132872796366608),
        ),
        (
            *(5226.495278852545925, 28729.085735721942674, 39307.89580009271061, 21213.794301586595867),
            *(5394.1960214247511077, 687.1870074920579083, 42.313330701600911252, 1.0),
        ),
    ),
    (
        (
            *(7.7454501427834140764e-4, 0.0227238449892691845833, 0.24178072517745061177, 1.27045825245236838258),
            *(3.64784832476320460504, 5.7694972214606914055, 4.6303378461565452959, 1.42343711074968357734),
        ),
        (
            *(1.05075007164441684324e-9, 5.475938084995344946e-4, 0.0151986665636164571966, 0.14810397642748007459),
            *(0.68976733498510000455, 1.6763848301838038494, 2.05319162663775882187, 1.0),
        ),
    ),
    (
        (
            *(2.01033439929228813265e-7, 2.71155556874348757815e-5, 0.0012426609473880784386),
            *(0.026532189526576123093, 0.29656057182850489123, 1.7848265399172913358, 5.4637849111641143699),
            6.6579046435011037772,
        ),
        (
            *(2.04426310338993978564e-15, 1.4215117583164458887e-7, 1.8463183175100546818e-5),
            *(7.868691311456132591e-4, 0.0148753612908506148525, 0.13692988092273580531, 0.59983220655588793769, 1.0),
        ),
    ),
)
