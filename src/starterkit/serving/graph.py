"""`Graph`: an ONNX graph that takes columns and gives a prediction, on the cores that it may use."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starterkit.contract import Column, Layout, Prediction, Task
from starterkit.errors import ContractError, SettingsError
from starterkit.machine import send_nothing

# --- What a session may use, and what it gets.

_NAMES: Mapping[str, str] = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_HINT = "Install onnxruntime-gpu and its driver, set serving.providers to [cpu], or allow serving.provider_fallback"


@dataclass(frozen=True)
class Compute:
    """Threads of one call, and execution providers in the order of preference: `cpu`, `cuda`.

    Where a provider that is asked for is not there, `fallback` takes the next one, and the CPU in the end.
    """

    threads: int = 1
    providers: Sequence[str] = ("cpu",)
    fallback: bool = False

    def choose(self, available: Sequence[str]) -> list[str]:
        """onnxruntime's names of those that are there.

        Raises
        ------
        SettingsError
            One is not, and no fall-back is allowed.
        """
        self.require(available)
        wanted = [_NAMES[name] for name in self.providers]
        return [name for name in wanted if name in available] or [_NAMES["cpu"]]

    def require(self, got: Sequence[str]) -> None:
        """See that a session has what it was given: onnxruntime falls back without a word where a driver is missing.

        Raises
        ------
        SettingsError
            It has not, and no fall-back is allowed.
        """
        missing = [name for name in self.providers if _NAMES[name] not in got]
        if missing and not self.fallback:
            what = f"execution provider '{missing[0]}' is not there, only {', '.join(_short(got))}"
            raise SettingsError(what, _HINT)


def _short(names: Sequence[str]) -> list[str]:
    """onnxruntime's names as the settings have them; those that the settings do not know stay out."""
    known = {long: name for name, long in _NAMES.items()}
    return [known[name] for name in names if name in known]


# --- `Graph`: an ONNX graph that takes columns and gives a prediction.

Columns = Mapping[str, NDArray[Any]]
"""One array of length n for each column, by name. A missing value is NaN; a missing text may also be empty."""
Table = Columns | NDArray[np.float64]
"""Columns by name, or where all are numbers one matrix of n rows, with the columns in the contract's order."""
_ONE_THREAD = Compute()


def rows_of(table: Table) -> int:
    return len(table) if isinstance(table, np.ndarray) else len(next(iter(table.values()), ()))


GUARDED_ROWS = "kit.guard.rows"
"""The constant in a graph that says at how many rows it looks for numbers beyond its proof, to refuse them. See
`training.export.conversion`."""
_STRICT = "kit.guard.strict"  # the same in graphs of earlier kits: what they found was multiplied with it


AT_ONCE = 4_096
"""Rows of one call: their distances to five thousand fitted rows are 160 MB."""


class Session:
    """An ONNX graph in onnxruntime. `providers` names where it really runs: `cpu`, `cuda`.

    It answers also beyond the range in which it is proven: whoever asks has checked the rows, or wants to see.

    Raises
    ------
    ContractError
        onnxruntime refuses the graph.
    SettingsError
        A provider is not there, and no fall-back is allowed.
    """

    def __init__(self, graph: bytes, compute: Compute = _ONE_THREAD) -> None:
        send_nothing()
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = compute.threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # errors reach us as exceptions
        none = {GUARDED_ROWS: np.array([0]), _STRICT: np.array(0)}
        self._lenient = {name: onnxruntime.OrtValue.ortvalue_from_numpy(value) for name, value in none.items()}
        for name, value in self._lenient.items():  # which have to live as long as the session
            options.add_initializer(name, value)
        chosen = compute.choose(onnxruntime.get_available_providers())
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=chosen)
        except Exception as error:  # onnxruntime's errors share no other base class
            reason = str(error).splitlines()[0]
            raise ContractError(f"onnxruntime cannot load the graph: {reason}", "Export the model again") from error
        compute.require(self._session.get_providers())
        self.providers = tuple(_short(self._session.get_providers()))  # the CPU too, for what another cannot do
        self.inputs = tuple(given.name for given in self._session.get_inputs())
        self.outputs = tuple(told.name for told in self._session.get_outputs())

    def run(self, feed: Mapping[str, NDArray[Any]]) -> list[NDArray[Any]]:
        """One array for each output of the graph, n rows long as the inputs are.

        Raises
        ------
        ContractError
            The graph does not take these arrays.
        """
        count = max(map(len, feed.values()))
        if count > AT_ONCE:
            parts = range(0, count, AT_ONCE)
            answers = [self.run({name: one[at : at + AT_ONCE] for name, one in feed.items()}) for at in parts]
            return [np.concatenate(of_one) for of_one in zip(*answers, strict=True)]
        try:
            return [np.asarray(one) for one in self._session.run(self.outputs, dict(feed))]
        except Exception as error:  # as above
            reason = str(error).splitlines()[0]
            if any(words in reason for words in _NO_MEMORY):
                raise MemoryError from None
            raise ContractError(f"the graph does not take these columns: {reason}", "Export the model again") from error


_NO_MEMORY = ("bad_alloc", "bad allocation", "Failed to allocate memory", "Available memory")


class Order:
    """Puts rows beside each other that go the same ways through trees, for processors guess these then.

    A row is answered alike wherever it stands. A sample tells by which columns: those whose upper and lower half have
    the most different answers.
    """

    def __init__(self, sample: NDArray[Any], answers: NDArray[np.float64]) -> None:
        sample = np.nan_to_num(sample)
        self._middles = np.median(sample, axis=0)
        upper, answers = sample > self._middles, answers.reshape(len(answers), -1)
        apart = np.abs((upper - upper.mean(axis=0)).T @ (answers - answers.mean(axis=0))).sum(axis=1)
        self._columns = np.argsort(-apart)[:_HALVED]
        self._bits = 2 ** np.arange(len(self._columns))[::-1]

    def of(self, numbers: NDArray[Any]) -> NDArray[np.intp]:
        """The places of n rows in that order."""
        upper = numbers[:, self._columns] > self._middles[self._columns]
        return np.argsort(upper @ self._bits, kind="stable")


_HALVED, _FEW_COLUMNS, _MANY_ROWS = 12, 30, 2_048
"""Fewer rows, or ways by more columns, have too little in common."""


class Graph:
    """A graph in memory, ready to answer for columns, for numbers too beyond the range in which it is proven.

    Raises
    ------
    ContractError
        onnxruntime refuses the graph.
    """

    def __init__(
        self, graph: bytes, *, columns: Sequence[Column], layout: Layout, task: Task, compute: Compute = _ONE_THREAD
    ) -> None:
        self._session = Session(graph, compute)
        self._columns = tuple(columns)
        self._layout = layout
        self._task: Task = task
        # A matrix product may sum a row otherwise at another place.
        self._has_trees = b"TreeEnsemble" in graph and not any(name in graph for name in (b"MatMul", b"Gemm"))
        self._order: Order | None = None
        self.decides = self.outputs[-1].startswith(f"{self.outputs[0]}{DECISION}")  # whether it answers decision values

    @property
    def providers(self) -> tuple[str, ...]:
        return self._session.providers

    @property
    def outputs(self) -> tuple[str, ...]:
        return self._session.outputs

    def answer(self, table: Table) -> Prediction:
        """Answers for n rows. Further columns are ignored; a matrix has none.

        Raises
        ------
        ContractError
            The graph does not take these columns, or does not answer as its task says.
        """
        feed = self.feed(table)
        if self._order is None or rows_of(table) < _MANY_ROWS:
            return as_prediction(self._session.run(feed), self._task, decides=self.decides)
        order = self._order.of(_numbers(feed))
        back = np.empty_like(order)
        back[order] = np.arange(len(order))
        answers = self._session.run({name: one[order] for name, one in feed.items()})
        return as_prediction([one[back] for one in answers], self._task, decides=self.decides)

    def order_by(self, sample: Table, answered: Prediction) -> None:
        """Answer many rows like these in an order in which trees are quicker; what comes back has their own."""
        if self._has_trees and answered.numbers.dtype.kind == "f":
            numbers = _numbers(self.feed(sample))
            if 0 < numbers.shape[1] <= _FEW_COLUMNS:
                self._order = Order(numbers, answered.numbers)

    def feed(self, table: Table) -> dict[str, NDArray[Any]]:
        """What the graph's inputs get: one float64 matrix, or an array a column."""
        if self._layout == "matrix":
            if not isinstance(table, np.ndarray):
                table = np.column_stack([table[column.name] for column in self._columns])
            return {self._session.inputs[0]: table.astype(np.float64, copy=False)}
        assert not isinstance(table, np.ndarray)  # a matrix is read where the graph takes one
        return {column.name: _as_input(column, table[column.name]) for column in self._columns}


def _numbers(feed: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
    """The columns of a graph's inputs that are no texts, side by side."""
    some = [one for one in feed.values() if one.dtype != object]
    return np.column_stack(some) if some else np.empty((0, 0))


DECISION = "_decision_value_of_"
"""How the names of outputs with a classifier's decision values go on behind that of the label."""


def as_prediction(answers: Sequence[NDArray[Any]], task: Task, *, decides: bool = False) -> Prediction:
    """A graph's outputs as a prediction: values alone, or labels and one array of probabilities a class.

    Where it `decides`, these are decision values instead.

    Raises
    ------
    ContractError
        They are not those of the task.
    """
    if len(answers) > 1 and task == "regression":
        raise ContractError(f"the graph does not answer as a {task} does", "Export the model again")
    if task == "regression":
        return Prediction(answers[0].astype(np.float64, copy=False).ravel())
    labels = answers[0].ravel()
    values = labels if labels.dtype != object else labels.astype(str)
    if len(answers) == 1:  # a classifier that says no more
        return Prediction(values)
    numbers = np.column_stack([one.astype(np.float64).ravel() for one in answers[1:]])
    return Prediction(values, decision_values=numbers) if decides else Prediction(values, numbers)


def _as_input(column: Column, values: NDArray[Any]) -> NDArray[Any]:
    """The type that the graph's input has. A missing text is an empty one: ONNX has no other."""
    if column.type == "string":
        return np.array([value if isinstance(value, str) else "" for value in values], dtype=object)
    numbers = np.asarray(values, dtype=np.float64)
    if column.nullable or column.type == "float":
        return numbers
    with np.errstate(invalid="ignore"):
        whole = numbers.astype(np.bool_ if column.type == "boolean" else np.int64)
    if not np.array_equal(whole, numbers):  # a missing value would become a number, and a fraction another one
        what = f"the model takes {column.kind} as '{column.name}' in every row, and some rows have none"
        raise ContractError(what, "Give it rows that fit its contract")
    return whole
