"""The graph while it is made: what flows between an estimator's parts, the nodes that each part adds, and the seam."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

if TYPE_CHECKING:
    from starterkit.training.export.families.trees import TreeFamily

DOMAIN, VERSION = "ai.onnx.ml", 5
OPSET = {"": 18, DOMAIN: VERSION}
OWN_DOMAIN = "com.microsoft"
"""onnxruntime's own operators; a graph that has some says so."""


class CannotExport(Exception):
    """An estimator was fitted in a way that no graph can follow. After a semicolon the message has the hint.

    `part` is the class that it is about, `steps` lead there through pipelines and ensembles, the outermost first.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.part = ""
        self.steps: list[str] = []


@dataclass(frozen=True)
class Block:
    """n × `width` values in the graph, all of them float64 numbers or all of them texts."""

    name: str
    width: int
    texts: bool = False


@dataclass(frozen=True)
class Answer:
    """What a predictor says: n × 1 `values`, or for a classifier the `place` of each row's class among its classes.

    A classifier may have n × k `probabilities` besides, and `scores` as its ``decision_function`` has them, n × k or
    n × 1. What it has not is empty.
    """

    values: str = ""
    place: str = ""
    probabilities: str = ""
    scores: str = ""


@dataclass(frozen=True)
class Placed:
    """Trees in a graph: whose they are, and the name of the float64 matrix that they take."""

    estimator: Any
    family: "TreeFamily"
    taken: str


@dataclass
class Canvas:
    """Everything that the parts have added so far. `find` gives the family that converts a fitted estimator.

    `single` is whether a part answers in float32.
    """

    find: Callable[[Any], "Family"]
    nodes: list[NodeProto] = field(default_factory=list)
    constants: list[TensorProto] = field(default_factory=list)
    placed: list[Placed] = field(default_factory=list)
    single: bool = False

    def name(self, kind: str) -> str:
        """A name that nothing else in the graph has, for no column's begins so."""
        return f"kit.{kind}.{len(self.nodes) + len(self.constants)}"


class Nodes:
    """Adds the nodes of one part to the graph, and gives each result a name of its own."""

    def __init__(self, canvas: Canvas, blocks: Sequence[Block]) -> None:
        self.canvas = canvas
        self.blocks = tuple(blocks)
        self.taken = ""
        """The name of `matrix`, once it is there."""

    # --- Nodes and fixed values.

    def add(self, kind: str, *taken: str, gives: str | None = None, domain: str = "", **attributes: Any) -> str:
        """A node; the name of its one result comes back."""
        name = gives or self.canvas.name(kind)
        self.canvas.nodes.append(helper.make_node(kind, list(taken), [name], domain=domain, **attributes))
        return name

    def several(self, kind: str, taken: Sequence[str], gives: Sequence[str], **attributes: Any) -> None:
        """A node with several results, whose names are given."""
        self.canvas.nodes.append(helper.make_node(kind, list(taken), list(gives), **attributes))

    def constant(self, values: Any) -> str:
        """Fixed values: float64, int64, booleans or texts."""
        values = np.asarray(values)
        name = self.canvas.name("constant")
        if values.dtype.kind in "OU":
            texts: Any = [str(one).encode() for one in values.ravel()]
            self.canvas.constants.append(helper.make_tensor(name, TensorProto.STRING, list(values.shape), texts))
        else:
            self.canvas.constants.append(numpy_helper.from_array(np.ascontiguousarray(values), name))
        return name

    def number(self, value: float) -> str:
        """One float64."""
        return self.constant(np.array(value, dtype=np.float64))

    def row(self, values: Any) -> str:
        """1 × k float64 values, for all rows alike."""
        return self.constant(np.asarray(values, dtype=np.float64).reshape(1, -1))

    # --- What the part takes.

    @property
    def width(self) -> int:
        """How many columns the part takes."""
        return sum(block.width for block in self.blocks)

    @property
    def texts(self) -> bool:
        """Whether the part takes texts alone."""
        return bool(self.blocks) and all(block.texts for block in self.blocks)

    def columns(self) -> Iterator[tuple[str, bool]]:
        """What the part takes, one n × 1 column after the other, and whether it holds texts."""
        for block in self.blocks:
            for place in range(block.width):
                yield self.pick(block.name, [place]) if block.width > 1 else block.name, block.texts

    def inputs(self) -> str:
        """What the part takes, as one matrix of their common type."""
        if len({block.texts for block in self.blocks}) > 1:
            raise CannotExport("it is given texts and numbers together; give it columns of one kind")
        return self.join([block.name for block in self.blocks])

    def matrix(self) -> str:
        """What the part takes, as one float64 matrix."""
        if any(block.texts for block in self.blocks):
            raise CannotExport("it is given texts; put an encoder in front of it")
        self.taken = self.inputs()
        return self.taken

    def select(self, places: Sequence[int]) -> list[Block]:
        """Some of the columns, in the order asked for."""
        owner = [(block, place) for block in self.blocks for place in range(block.width)]
        runs: list[tuple[Block, list[int]]] = []
        for block, place in (owner[place] for place in places):
            if runs and runs[-1][0] is block:
                runs[-1][1].append(place)
            else:
                runs.append((block, [place]))
        return [
            block if some == list(range(block.width)) else Block(self.pick(block.name, some), len(some), block.texts)
            for block, some in runs
        ]

    # --- Common steps.

    def join(self, names: Sequence[str]) -> str:
        """Several matrices side by side."""
        return names[0] if len(names) == 1 else self.add("Concat", *names, axis=1)

    def pick(self, name: str, places: Sequence[int]) -> str:
        """Some columns of a matrix."""
        return self.add("Gather", name, self.constant(np.array(places, dtype=np.int64)), axis=1)

    def double(self, name: str) -> str:
        return self.add("Cast", name, to=TensorProto.DOUBLE)

    def flat(self, name: str) -> str:
        """n × 1 values as n."""
        return self.add("Reshape", name, self.constant(np.array([-1])))

    def upright(self, name: str) -> str:
        """n values as n × 1."""
        return self.add("Reshape", name, self.constant(np.array([-1, 1])))

    def total(self, name: str) -> str:
        """Each row's sum, n × 1."""
        return self.add("ReduceSum", name, self.constant(np.array([1])), keepdims=1)

    def linear(self, name: str, weights: Any, base: Any) -> str:
        """``matrix @ weights + base``, for k × m weights and m base values."""
        weights = np.asarray(weights, dtype=np.float64)
        base = np.broadcast_to(np.asarray(base, dtype=np.float64).ravel(), (weights.shape[1],))
        product = self.add("MatMul", name, self.constant(weights))
        return self.add("Add", product, self.row(base)) if base.any() else product

    def largest(self, name: str) -> str:
        """The place of each row's largest value, the first of several; n whole numbers."""
        return self.add("ArgMax", name, axis=1, keepdims=0)

    def beyond(self, name: str, limit: float = 0.0, also_at: bool = False) -> str:
        """n whole numbers: 1 where an n × 1 value is greater than the limit."""
        above = self.add("GreaterOrEqual" if also_at else "Greater", name, self.number(limit))
        return self.flat(self.add("Cast", above, to=TensorProto.INT64))

    def sigmoid(self, name: str) -> str:
        """SciPy's ``expit``. onnxruntime's own operator is zero below −37, and shares of such ones are asked for."""
        risen = self.add("Add", self.add("Exp", self.add("Neg", name)), self.number(1.0))
        return self.add("Div", self.number(1.0), risen)

    def both(self, name: str) -> str:
        """The probabilities of two classes, from the second's."""
        return self.join([self.add("Sub", self.number(1.0), name), name])

    def shares(self, name: str) -> str:
        """Each row divided by its sum."""
        return self.add("Div", name, self.total(name))

    # --- Parts inside.

    def turn(self, estimator: Any, blocks: Sequence[Block], step: str = "") -> list[Block]:
        """What a fitted transformer makes of some columns."""
        with _Inside(estimator, step):
            return list(self.canvas.find(estimator).turn(estimator, Nodes(self.canvas, blocks)))

    def answer(self, estimator: Any, blocks: Sequence[Block], step: str = "") -> Answer:
        """What a fitted predictor says to some columns."""
        with _Inside(estimator, step):
            return self.canvas.find(estimator).answer(estimator, Nodes(self.canvas, blocks))


class _Inside:
    """Tells a refusal where it happened."""

    def __init__(self, estimator: Any, step: str) -> None:
        self._part, self._step = type(estimator).__name__, step

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, CannotExport):
            error.part = error.part or self._part
            error.steps = [self._step, *error.steps] if self._step else error.steps


def is_a(estimator: Any, kinds: Any) -> bool:
    """`isinstance`, after which a type checker still lets every parameter be read: scikit-learn declares none."""
    return isinstance(estimator, kinds)


def summed(nodes: Nodes, names: Sequence[str]) -> str:
    """Their sum, added one after the other as the libraries do."""
    total = names[0]
    for name in names[1:]:
        total = nodes.add("Add", total, name)
    return total


def squared_distances(nodes: Nodes, name: str, points: Any) -> str:
    """n × k: the squared distances to k points. Both are centred first, so that little is lost to cancellation."""
    points = np.asarray(points, dtype=np.float64)
    centre = points.mean(axis=0)
    near, name = points - centre, nodes.add("Sub", name, nodes.row(centre))
    own = nodes.total(nodes.add("Mul", name, name))
    mixed = nodes.linear(name, -2.0 * near.T, (near**2).sum(axis=1))
    return nodes.add("Max", nodes.add("Add", mixed, own), nodes.number(0.0))


def labels_of(classes: NDArray[Any]) -> NDArray[Any]:
    """A classifier's labels as ONNX has them: whole numbers or texts."""
    if classes.dtype.kind in "biu":
        return classes.astype(np.int64)
    if classes.dtype.kind in "OU":
        return classes.astype(str)
    raise CannotExport("its labels are neither texts, booleans nor whole numbers; turn them into texts in load()")


def attribute(name: str, values: NDArray[Any]) -> Any:
    """Values as a tensor that stands in a node's attribute."""
    return numpy_helper.from_array(values, name)


# --- The seam between an estimator and the graph: one small class a family.


class Family(ABC):
    """How one kind of estimator becomes part of a graph.

    Another library, or a class of one's own, needs one such class, made known under the entry point group
    ``starterkit.families``. It has `takes` and `convert`. The kit's own have `answer` or `turn` instead, where they
    have more to say.
    """

    @abstractmethod
    def takes(self, kind: type) -> bool:
        """Whether estimators of this class are of the family. It imports no library that is not there yet."""

    def convert(self, estimator: Any, nodes: Nodes, gives: Sequence[str]) -> None:
        """Add the nodes whose results are named `gives`.

        One for a regressor, n × 1, or for a transformer, n × its columns; n labels and n × k probabilities for a
        classifier.

        Raises
        ------
        CannotExport
            The estimator was fitted in a way that a graph cannot follow.
        """
        raise CannotExport(
            "it has no graph in this place; a predictor stands at a pipeline's end, a transformer before"
        )

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        """Add the nodes of a predictor."""
        if not hasattr(estimator, "predict"):
            raise CannotExport("it predicts nothing; put a regressor or a classifier behind it")
        if not hasattr(estimator, "classes_"):
            values = nodes.canvas.name("values")
            self.convert(estimator, nodes, [values])
            return Answer(values=values)
        label, probabilities = nodes.canvas.name("label"), nodes.canvas.name("probabilities")
        self.convert(estimator, nodes, [label, probabilities])
        known = labels_of(np.asarray(estimator.classes_))
        kind = "strings" if known.dtype.kind == "U" else "int64s"
        keys: dict[str, Any] = {f"keys_{kind}": known.tolist(), "values_int64s": [*range(len(known))]}
        if kind == "int64s":  # onnxruntime's operator wants texts on one side
            equal = nodes.add("Equal", nodes.upright(label), nodes.constant(known.reshape(1, -1)))
            return Answer(place=nodes.largest(nodes.double(equal)), probabilities=probabilities)
        return Answer(place=nodes.add("LabelEncoder", label, domain="ai.onnx.ml", **keys), probabilities=probabilities)

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        """Add the nodes of a transformer; what it makes comes back."""
        if not hasattr(estimator, "transform"):
            raise CannotExport("it transforms nothing; put it at the end of the pipeline")
        made = nodes.canvas.name("columns")
        self.convert(estimator, nodes, [made])
        return [Block(made, columns_of(estimator, nodes.width))]


def columns_of(estimator: Any, taken: int) -> int:
    """How many columns a fitted transformer makes of so many."""
    try:
        return len(estimator.get_feature_names_out())
    except (AttributeError, ValueError, TypeError):
        return taken
