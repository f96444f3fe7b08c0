"""`Predictor`: opens an exported folder, proves it whole, and answers. `ServedModel`: one that has a name."""

import hashlib
import io
import time
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from starterkit.contract import Beyond, Contract, Parity, Prediction
from starterkit.errors import ContractError, KitError
from starterkit.machine import hand_back
from starterkit.serving.graph import Compute, Graph, Table
from starterkit.serving.validation import Fault, InvalidRecords, faults_beyond, faults_of_answers

# --- How closely two predictions agree. See docs/decisions/0005-parity.md for the measures and their limits.

_TIE = 1e-12
"""Of two numbers that differ by less, relative to them, none is larger but by the order of a sum."""


def compare(
    expected: Prediction,
    answered: Prediction,
    *,
    allowed: float,
    scale: float,
    tied: NDArray[np.bool_] | None = None,
    left_out: NDArray[np.bool_] | None = None,
) -> Parity:
    """The largest difference over n rows.

    Parameters
    ----------
    expected, answered
        What the estimator said, and what the graph says, for the same rows.
    allowed
        The largest difference that still counts as the same answer.
    scale
        Regression: the target's standard deviation; a difference is |a − b| / max(|b|, scale).
        Probabilities are compared absolutely, for a small one may differ by half of itself and mean nothing.
    tied
        The rows at which another label is none, for the estimator's rule cannot choose there. Where nobody says, those
        with two classes that are equally probable.
    left_out
        The rows whose difference does not count. A label that differs there does.
    """
    difference, measured = _differences(expected, answered, scale)
    if left_out is not None:
        difference = difference[~left_out]
    found = Parity(
        rows=len(expected.values), measure=measured, largest=_largest(difference), allowed=allowed, scale=scale
    )
    if not _are_labels(answered):
        return found
    if tied is None:
        numbers = expected.numbers
        tied = np.zeros(len(numbers), np.bool_) if numbers is expected.values else tied_among(numbers)
    others = answered.values != expected.values
    return replace(found, flipped_labels=int(np.sum(others & ~tied)), ties=int(np.sum(others & tied)))


def tied_among(deciding: NDArray[np.float64]) -> NDArray[np.bool_]:
    """The rows at which these numbers cannot choose: of two classes by the sign, of several by the largest."""
    if deciding.ndim == 1 or deciding.shape[1] == 1:
        return np.abs(deciding.ravel()) <= _TIE
    ordered = np.sort(deciding, axis=1)
    return ordered[:, -1] - ordered[:, -2] <= _TIE * np.maximum(1, np.abs(ordered[:, -1]))


def differing(expected: Prediction, answered: Prediction, *, allowed: float, scale: float) -> NDArray[np.bool_]:
    """At which of n rows two answers are not the same: by more than allowed, or by the label."""
    far = ~(_differences(expected, answered, scale)[0] <= allowed)
    return far | (answered.values != expected.values) if _are_labels(answered) else far


def _are_labels(answered: Prediction) -> bool:
    """A graph's numbers are float64, and its labels are not."""
    return answered.values.dtype.kind != "f" or answered.numbers is not answered.values


def _differences(expected: Prediction, answered: Prediction, scale: float) -> tuple[NDArray[np.float64], str]:
    """For each row, and in words of what; of a label that has no numbers behind it none."""
    if expected.probabilities is not None and answered.probabilities is not None:
        return _difference(expected.probabilities, answered.probabilities), "difference in probability"
    if expected.decision_values is not None and answered.decision_values is not None:
        found = _difference(expected.decision_values, answered.decision_values, scale)
        return found, "relative difference of decision values"
    if _are_labels(answered):
        return np.zeros(len(expected.values)), "difference of labels"
    return _difference(expected.values, answered.values, scale), "relative difference"


def _difference(expected: NDArray[Any], answered: NDArray[Any], scale: float | None = None) -> NDArray[np.float64]:
    """Absolute, or relative to a scale; infinite where the answers don't even have the same shape."""
    if expected.shape != answered.shape:
        return np.full(len(expected), np.inf)
    found = np.abs(answered - expected)
    if scale is not None:
        found = found / np.maximum(np.abs(expected), scale)
    return found.max(axis=1) if found.ndim == 2 else found


def _largest(difference: np.ndarray) -> float:
    """The maximum, where an answer that is not a number counts as infinitely wrong."""
    return float(np.nan_to_num(difference, nan=np.inf, posinf=np.inf).max(initial=0.0))


_SECONDS_OF_A_SAMPLE = 0.05
_LARGE = 1_000_000

CONTRACT_FILE = "contract.json"
GRAPH_FILE = "model.onnx"
SAMPLE_FILE = "parity.npz"


class Predictor:
    """A model that answers, wherever it came from.

    Parameters
    ----------
    folder
        The exported folder: the graph, its contract and the parity sample.
    compute
        How many threads one call may use, and on which execution providers; one thread of the CPU if not given.
    beyond
        What those who ask on behalf of clients do with numbers beyond the range in which the model is proven. `predict`
        itself answers whatever it is given.

    Raises
    ------
    ContractError
        A file is missing, altered or unreadable, or the graph does not give the sample's answers on this machine.
    SettingsError
        An execution provider is not there, and no fall-back is allowed.
    """

    def __init__(self, folder: Path, compute: Compute | None = None, beyond: Beyond = "refuse") -> None:
        self.beyond: Beyond = beyond
        written = _read(folder, CONTRACT_FILE)
        self.contract = Contract.from_json(written)
        self.digest = sha256(written)  # of the contract, which holds those of the other files
        sample = _read_sealed(folder, SAMPLE_FILE, self.contract)
        graph = _read_sealed(folder, GRAPH_FILE, self.contract)
        self.size = len(graph)  # in bytes
        self._graph = Graph(
            graph,
            columns=self.contract.columns,
            layout=self.contract.layout,
            task=self.contract.task,
            compute=compute or Compute(),
        )
        self.providers = self._graph.providers
        self.outputs = self._graph.outputs
        self.most_alike = 0
        """Of so many rows at once, each is answered as if it were alone."""
        self._prove(sample)
        if self.size > _LARGE:
            del graph
            hand_back()

    def predict(self, table: Table) -> Prediction:
        """Answers for n rows, given one array of length n for each of the contract's columns, or a matrix of them."""
        answer = self._graph.answer(table)
        if self.contract.target.type == "boolean":  # ONNX labels are numbers or texts
            return answer._replace(values=answer.values.astype(bool))
        return answer

    def _prove(self, sample: bytes) -> None:
        """Answer the sample again: another processor or onnxruntime may compute otherwise."""
        try:
            with np.load(io.BytesIO(sample), allow_pickle=False) as arrays:
                columns = {name: arrays[f"column.{name}"] for name in self.contract.names}
                expected = Prediction(*(arrays.get(name) for name in Prediction._fields))
        except (ValueError, KeyError, TypeError, EOFError, AttributeError, BadZipFile, zlib.error) as error:
            raise ContractError(f"{SAMPLE_FILE} is no parity sample of this model", "Export the model again") from error
        is_matrix = self.contract.layout == "matrix"
        table = np.column_stack([*columns.values()]) if is_matrix else columns
        proof, began = self.contract.parity, time.perf_counter()
        answered = self.predict(table)
        took = time.perf_counter() - began
        found = compare(expected, answered, allowed=proof.allowed, scale=proof.scale)
        if not found.proven:
            what = f"the graph no longer gives its sample's answers: {found.measure} {found.largest:.3g}"
            raise ContractError(what, "Export the model again on a machine like this one")
        self._graph.order_by(table, expected)
        # Beyond that time its rows are what a call costs, and not the call.
        if isinstance(table, np.ndarray) and self.beyond == "refuse" and took < _SECONDS_OF_A_SAMPLE:
            self.most_alike = self._count_alike(table, answered)

    def _count_alike(self, sample: NDArray[np.float64], whole: Prediction) -> int:
        """Up to how many rows of one call are answered, bit for bit, as if each were alone; 0 where the sample shows
        another: a kernel of the runtime may sum in another order for one row than for several."""
        for size in (1, 3, 8):
            for start in range(0, len(sample), size):
                rows = slice(start, start + size)
                if not _are_same(self.predict(sample[rows]), whole.of_rows(rows)):
                    return 0
        return len(sample)


def _are_same(one: Prediction, other: Prediction) -> bool:
    """To the last bit."""
    pairs = zip(one, other, strict=True)
    return all(a is b or (a is not None and b is not None and a.tobytes() == b.tobytes()) for a, b in pairs)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _read_sealed(folder: Path, name: str, contract: Contract) -> bytes:
    content = _read(folder, name)
    if sha256(content) != contract.digests.get(name):
        raise ContractError(f"{name} is not the file that its contract was written for", "Export the model again")
    return content


def _read(folder: Path, name: str) -> bytes:
    try:
        return (folder / name).read_bytes()
    except OSError as error:
        what = f"{name} cannot be read from the exported folder '{folder.name}': {error.strerror}"
        raise ContractError(what, "Export the model again, or name the right folder") from error


# --- A model that is served.


class Answered(NamedTuple):
    """Answers for n records, and the numbers among these that lie beyond what the model is proven for."""

    prediction: Prediction
    beyond: Sequence[Fault]


class ModelFailed(KitError):
    """The model did not answer rows that its contract allows."""


@dataclass(frozen=True)
class ServedModel:
    """A model with the name and version under which clients know it.

    `mark` tells it from another of that version, on a registry that was set up anew.
    """

    name: str
    version: str
    predictor: Predictor
    mark: str = ""

    @property
    def contract(self) -> Contract:
        return self.predictor.contract

    def answer(self, table: Table) -> Answered:
        """Answers for n rows that are checked.

        Raises
        ------
        InvalidRecords
            The model has no finite answer for one of them.
        ModelFailed
            The graph stopped with an error.
        """
        try:
            prediction = self.predictor.predict(table)
        except MemoryError:
            raise
        except Exception as error:  # its message may repeat a value, which must not reach the log
            what = f"the graph of {self.name} version {self.version} failed: {type(error).__name__}"
            raise ModelFailed(what) from None
        if faults := faults_of_answers(prediction):
            raise InvalidRecords(faults)
        marks = self.predictor.beyond == "mark" and not isinstance(table, np.ndarray)
        return Answered(prediction, faults_beyond(self.contract, table) if marks else ())
