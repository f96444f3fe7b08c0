"""What the registered model and the one made again answer to the same rows, in a file and bit for bit."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from starterkit.contract import Prediction

_FILE = "answers.npz"
_NAMES = ("registered", "again")


@dataclass(frozen=True)
class Difference:
    """How far two models' answers to the same n rows lie apart. For a classifier it is the probabilities that count."""

    rows: int
    differing: int
    largest: float
    labels: int

    @property
    def identical(self) -> bool:
        return self.differing == 0 and self.labels == 0


def write(folder: Path, registered: Prediction, again: Prediction) -> None:
    """Leave both in the folder, each under its name."""
    arrays = {}
    for name, (values, probabilities) in zip(_NAMES, (registered, again), strict=True):
        arrays[name] = values.astype(str) if values.dtype == object else values
        if probabilities is not None:
            arrays[f"{name}_probabilities"] = probabilities
    np.savez(folder / _FILE, allow_pickle=False, **arrays)


def read(folder: Path) -> tuple[Prediction, Prediction] | None:
    """Both again, the registered one's first; None where nobody came that far."""
    if not (folder / _FILE).exists():
        return None
    with np.load(folder / _FILE, allow_pickle=False) as arrays:
        registered, again = (Prediction(arrays[name], arrays.get(f"{name}_probabilities")) for name in _NAMES)
    return registered, again


def difference(one: Prediction, other: Prediction) -> Difference:
    """Bit for bit: NaN is the same as NaN, and 0.0 is not -0.0."""
    sides, labels, rows = (one.values, other.values), 0, len(one.values)
    if one.probabilities is not None and other.probabilities is not None:
        labels = int((one.values != other.values).sum())
        sides = one.probabilities, other.probabilities
    values, others = (np.ascontiguousarray(side, dtype=np.float64).reshape(rows, -1) for side in sides)
    if values.shape != others.shape:  # a class more or less
        return Difference(rows, rows, float("inf"), labels)
    differing = np.any(values.view(np.uint64) != others.view(np.uint64), axis=1)
    largest = float(np.max(np.abs(values[differing] - others[differing]), initial=0))
    return Difference(rows, int(differing.sum()), largest, labels)
