"""`Schema`: rows and their answers as one block of numbers, and back under the contract's names.

A row of the block is its inputs in the contract's order, the predicted value, and the numbers behind it: float64 of
the machine's byte order, so that blocks put one after the other are a block. Texts of known categories are codes; free
texts stand beside it. What the stage may not see raw is hidden before it is in the block.
"""

import hashlib
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from starterkit.contract import Column, ColumnType, Contract, Prediction, Scalar, Task
from starterkit.settings import FLOORS, STRENGTH, PrivacySettings, Stage, StageKey, identifiers_in

if TYPE_CHECKING:
    import pyarrow as pa

Table = Mapping[str, NDArray[Any]] | NDArray[np.float64]

_BANDS = 12
ERASED = -math.inf
"""What stands in all numbers of a row that was erased. No prediction is infinite."""
_ID_BITS = 63


@dataclass(frozen=True, kw_only=True)
class Field:
    """A column of the model, and whether it is hidden: numbers with bounds in bands, anything else left out."""

    name: str
    type: ColumnType
    categories: tuple[Scalar, ...] = ()
    minimum: float | None = None
    maximum: float | None = None
    hidden: bool = False

    @property
    def is_free_text(self) -> bool:
        return self.type in ("string", "datetime") and not self.categories

    def band(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """n values as the middles of at most twelve bands between the bounds; without bounds nothing is left."""
        if self.categories or self.type not in ("float", "integer") or self.minimum is None or self.maximum is None:
            return np.full(len(values), np.nan)
        span = self.maximum - self.minimum
        count = max(1, min(_BANDS, int(span / 2))) if self.type == "integer" else _BANDS
        width = span / count or 1.0
        middle = self.minimum + (np.clip((values - self.minimum) / width, 0, count - 1) // 1 + 0.5) * width
        return np.clip(middle // 1 if self.type == "integer" else middle, self.minimum, self.maximum)


class Block(NamedTuple):
    """Rows and answers as the log keeps them."""

    rows: int
    numbers: bytes
    texts: bytes | None


@dataclass(frozen=True, kw_only=True)
class Schema:
    """What a version of a model takes and answers, and what its stage keeps of that."""

    model: str
    version: str
    stage: str
    task: Task
    inputs: tuple[Field, ...]
    target: Field
    classes: tuple[Scalar, ...] = ()
    behind: tuple[str, ...] = ()
    """Names of the numbers behind a prediction: ``probability.yes``, or ``decision.yes``."""

    @classmethod
    def of(cls, contract: Contract, version: str, stage: Stage, privacy: PrivacySettings, model: str) -> "Schema":
        """The schema of a version's predictions, as its stage may keep them."""
        names = [one if isinstance(one, str) else json.dumps(one) for one in contract.classes]
        behind: list[str] = []
        if contract.classes and contract.probabilities:
            behind = [f"probability.{name}" for name in names]
        elif contract.decision_values:
            behind = [f"decision.{name}" for name in (names[-1:] if len(names) == 2 else names)]
        return cls(
            model=model,
            version=version,
            stage=stage,
            task=contract.task,
            inputs=tuple(_field(column, _is_hidden(column, stage, privacy)) for column in contract.columns),
            target=_field(contract.target, _is_hidden(contract.target, stage, privacy)),
            classes=contract.classes,
            behind=tuple(behind),
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self), sort_keys=True, ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> "Schema":
        said = json.loads(text)
        fields = [_field_from(one) for one in said.pop("inputs")]
        target, classes, behind = _field_from(said.pop("target")), tuple(said.pop("classes")), said.pop("behind")
        return cls(**said, inputs=tuple(fields), target=target, classes=classes, behind=tuple(behind))

    @cached_property  # asked for each request
    def id(self) -> int:
        """The same for the same schema wherever it is made."""
        return int.from_bytes(hashlib.sha256(self.to_json().encode()).digest()[:8], "big") >> (64 - _ID_BITS)

    @property
    def width(self) -> int:
        """Numbers in a row of the block."""
        return len(self.inputs) + 1 + len(self.behind)

    @property
    def labels(self) -> dict[Scalar, float]:
        """A code for each class that is a text; none for others, which are numbers themselves."""
        return _codes(self.classes) if self.classes and isinstance(self.classes[0], str) else {}

    def decode(self, numbers: bytes, texts: "Sequence[Sequence[Any]] | None" = None) -> "dict[str, pa.Array]":
        """A column for each input, ``prediction`` and the numbers behind it, over the rows of blocks put together.

        `texts` has for each column of free text, in its order, the values.
        """
        import pyarrow as pa

        table = np.frombuffer(numbers, np.float64).reshape(-1, self.width)
        free = iter(texts or ())
        found: dict[str, pa.Array] = {}
        for place, field in enumerate(self.inputs):
            if field.is_free_text:
                values = next(free, None)
                found[field.name] = pa.array([None] * len(table) if values is None else values, pa.string())
            else:
                found[field.name] = decoded(table[:, place], field.type, field.categories)
        found["prediction"] = self.answers(table[:, len(self.inputs)])
        for place, name in enumerate(self.behind, len(self.inputs) + 1):
            found[name] = pa.array(table[:, place], from_pandas=True)
        return found

    def answers(self, values: NDArray[np.float64]) -> "pa.Array":
        """Predictions, or labels, from their numbers."""
        return decoded(values, self.target.type, tuple(self.labels))


def decoded(values: NDArray[np.float64], kind: ColumnType, categories: Sequence[Scalar] = ()) -> "pa.Array":
    """n numbers as the column's values; NaN is a missing one."""
    import pyarrow as pa

    missing = ~np.isfinite(values)
    if categories and isinstance(categories[0], str):
        codes = pa.array(np.where(missing, 0, values).astype(np.int32), mask=missing)
        return pa.DictionaryArray.from_arrays(codes, pa.array(categories, pa.string()))
    known = np.where(missing, 0, values)
    if kind == "integer" and not np.any(known % 1):
        return pa.array(known.astype(np.int64), mask=missing)
    if kind == "boolean":
        return pa.array(known.astype(np.bool_), mask=missing)
    return pa.array(known, mask=missing)


class Encoder:
    """Makes blocks of one version's predictions. On the path of each request, so it does as little as it can."""

    def __init__(self, schema: Schema) -> None:
        self._inputs, self._width = len(schema.inputs), schema.width
        self._names = [field.name for field in schema.inputs]
        self._hidden = [(place, field) for place, field in enumerate(schema.inputs) if field.hidden]
        self._labels, self._hides_answers = schema.labels, schema.target.hidden and not schema.classes
        self._target = schema.target
        self._texts = [field for field in schema.inputs if field.is_free_text]
        self._codes = {field.name: _codes(field.categories) for field in schema.inputs if field.type == "string"}
        self._encode = msgspec.msgpack.Encoder().encode

    def encode(self, table: Table, prediction: Prediction) -> Block:
        values = prediction.values
        block = np.empty((len(values), self._width))
        texts = None
        if isinstance(table, np.ndarray):
            block[:, : self._inputs] = table
        else:
            texts = self._fill(block, table)
        for place, field in self._hidden:
            block[:, place] = field.band(block[:, place])
        block[:, self._inputs] = [self._labels[one] for one in values.tolist()] if self._labels else values
        if self._hides_answers:
            block[:, self._inputs] = self._target.band(block[:, self._inputs])
        if self._width > self._inputs + 1:
            behind = prediction.decision_values if prediction.probabilities is None else prediction.probabilities
            block[:, self._inputs + 1 :] = behind
        return Block(len(values), block.tobytes(), texts)

    def _fill(self, block: NDArray[np.float64], table: Mapping[str, NDArray[Any]]) -> bytes | None:
        for place, name in enumerate(self._names):
            codes = self._codes.get(name)
            column = table[name]
            if codes is None and column.dtype.kind in "fiub":
                block[:, place] = column
            else:
                block[:, place] = [(codes or {}).get(value, math.nan) for value in column.tolist()]
        if not self._texts:
            return None
        return self._encode([[] if one.hidden else _plain(table[one.name]) for one in self._texts])


def read_texts(blocks: Sequence[tuple[int, bytes | None]], count: int) -> list[list[str | None]]:
    """The columns of free text over blocks, of which each is given with its number of rows."""
    columns: list[list[str | None]] = [[] for _ in range(count)]
    for rows, texts in blocks:
        parts = msgspec.msgpack.decode(texts) if texts else [[]] * count
        for column, part in zip(columns, parts, strict=True):
            column.extend(part or [None] * rows)
    return columns


def _plain(values: NDArray[Any]) -> list[str | None]:
    return [None if value is None or value != value else str(value) for value in values.tolist()]


def _codes(categories: Sequence[Scalar]) -> dict[Scalar, float]:
    return {value: float(code) for code, value in enumerate(categories)}


def _field(column: Column, hidden: bool) -> Field:
    return Field(
        name=column.name,
        type=column.type,
        categories=column.categories if column.type == "string" else (),
        minimum=column.minimum,
        maximum=column.maximum,
        hidden=hidden,
    )


def _field_from(said: dict[str, Any]) -> Field:
    return replace(Field(**said), categories=tuple(said["categories"]))


def _is_hidden(column: Column, stage: Stage, privacy: PrivacySettings) -> bool:
    """Whether the stage's floor, or its settings beyond it, show the column otherwise than as it is."""
    least = FLOORS[stage].sensitive if column.sensitivity == "sensitive" else "raw"
    asked = privacy.sensitive if column.sensitivity == "sensitive" else None
    return max(STRENGTH[privacy.columns.get(column.name, asked or least)], STRENGTH[least]) > STRENGTH["raw"]


def key_treatment(stage: Stage, privacy: PrivacySettings) -> Callable[[str], str] | None:
    """How the stage keeps a record's key: as it is, under the pseudonym that its data has, or not at all: None."""
    treatment = identifiers_in(stage, privacy)
    if treatment == "raw":
        return str
    if treatment != "pseudonymise" or privacy.key is None:
        return None
    return StageKey(privacy.key.get_secret_value(), stage).pseudonym
