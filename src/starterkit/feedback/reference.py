"""`Reference`: how a version's inputs and answers were distributed when it was trained, in counts that name nobody.

It is logged beside the exported model, so that monitoring needs no training data. A bin or a category holds at least
five people, its ends are rounded, and what the stage may not see raw is left out.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import TypeAdapter

from starterkit.contract import LEAST_PEOPLE, Column, Contract, Prediction, Scalar
from starterkit.data.dataset import PARTS, people_among
from starterkit.errors import ContractError
from starterkit.release.bundle import REFERENCE_FILE

FORMAT = 1
PREDICTION = "prediction"

_MOST_BINS = 50
_MOST_CATEGORIES = 50
_DIGITS = 3


@dataclass(frozen=True, kw_only=True)
class ColumnReference:
    """One column: rows by bin for numbers, by category for anything else, of which the last count is all others'.

    A value belongs to the first bin whose end, one of `edges`, is not below it; the last bin is open. `low` and `high`
    are how far the model is proven. `parts` are the ends of thirds, for a column whose parts are looked at.
    """

    name: str
    unit: str = ""
    rows: int
    missing: int
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()
    categories: tuple[Scalar, ...] = ()
    deviation: float = 0.0
    low: float | None = None
    high: float | None = None
    parts: tuple[float, ...] = ()
    is_slice: bool = False

    def part_names(self) -> list[str]:
        """What the parts are called that are looked at by themselves, in the order of their codes."""
        if self.categories:
            return [f"{self.name}={value}" for value in self.categories]
        return [f"{self.name} {word}" for word in PARTS]


@dataclass(frozen=True, kw_only=True)
class Reference:
    """All columns of a version, its answers over held-out rows, and the figures that these had."""

    columns: tuple[ColumnReference, ...]
    answers: ColumnReference
    scores: Mapping[str, float]
    holdout: int
    format: int = FORMAT
    hidden: tuple[str, ...] = field(default=())

    @classmethod
    def of(
        cls,
        contract: Contract,
        training: Mapping[str, NDArray[Any]],
        answers: Prediction,
        scores: Mapping[str, float],
        *,
        slices: Iterable[str] = (),
        people: NDArray[np.uint64] | None = None,
        hidden: Iterable[str] = (),
    ) -> Self:
        """The reference of a version.

        Parameters
        ----------
        training
            The training side's inputs, as the stage logs them.
        answers, scores
            What the exported model answers over held-out rows, and how well. Over its own training rows it is too sure.
        people
            Which training rows belong to the same person; each row is somebody's own where it is None.
        hidden
            Columns that are not seen raw. They are not compared: training and log have bands of their own.
        """
        chosen, unseen = set(slices), {one for one in hidden if one in contract.names}
        columns = [
            ColumnReference(name=one.name, unit=one.unit, rows=0, missing=0, counts=())
            if one.name in unseen
            else column_reference(one, training[one.name], people, is_slice=one.name in chosen)
            for one in contract.columns
        ]
        return cls(
            columns=tuple(columns),
            answers=column_reference(_answer(contract), answers.values, None),
            scores=dict(scores),
            holdout=len(answers.values),
            hidden=tuple(sorted(unseen)),
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, content: bytes | None, owner: str) -> Self:
        """What a version's file says.

        Raises
        ------
        ContractError
            There is none, or it is of another kit.
        """
        hint = "Train and promote a version with this kit; until then there is nothing to compare with"
        if content is None:
            raise ContractError(f"{owner} has no {REFERENCE_FILE}: it is older than monitoring", hint)
        try:
            said: dict[str, Any] = json.loads(content)
            if said["format"] != FORMAT:
                raise ContractError(f"{REFERENCE_FILE} of {owner} has format {said['format']}, not {FORMAT}", hint)
            return TypeAdapter(cls).validate_python(said)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise ContractError(f"{REFERENCE_FILE} of {owner} cannot be read", hint) from error


def _answer(contract: Contract) -> Column:
    target = contract.target
    return Column(
        name=PREDICTION,
        role="target",
        type=target.type if contract.classes else "float",
        unit=target.unit,
        sensitivity=target.sensitivity,
        categories=contract.classes,
    )


# --- One column.


def column_reference(
    column: Column, values: NDArray[Any], people: NDArray[Any] | None, *, is_slice: bool = False
) -> ColumnReference:
    """The counts of n values."""
    gone = pd.isna(values)
    known, persons = values[~gone], None if people is None else people[~gone]
    told = {"name": column.name, "unit": column.unit, "missing": int(gone.sum())}
    if column.type == "datetime" or not len(known):  # time always moves on
        return ColumnReference(**told, rows=len(known), counts=())
    if column.categories or column.type in ("string", "boolean"):
        categories, counts = _categories(known, persons, column.type == "boolean")
        return ColumnReference(
            **told, rows=sum(counts), counts=tuple(counts), categories=tuple(categories), is_slice=is_slice
        )
    numbers = known.astype(np.float64)
    edges = _edges(numbers, persons)
    counts = np.bincount(np.searchsorted(edges, numbers), minlength=len(edges) + 1)
    low, high = column.proven or (column.minimum, column.maximum)
    cuts = rounded(np.quantile(numbers, [1 / 3, 2 / 3]), float(np.ptp(numbers))) if is_slice else ()
    return ColumnReference(
        **told,
        rows=len(numbers),
        counts=tuple(counts.tolist()),
        edges=tuple(edges.tolist()),
        deviation=float(rounded(np.array([numbers.std()]), float(numbers.std()))[0]),
        low=low,
        high=high,
        parts=tuple(float(cut) for cut in cuts),
        is_slice=is_slice,
    )


def rounded(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Numbers to three digits of a width, so that none is a person's own."""
    if not (np.isfinite(width) and width > 0):
        return values
    return np.round(values, _DIGITS - 1 - int(np.floor(np.log10(width))))


def _edges(numbers: NDArray[np.float64], people: NDArray[Any] | None) -> NDArray[np.float64]:
    """Ends of at most fifty bins of about equal size, each with at least five people."""
    bins = max(1, min(_MOST_BINS, len(numbers) // (2 * LEAST_PEOPLE)))
    wanted = np.unique(rounded(np.quantile(numbers, np.arange(1, bins) / bins), float(np.ptp(numbers))))
    kept: list[float] = []
    last = -np.inf
    for edge in wanted.tolist():
        rest = numbers > edge
        if all(people_among(rows, people) >= LEAST_PEOPLE for rows in ((numbers > last) & ~rest, rest)):
            kept.append(edge)
            last = edge
    return np.array(kept)


def _categories(
    values: NDArray[Any], people: NDArray[Any] | None, is_boolean: bool
) -> tuple[Sequence[Scalar], Sequence[int]]:
    plain = [plain_value(one, is_boolean) for one in values.tolist()]
    counts = Counter(plain)
    sizes = counts if people is None else Counter(one for one, _ in set(zip(plain, people.tolist(), strict=True)))
    kept = sorted((one for one, _ in counts.most_common(_MOST_CATEGORIES) if sizes[one] >= LEAST_PEOPLE), key=str)
    others = len(plain) - sum(counts[one] for one in kept)
    return kept, [*(counts[one] for one in kept), others if others >= LEAST_PEOPLE else 0]


def plain_value(value: Any, is_boolean: bool = False) -> Scalar:
    """A category as JSON has it, whichever type a table gave it: 1.0 is 1."""
    if is_boolean:
        return bool(value)
    return int(value) if isinstance(value, float) and value.is_integer() else value
