"""Functions of columns: what NumPy's element-wise ones do, and curves through fitted knots."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto

from starterkit.training.export.families.nodes import DOMAIN, CannotExport, Nodes
from starterkit.training.export.families.trees import Trees

# --- A function is written down as nodes: what it does to a stand-in is what the graph does to the column.


_HINT = "use NumPy's element-wise functions and arithmetic alone, or write a converter (docs/extend-it-here.md)"


def applied(nodes: Nodes, name: str, width: int, function: Callable[..., Any], arguments: Mapping[str, Any]) -> str:
    """What a function of an n × `width` array makes of a matrix of the graph: another, as wide.

    Raises
    ------
    CannotExport
        The function does more than element-wise arithmetic.
    """
    try:
        made = function(Column(nodes, name, width), **arguments)
    except CannotExport:
        raise
    except Exception as error:  # a project's own function may do anything to a stand-in
        raise CannotExport(
            f"its function {_called(function)} does more than element-wise arithmetic; {_HINT}"
        ) from error
    if not isinstance(made, Column) or made.width != width:
        raise CannotExport(f"its function {_called(function)} gives no columns of the same shape; {_HINT}")
    return made.name


def _called(function: Callable[..., Any]) -> str:
    return f"{getattr(function, '__name__', type(function).__name__)}()"


class Column(np.lib.mixins.NDArrayOperatorsMixin):
    """Stands for n × `width` float64 numbers, or where `truth` for booleans."""

    def __init__(self, nodes: Nodes, name: str, width: int, truth: bool = False) -> None:
        self.nodes, self.name, self.width, self.truth = nodes, name, width, truth

    def __array_ufunc__(self, ufunc: Any, method: str, *given: Any, **more: Any) -> "Column":
        if method != "__call__" or more or ufunc.__name__ not in _UFUNCS:
            raise CannotExport(f"numpy.{ufunc.__name__} has no node in float64; {_HINT}")
        width = max(one.width for one in given if isinstance(one, Column))
        names = [self._named(one, width) for one in given]
        return Column(self.nodes, _UFUNCS[ufunc.__name__](self.nodes, *names), width, ufunc.__name__ in _TRUTHS)

    def __array_function__(self, function: Any, types: Any, given: Any, more: Any) -> "Column":
        if function is np.clip and not more:
            column, low, high = given
            column = column if low is None else np.maximum(column, low)
            return column if high is None else np.minimum(column, high)
        if function is np.where and len(given) == 3:
            condition, first, second = given
            if isinstance(condition, Column) and condition.truth:
                names = [self._named(one, condition.width) for one in (first, second)]
                return Column(self.nodes, self.nodes.add("Where", condition.name, *names), condition.width)
        if function is np.nan_to_num and set(more) <= {"nan"}:
            gone = self.nodes.add("IsNaN", self.name)
            filled = self.nodes.add("Where", gone, self.nodes.number(float(more.get("nan", 0.0))), self.name)
            top = np.finfo(np.float64).max
            return np.clip(Column(self.nodes, filled, self.width), -top, top)  # type: ignore[call-overload]
        if function is np.round and len(given) <= 2:
            return self.round(*given[1:], **more)
        raise CannotExport(f"numpy.{function.__name__} is not element-wise arithmetic; {_HINT}")

    def clip(self, low: Any = None, high: Any = None) -> Any:
        return np.clip(self, low, high)  # type: ignore[call-overload]

    def round(self, decimals: int = 0, out: None = None) -> Any:
        if decimals == 0:
            return np.rint(self)
        power = 10.0 ** abs(decimals)
        return np.rint(self * power) / power if decimals > 0 else np.rint(self / power) * power

    def astype(self, kind: Any, **_: Any) -> "Column":
        if self.truth and np.dtype(kind).kind in "fiu":
            return Column(self.nodes, self.nodes.double(self.name), self.width)
        if np.dtype(kind) != np.float64:
            raise CannotExport(f"astype({np.dtype(kind)}) rounds; {_HINT}")
        return self

    def to_numpy(self, *_: Any, **__: Any) -> "Column":
        return self

    def copy(self, *_: Any, **__: Any) -> "Column":
        return self

    def _named(self, one: Any, width: int) -> str:
        if isinstance(one, Column):
            return self.nodes.double(one.name) if one.truth else one.name
        values = np.asarray(one, dtype=np.float64)
        if values.size not in (1, width):
            raise CannotExport(f"its function adds an array of another shape; {_HINT}")
        return self.nodes.number(float(values.ravel()[0])) if values.size == 1 else self.nodes.row(values)


# --- NumPy's element-wise functions. The graph has no log1p and expm1: the compensated forms are right to the last bits
# (Kahan; Higham, Accuracy and Stability of Numerical Algorithms, 2002, 1.14.1).


def log1p(nodes: Nodes, name: str) -> str:
    above = nodes.add("Add", name, nodes.number(1.0))
    line = nodes.add("Sub", above, nodes.number(1.0))
    curve = nodes.add("Div", nodes.add("Mul", name, nodes.add("Log", above)), line)
    plain = nodes.add("Or", nodes.add("Equal", line, nodes.number(0.0)), nodes.add("IsInf", curve))
    whole = nodes.add("Where", nodes.add("Equal", line, nodes.number(0.0)), name, nodes.add("Log", above))
    odd = nodes.add("Or", plain, nodes.add("IsNaN", curve))
    return nodes.add("Where", odd, whole, curve)


def expm1(nodes: Nodes, name: str) -> str:
    power = nodes.add("Exp", name)
    less = nodes.add("Sub", power, nodes.number(1.0))
    curve = nodes.add("Div", nodes.add("Mul", less, name), nodes.add("Log", power))
    small = nodes.add("Less", nodes.add("Abs", name), nodes.number(1.0))
    same = nodes.add("Equal", power, nodes.number(1.0))
    return nodes.add("Where", small, nodes.add("Where", same, name, curve), less)


def _one(kind: str) -> Callable[..., str]:
    return lambda nodes, *names: nodes.add(kind, *names)


def _powered(nodes: Nodes, name: str, power: str) -> str:
    return nodes.add("Pow", name, power)


def _scaled(kind: str, factor: float) -> Callable[..., str]:
    return lambda nodes, name: nodes.add("Mul", nodes.add(kind, name), nodes.number(factor))


def _cube_root(nodes: Nodes, name: str) -> str:
    root = nodes.add("Pow", nodes.add("Abs", name), nodes.number(1.0 / 3.0))
    return nodes.add("Mul", nodes.add("Sign", name), root)


def _square(nodes: Nodes, name: str) -> str:
    return nodes.add("Mul", name, name)


def _hyperbolic(sign: str) -> Callable[..., str]:
    def made(nodes: Nodes, name: str) -> str:
        up, down = nodes.add("Exp", name), nodes.add("Exp", nodes.add("Neg", name))
        return nodes.add("Mul", nodes.add(sign, up, down), nodes.number(0.5))

    return made


def _arcsinh(nodes: Nodes, name: str) -> str:
    size = nodes.add("Abs", name)
    square = nodes.add("Mul", size, size)
    root = nodes.add("Add", nodes.number(1.0), nodes.add("Sqrt", nodes.add("Add", square, nodes.number(1.0))))
    risen = log1p(nodes, nodes.add("Add", size, nodes.add("Div", square, root)))
    return nodes.add("Mul", nodes.add("Sign", name), risen)


_TRUTHS = ("greater", "greater_equal", "less", "less_equal", "equal", "isnan", "logical_not")
_UFUNCS: Mapping[str, Callable[..., str]] = {
    "absolute": _one("Abs"),
    "add": _one("Add"),
    "arcsinh": _arcsinh,
    "cbrt": _cube_root,
    "ceil": _one("Ceil"),
    "cos": _one("Cos"),
    "cosh": _hyperbolic("Add"),
    "divide": _one("Div"),
    "equal": _one("Equal"),
    "exp": _one("Exp"),
    "exp2": lambda nodes, name: nodes.add("Pow", nodes.number(2.0), name),
    "expit": _one("Sigmoid"),
    "expm1": expm1,
    "fabs": _one("Abs"),
    "float_power": _powered,
    "floor": _one("Floor"),
    "greater": _one("Greater"),
    "greater_equal": _one("GreaterOrEqual"),
    "isnan": _one("IsNaN"),
    "less": _one("Less"),
    "less_equal": _one("LessOrEqual"),
    "log": _one("Log"),
    "log10": _scaled("Log", 1.0 / np.log(10.0)),
    "log1p": log1p,
    "log2": _scaled("Log", 1.0 / np.log(2.0)),
    "maximum": _one("Max"),
    "minimum": _one("Min"),
    "multiply": _one("Mul"),
    "negative": _one("Neg"),
    "positive": _one("Identity"),
    "power": _powered,
    "reciprocal": lambda nodes, name: nodes.add("Div", nodes.number(1.0), name),
    "rint": _one("Round"),
    "sign": _one("Sign"),
    "sin": _one("Sin"),
    "sinh": _hyperbolic("Sub"),
    "sqrt": _one("Sqrt"),
    "square": _square,
    "subtract": _one("Sub"),
    "tan": lambda nodes, name: nodes.add("Div", nodes.add("Sin", name), nodes.add("Cos", name)),
    "tanh": _one("Tanh"),
}


# --- Curves over one column: which interval a number lies in, and what is between its ends.


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
