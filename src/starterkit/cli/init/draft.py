"""What the written problem will say, and what somebody should look at in it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from starterkit.contract import AS_DECLARED, Scalar, Task, Written
from starterkit.errors import KitError

BY_NAME = "taken for sensitive by its name"
"""The review of a column of which there is no more to say."""


@dataclass(frozen=True, kw_only=True)
class Field:
    """A column of the schema. `review` says what was guessed, for the comment above it.

    `header` is the file's, `written` how the file has the column where the schema does not.
    """

    name: str
    header: str
    role: Literal["identifier", "group", "time", "feature", "target"]
    type: Literal["int", "float", "bool", "str"]
    sensitive: bool = False
    unit: str = ""
    bounds: tuple[float, float] | None = None
    categories: tuple[Scalar, ...] = ()
    nullable: bool = False
    written: Written = AS_DECLARED
    review: str = ""

    @property
    def sensitivity(self) -> str:
        return "sensitive" if self.sensitive else "plain"


@dataclass(frozen=True)
class Choice:
    """An estimator that the written problem may have: what it is called, its kind in the template, its arguments."""

    name: str
    kind: Literal["linear", "boosting", "forest"]
    parameters: Mapping[str, Scalar]

    @property
    def signature(self) -> list[str]:
        """The arguments with their defaults, as Python source."""
        return [f"{name}: {type(value).__name__} = {value!r}" for name, value in self.parameters.items()]


LINEAR = Choice("a linear model", "linear", {"regularization": 1.0})


@dataclass(frozen=True, kw_only=True)
class OddRow:
    """A row that is no record, by the text in one column that says so."""

    name: str
    text: str
    what: str
    is_text: bool = True


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Everything that the writers need.

    Attributes
    ----------
    left_out
        By the file's header, why the model does not get the column.
    without_target
        How many of the file's rows have no target.
    rows
        How many have one.
    fraction
        The holdout's share.
    coarse
        Whether most rows say the same as another one, though they are other records: there is little to say.
    by_content
        Whether rows that say the same share a side of the holdout: there is no id, or one that only counts them.
    copied
        Whether many rows say the same as one of another group: `load` leaves them out.
    cutoff
        From this ISO date on the rows are the holdout, where they are in time.
    as_iso
        What `load` makes of the time's column, for which {} stands; nothing where the file has ISO dates.
    odd_rows
        Rows that are no records: totals, a header that is repeated.
    notes
        What somebody should look at, and is no column's.
    many
        The texts with so many values that each becomes the mean target of its rows.
    """

    name: str
    task: Task
    fields: tuple[Field, ...]
    left_out: dict[str, str]
    without_target: int
    rows: int
    fraction: float
    coarse: bool = False
    by_content: bool = False
    copied: bool = False
    cutoff: str = ""
    as_iso: str = ""
    odd_rows: tuple[OddRow, ...] = ()
    notes: tuple[str, ...] = ()
    choice: Choice = LINEAR
    many: tuple[str, ...] = ()

    @property
    def target(self) -> Field:
        return next(one for one in self.fields if one.role == "target")

    @property
    def features(self) -> tuple[Field, ...]:
        return tuple(one for one in self.fields if one.role == "feature")

    @property
    def texts(self) -> tuple[Field, ...]:
        return tuple(one for one in self.features if one.type == "str")

    @property
    def has_gaps(self) -> bool:
        """Whether a number may be missing."""
        return any(one.nullable and one.type != "str" for one in self.features)

    @property
    def is_written(self) -> bool:
        """Whether the file has a column otherwise than the schema."""
        return any(one.written != AS_DECLARED for one in self.fields)

    @property
    def key(self) -> Field | None:
        """What decides the side of the holdout; None where a row's content does."""
        by_role = {one.role: one for one in self.fields}
        if self.by_content:
            return None
        return by_role.get("time" if self.cutoff else "group") or by_role.get("identifier")

    @property
    def no_content(self) -> list[str]:
        """What of a row does not name it: the target, and an id that only counts."""
        return sorted(one.name for one in self.fields if one.role in ("target", "identifier"))

    @property
    def record_role(self) -> Literal["identifier", "group"]:
        """What the record of a table without an id is: rows that say the same share one, unless most do."""
        return "identifier" if self.coarse else "group"

    @property
    def metric(self) -> str:
        return "rmse" if self.task == "regression" else "log_loss"

    @property
    def slices(self) -> tuple[str, ...]:
        """The sensitive features with few categories: a new version may be worse for none of them."""
        return tuple(one.name for one in self.features if one.sensitive and 2 <= len(one.categories) <= 5)[:3]

    def without(self, reasons: dict[str, str]) -> "Plan":
        """The same plan with these features, which are given by their names, left out too."""
        kept = tuple(one for one in self.fields if one.name not in reasons)
        headers = {one.name: one.header for one in self.fields}
        left_out = self.left_out | {headers[name]: why for name, why in reasons.items()}
        return replace(
            self, fields=kept, left_out=left_out, many=tuple(name for name in self.many if name not in reasons)
        )


class Undecided(KitError):
    """There is no problem to write yet. `decisions` has a line for each thing that a person has to decide."""

    def __init__(self, where: str, decisions: Sequence[str]) -> None:
        self.decisions = tuple(decisions)
        count = "one thing" if len(self.decisions) == 1 else f"{len(self.decisions)} things"
        what = f"{where} leaves {count} to decide, and nothing was written"
        super().__init__(what, "Decide, and give the command again")


_FEWEST_HELD_OUT = 60


def holdout_fraction(rows: int) -> float:
    """A fifth, or more where a fifth is too few to compare two models on; never more than two fifths."""
    return min(0.4, max(0.2, round(_FEWEST_HELD_OUT / rows, 2)))
