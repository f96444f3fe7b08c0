"""A function of columns, written down as nodes: what it does to a stand-in is what the graph does to the column."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from starterkit.training.export.families.nodes import CannotExport, Nodes

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
