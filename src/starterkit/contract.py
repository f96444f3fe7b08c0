"""The exported folder's words: what a model takes, what it answers, and where it came from. Pure data."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from starterkit.errors import ContractError

Role = Literal["identifier", "group", "time", "feature", "target"]
Sensitivity = Literal["identifier", "sensitive", "plain"]
Treatment = Literal["raw", "drop", "pseudonymise", "generalise", "mock"]
TREATED: Mapping[Treatment, str] = {
    "raw": "raw",
    "drop": "dropped",
    "pseudonymise": "under pseudonyms",
    "generalise": "in bands",
    "mock": "made up",
}
"""What became of a column, in words."""

LEAST_PEOPLE = 5
"""Of fewer people, or rows where each is somebody else's, nothing is shown or made: it could be a person's own."""

ColumnType = Literal["float", "integer", "boolean", "string", "datetime"]
Task = Literal["regression", "classification"]
Layout = Literal["matrix", "columns"]
Beyond = Literal["refuse", "mark"]
"""What becomes of a row with a number beyond the range in which its column is proven."""

Scalar = bool | int | float | str

_IN_WORDS: Mapping[ColumnType, str] = {
    "float": "a number",
    "integer": "a whole number",
    "boolean": "true or false",
    "string": "a text",
    "datetime": "a date",
}


def by_treatment(treatments: Mapping[str, Treatment]) -> dict[str, list[str]]:
    """The columns by what became of them: ``{"in bands": ["age", "sex"]}``."""
    found: dict[str, list[str]] = {}
    for column, treatment in treatments.items():
        found.setdefault(TREATED[treatment], []).append(column)
    return found


FORMAT = 1
"""Version of `contract.json`. A folder of another version is refused, never guessed at."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """How a file writes a column, where that is not how the schema has it. See docs/decisions/0024-written.md.

    Attributes
    ----------
    header
        The file's name of the column; the schema's where it is empty.
    missing
        Texts that stand for a missing value, blanks at the ends aside. An empty field does so anyway.
    flags
        Texts that stand for true and false. The empty text is the empty field: ``{"Y": True, "": False}``.
    decimal, thousands
        The sign before the decimals, and the one between thousands: none, ``","``, ``"."``, ``"'"``, or ``" "`` for
        a blank of any kind.
    affixes
        Texts around a number that are left off: ``"€"``, ``"%"``, ``"kg"``.
    brackets
        Whether (12.5) is -12.5.
    trim
        Whether blanks at the ends, case and Unicode's form make no other category.
    """

    header: str = ""
    missing: tuple[str, ...] = ()
    flags: Mapping[str, bool] = field(default_factory=dict, hash=False)
    decimal: str = "."
    thousands: str = ""
    affixes: tuple[str, ...] = ()
    brackets: bool = False
    trim: bool = False


AS_DECLARED = Written()
"""What there is to say of a column that a file has as the schema does: nothing."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """How a text file writes its table: the sign between its columns, its encoding and its quotes."""

    delimiter: str = ","
    encoding: str = "utf-8"
    quote: str = '"'


COMMAS = Dialect()
"""What is likely where nothing is known."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the data, as the schema declares it. `written` says how a raw file has it.

    `proven` is what an exported model adds: how far its proof went, the schema's bounds where there are some. A number
    beyond it gets no answer, or one that is marked. None where nobody said it, and for what is no number.
    """

    name: str
    role: Role
    type: ColumnType
    unit: str
    sensitivity: Sensitivity
    nullable: bool = False
    minimum: float | None = None
    maximum: float | None = None
    categories: tuple[Scalar, ...] = ()
    description: str = ""
    proven: tuple[float, float] | None = None
    written: Written = AS_DECLARED

    @property
    def kind(self) -> str:
        """The type in words: ``a whole number``."""
        return _IN_WORDS[self.type]

    @property
    def expected(self) -> str:
        """What a value must be, in words: ``a number in kg/m², 10 to 80``."""
        words = "one of " + ", ".join(map(repr, self.categories)) if self.categories else self.kind
        if self.unit:
            words += f" in {self.unit}"
        if self.minimum is not None and self.maximum is not None:
            words += f", {self.minimum:g} to {self.maximum:g}"
        elif self.minimum is not None:
            words += f", at least {self.minimum:g}"
        elif self.maximum is not None:
            words += f", at most {self.maximum:g}"
        if open_range := self.open_range:
            words += f"; the model is proven from {open_range[0]:g} to {open_range[1]:g}"
        return words

    @property
    def open_range(self) -> tuple[float, float] | None:
        """The range in which the model is proven, where the schema's bounds do not say it."""
        return self.proven if self.minimum is None or self.maximum is None else None


@dataclass(frozen=True, kw_only=True)
class Parity:
    """How closely the graph answers as the estimator does.

    `largest` is the largest difference over `rows`. `data_rows` of these are the training side's and the holdout's,
    the others are drawn. A drawn row with another label is one of the `ties`, and no flipped label, where the
    estimator's own rule cannot choose between its classes; a row of the data always is a flipped one.

    Of the data `alone` rows were given to the estimator one by one, too, and `unstable` ones got another answer than
    among the others: there it is no function of its row, and `largest` leaves them out. At most `unstable_allowed` of
    the rows asked alone may be so.

    `probed` rows were given to the trees themselves, a third of them right at a threshold on their way; `splits_met` of
    the trees' `splits` were met so. `flipped_leaves` rows ended in another leaf.

    A network answers in float32. Where its two likeliest classes are no further apart than `near_tie`, another label is
    one of the `ties`, in rows of the data, too.
    """

    rows: int
    measure: str
    largest: float
    allowed: float
    scale: float
    flipped_labels: int = 0
    ties: int = 0
    probed: int = 0
    splits: int = 0
    splits_met: int = 0
    flipped_leaves: int = 0
    data_rows: int = 0
    alone: int = 0
    unstable: int = 0
    unstable_allowed: float = 0.0
    near_tie: float = 0.0

    @property
    def proven(self) -> bool:
        alike = self.largest <= self.allowed and self.flipped_labels == 0 and self.flipped_leaves == 0
        return alike and self.is_function

    @property
    def is_function(self) -> bool:
        """Whether the estimator's answer for a row depends on the row alone, but for the share that is allowed."""
        return self.unstable <= self.unstable_allowed * self.alone

    @property
    def on_instability(self) -> str:
        """In words, at how many rows the estimator contradicts itself; empty where it does at none."""
        if not self.unstable:
            return ""
        rows = f"{self.unstable:,} of {self.alone:,} rows"
        return f"the estimator answers {rows} otherwise when it is asked for them one by one"

    def with_more(self, other: "Parity") -> "Parity":
        """This one and another, over other rows, as one."""
        sums = {name: getattr(self, name) + getattr(other, name) for name in _COUNTS}
        return replace(self, largest=max(self.largest, other.largest), **sums)


_COUNTS = tuple(one.name for one in fields(Parity) if one.type is int)


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """Where a model comes from: code, environment, data, parameters and the run that made it.

    Models of earlier versions of the kit lack the words with a default. `changed_files` are those that differed from
    the commit, with their digests; `off_lock` the packages that differed from the lock, with what was there instead;
    `beside_lock` those of the estimator's parts that the lock does not name; `policy` says what became of each column
    that the stage did not see raw.
    """

    stage: str
    run: str
    commit: str
    dirty: bool
    lock_digest: str
    data_source: str
    data_digest: str
    holdout_digest: str
    rows: int = 0
    parameters: Mapping[str, Scalar | None] = field(default_factory=dict)
    changed_files: Mapping[str, str] = field(default_factory=dict)
    off_lock: Mapping[str, str] = field(default_factory=dict)
    beside_lock: Mapping[str, str] = field(default_factory=dict)
    policy: Mapping[str, Treatment] = field(default_factory=dict)
    python: str = ""
    machine: str = ""

    def to_tags(self) -> dict[str, str]:
        """The lineage as texts, which is what MLflow's tags can hold."""
        return {
            name: str(value) if isinstance(value, str | bool) else json.dumps(value)
            for name, value in asdict(self).items()
            if value != {}  # what has nothing to say is read back as its default
        }

    @classmethod
    def from_tags(cls, tags: Mapping[str, str]) -> "Lineage":
        """Read a lineage back.

        Raises
        ------
        KeyError
            A tag is missing.
        ValueError
            A tag is not whole.
        """
        values: dict[str, Any] = {}
        for one in fields(cls):
            if one.name in tags or (one.default is MISSING and one.default_factory is MISSING):
                text = tags[one.name]
                values[one.name] = text if one.type is str else text == "True" if one.type is bool else json.loads(text)
        return cls(**values)


class Prediction(NamedTuple):
    """What a model answers for n rows: n values and, from a classifier, an n × k array of probabilities.

    One without probabilities has decision values, n × k or of two classes n × 1, where its kind has some.
    """

    values: NDArray[Any]
    probabilities: NDArray[np.float64] | None = None
    decision_values: NDArray[np.float64] | None = None

    @property
    def numbers(self) -> NDArray[Any]:
        """What stands behind the values, as far as it is known; the values themselves where nothing is."""
        behind = self.decision_values if self.probabilities is None else self.probabilities
        return self.values if behind is None else behind

    @property
    def columns(self) -> list[NDArray[Any]]:
        """n values for each of the graph's outputs, in their order."""
        return [self.values] if self.numbers is self.values else [self.values, *self.numbers.T]

    def of_rows(self, rows: Any) -> "Prediction":
        """The answers for some of the rows."""
        _, probabilities, decisions = self
        return Prediction(
            self.values[rows],
            None if probabilities is None else probabilities[rows],
            None if decisions is None else decisions[rows],
        )


@dataclass(frozen=True, kw_only=True)
class Contract:
    """Everything that serving, batch and the gate know about a model. Kept as ``contract.json`` beside the graph.

    `columns` are the features in the order in which the graph takes them. `layout` says how: one float64 matrix
    where every column is a number, or one array a column. `classes` are a classifier's labels in the order of its
    probabilities. `example` is a made-up row of values that at least five people share. `digests` holds the SHA-256 of
    each file beside the contract. `dialect` is that of the text file that trained it. `keeps_rows` names the parts of
    the estimator, such as nearest neighbours, whose training rows the graph carries. `scores` are the metrics over
    the holdout, the deciding one first: the model's, and where there is one a naive guess's.
    """

    problem: str
    title: str
    task: Task
    columns: tuple[Column, ...]
    target: Column
    layout: Layout
    example: Mapping[str, Scalar]
    parity: Parity
    lineage: Lineage
    classes: tuple[Scalar, ...] = ()
    probabilities: bool = True
    decision_values: bool = False
    digests: Mapping[str, str]
    dialect: Dialect = COMMAS
    keeps_rows: tuple[str, ...] = ()
    scores: Mapping[str, tuple[float, float | None]] = field(default_factory=dict)
    format: int = FORMAT

    @property
    def on_rows(self) -> str:
        """In words, that the graph carries people's rows; empty where it does not."""
        if not self.keeps_rows:
            return ""
        kept = ", ".join(self.keeps_rows)
        return f"the model carries training rows ({kept}): who has its file has these people's values"

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    def to_json(self) -> str:
        """The contract as text, with a seal that shows when somebody has changed it since."""
        columns = [column_words(column) for column in self.columns]
        written = asdict(self) | {"columns": columns, "target": column_words(self.target)}
        if self.dialect == COMMAS:
            del written["dialect"]
        for name in ("keeps_rows", "decision_values", "scores"):
            if not written[name]:
                del written[name]
        return json.dumps(written | {"seal": _seal(written)}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str | bytes) -> "Contract":
        """Read a contract.

        Raises
        ------
        ContractError
            The text is no contract, was altered, or is of another format.
        """
        hint = "Export the model again with this version of the kit"
        try:
            raw: dict[str, Any] = json.loads(text)
            if raw.get("format") != FORMAT:
                raise ContractError(f"contract.json has format {raw.get('format')}, this kit reads {FORMAT}", hint)
            if raw.pop("seal", None) != _seal(raw):
                raise ContractError("contract.json was altered after it was written", hint)
            raw["columns"] = tuple(map(_column, raw["columns"]))
            raw["target"] = _column(raw["target"])
            raw["classes"] = tuple(raw["classes"])
            raw["keeps_rows"] = tuple(raw.get("keeps_rows", ()))
            raw["scores"] = {name: (of[0], of[1]) for name, of in raw.get("scores", {}).items()}
            raw["parity"] = Parity(**raw["parity"])
            raw["lineage"] = Lineage(**raw["lineage"])
            raw["dialect"] = Dialect(**raw.get("dialect", {}))
            return cls(**raw)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise ContractError(f"contract.json cannot be read: {error}", hint) from error


def column_words(column: Column) -> dict[str, Any]:
    """A column as plain data. What a file writes as the schema has it says nothing, as with kits that knew no more."""
    return {name: value for name, value in asdict(column).items() if name != "written" or value != asdict(AS_DECLARED)}


def _seal(written: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(written, sort_keys=True).encode()).hexdigest()


def _column(raw: dict[str, Any]) -> Column:
    raw["categories"] = tuple(raw["categories"])
    raw["proven"] = tuple(raw["proven"]) if raw.get("proven") else None
    said = raw.get("written", {})
    lists = {name: tuple(said[name]) for name in ("missing", "affixes") if name in said}
    return Column(**raw | {"written": Written(**said | lists)})
