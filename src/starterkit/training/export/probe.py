"""What the proof asks about: numbers as far out as the contract lets a client go, and right at the trees' thresholds.

Raw inputs cannot be chosen to meet a threshold behind a scaler or an encoder, so the rows are planted in the trees' own
input: the graph is cut in front of them. See docs/decisions/0005-parity.md.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx
import pandas as pd
from numpy.typing import NDArray
from onnx import TensorProto, helper

from starterkit.contract import Column
from starterkit.data.synthetic import draw_rows
from starterkit.serving.graph import Session
from starterkit.training.export.conversion import OPSET, Placed
from starterkit.training.export.families.nodes import DOMAIN, VERSION
from starterkit.training.export.families.trees import Trees

# --- How far: the schema's bounds, and where there are none, as far beyond what was seen as is said.


_ROWS = 500
_SEED = 20041
_MOST = 2.0**53
"""Up to here every whole number is a float64 of its own."""
_LARGEST = 1e300

Answers = Callable[[pd.DataFrame], bool]
"""Whether the estimator has a number for each of some rows."""


class Reach:
    """The ranges in which numbers are to be proven.

    Parameters
    ----------
    columns, seen
        The features, and the rows of the data.
    multiple
        Beyond the values seen, where the schema has no bound, as a multiple of their range.
    """

    def __init__(self, columns: Sequence[Column], seen: pd.DataFrame, multiple: float) -> None:
        self._columns, self._seen = tuple(columns), seen
        small = min(multiple, 1.0)
        # Downward and upward. None: no further down than was seen, where nothing negative was.
        self._steps = [(multiple, multiple), (None, multiple), (None, small), (0.0, 0.0)]

    def within(self, answers: Answers) -> tuple[Column, ...]:
        """The columns with their ranges, which narrow where the estimator has no number: a logarithm, a power."""
        taken = dict.fromkeys((column.name for column in self._columns), 0)
        while not answers(draw_rows(found := self._at(taken), self._seen, _ROWS, _SEED)):
            wider = [name for name, step in taken.items() if step + 1 < len(self._steps)]
            if not wider:
                return found
            alone = [name for name in wider if not answers(self._drawn_alone(found, name))]
            for name in alone or wider:
                taken[name] += 1
        return found

    def _drawn_alone(self, columns: Sequence[Column], name: str) -> pd.DataFrame:
        """Rows of which one column alone goes far."""
        still = tuple(one if one.name == name else replace(one, proven=None) for one in columns)
        return draw_rows(still, self._seen, _ROWS, _SEED)

    def _at(self, taken: Mapping[str, int]) -> tuple[Column, ...]:
        return tuple(self._reaching(column, taken[column.name]) for column in self._columns)

    def _reaching(self, column: Column, step: int) -> Column:
        if column.type not in ("float", "integer") or column.categories:
            return column
        known = self._seen[column.name].dropna()
        lowest, highest = float(known.min()), float(known.max())
        span = highest - lowest or max(abs(highest), 1.0)
        down, up = self._steps[step]
        if down is None:
            down = up if lowest < 0 else 0.0
        most = _MOST if column.type == "integer" else _LARGEST
        low = max(_outward(lowest - span * down, -1), -most)
        high = min(_outward(highest + span * up, 1), most)
        return replace(
            column,
            proven=(
                low if column.minimum is None else float(column.minimum),
                high if column.maximum is None else float(column.maximum),
            ),
        )


def _outward(number: float, sign: int) -> float:
    """The next number of two digits: one that could be a single person's must not stand in a contract."""
    if not number or not math.isfinite(number):
        return number
    unit = 10.0 ** (math.floor(math.log10(abs(number))) - 1)
    return float(f"{(math.ceil if sign > 0 else math.floor)(number / unit) * unit:.12g}")


# --- At a threshold, where rounding shows.


AT_THRESHOLD = 3
"""Every third row is planted."""
_LEAVES_AT_ONCE = 4_000_000
_MISSING_SHARE = 0.2
_DEEPER = 0.5


def cut_before(graph: bytes, name: str) -> bytes:
    """The part of a graph that leads to the named value, with that as its only result."""
    model = onnx.load_from_string(graph)
    del model.graph.output[:]
    model.graph.output.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, None))
    _keep(model, {name})
    return model.SerializeToString()


def cut_after(graph: bytes, name: str) -> bytes:
    """The part of a graph that starts from the named value, with that as its only input."""
    model = onnx.load_from_string(graph)
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info(name, TensorProto.DOUBLE, [None, None]))
    _keep(model, {output.name for output in model.graph.output}, stop=name)
    return model.SerializeToString()


def _keep(model: onnx.ModelProto, needed: set[str], stop: str = "") -> None:
    """Drop the nodes that do not lead to what is needed, or stand before `stop`."""
    kept = []
    for node in reversed(model.graph.node):
        if needed & (set(node.output) - {stop}):
            kept.append(node)
            needed |= set(node.input)
    del model.graph.node[:]
    model.graph.node.extend(reversed(kept))


@dataclass(frozen=True)
class Planted:
    """n rows of the trees' input, and how many different splits those planted at one really meet."""

    rows: NDArray[np.float64]
    splits: int


def plant(rows: NDArray[np.float64], trees: Trees, random: np.random.Generator) -> Planted:
    """The rows, a third of them with one column right at a threshold, or at a neighbouring number.

    The threshold is one of a split that the row comes to, so that it decides; where that sorts categories, it is one of
    those that some split knows. Where a column has missing values, some rows get one there instead.
    """
    planted = np.arange(0, len(rows), AT_THRESHOLD)
    split = _on_the_way(rows[planted], trees, random)
    planted, split = planted[split >= 0], split[split >= 0]
    exact = trees.threshold[split]
    single = exact.astype(np.float32)
    near = [exact, np.nextafter(exact, np.inf), np.nextafter(exact, -np.inf)]
    if trees.single:
        with np.errstate(over="ignore"):  # CatBoost's threshold for missing ones is the lowest float32
            near += [np.nextafter(single, np.float32(np.inf)), np.nextafter(single, np.float32(-np.inf))]
    values = np.array(near)[random.integers(len(near), size=len(split)), np.arange(len(split))]
    column = trees.feature[split]
    for one in {int(trees.feature[node]) for node in trees.members}:
        known = np.unique(np.concatenate([some for node, some in trees.members.items() if trees.feature[node] == one]))
        values = np.where(column == one, random.choice(known, len(values)), values)
    gaps = np.any(np.isnan(rows), axis=0, keepdims=True)[0, column] & (random.random(len(split)) < _MISSING_SHARE)
    rows = rows.copy()
    rows[planted, column] = np.where(gaps, np.nan, values)
    return Planted(rows, len(np.unique(split)))


def _on_the_way(rows: NDArray[np.float64], trees: Trees, random: np.random.Generator) -> NDArray[np.int64]:
    """A split that each of n rows comes to in a tree drawn for it, rather a deep one; −1 where there is none."""
    every, values = np.arange(len(rows)), rows.astype(np.float32).astype(np.float64) if trees.single else rows
    at, chosen = random.choice(trees.roots, len(rows)), np.full(len(rows), -1)
    sorts = np.isin(np.arange(len(trees.feature)), list(trees.members))
    while (inner := trees.feature[at] >= 0).any():
        finite = inner & (np.isfinite(trees.threshold[at]) | sorts[at])
        taken = finite & ((chosen < 0) | (random.random(len(rows)) < _DEEPER))
        chosen[taken] = at[taken]
        held = trees.holds(at, values[every, np.maximum(trees.feature[at], 0)])
        at = np.where(inner, np.where(held, trees.left[at], trees.right[at]), at)
    return chosen


def flipped_leaves(placed: Placed, trees: Trees, rows: NDArray[np.float64]) -> int:
    """How many of n rows end in another leaf of some tree than the library itself says."""
    session, flipped = Session(_leaf_graph(trees)), 0
    for some in _parts(rows, len(trees.roots)):
        (answered,) = session.run({"rows": some})
        expected = placed.family.leaves(placed.estimator, some)
        flipped += int((answered != expected).any(axis=1).sum())
    return flipped


def _parts(rows: NDArray[np.float64], trees: int) -> Iterator[NDArray[np.float64]]:
    size = max(_LEAVES_AT_ONCE // trees, 1)
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def _leaf_graph(trees: Trees) -> bytes:
    """The same trees, answering with the number of the leaf instead of its value."""
    names: Sequence[str] = ["rows"]
    nodes = []
    if trees.single:
        nodes = [
            helper.make_node("Cast", ["rows"], ["single"], to=TensorProto.FLOAT),
            helper.make_node("Cast", ["single"], ["rounded"], to=TensorProto.DOUBLE),
        ]
        names = ["rounded"]
    numbered = trees.leaf_numbers().operator(len(trees.roots))
    nodes.append(helper.make_node("TreeEnsemble", names, ["leaves"], domain=DOMAIN, **numbered))
    graph = helper.make_graph(
        nodes,
        "leaves",
        [helper.make_tensor_value_info("rows", TensorProto.DOUBLE, [None, None])],
        [helper.make_tensor_value_info("leaves", TensorProto.DOUBLE, [None, len(trees.roots)])],
    )
    versions = [helper.make_opsetid("", OPSET[""]), helper.make_opsetid(DOMAIN, VERSION)]
    return helper.make_model(graph, opset_imports=versions, ir_version=10).SerializeToString()
