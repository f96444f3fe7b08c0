"""What a project expects of a model beyond its figures: how its answers bear rows that are changed on purpose."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from starterkit.contract import Column, Scalar
from starterkit.errors import ProblemError


@dataclass(frozen=True, kw_only=True)
class Jitter:
    """Small errors of measurement make the model little worse.

    Attributes
    ----------
    share
        How far each number is moved: the standard deviation of the noise, as a share of the column's own.
    worse
        By which share the deciding metric may get worse.
    """

    share: float = 0.05
    worse: float = 0.05

    def __post_init__(self) -> None:
        _refuse_negative(self, share=self.share, worse=self.worse)


@dataclass(frozen=True, kw_only=True)
class Direction:
    """More of a feature never means less of the answer (or never means more of it).

    Attributes
    ----------
    column
        A number. It is raised by one standard deviation, other things being equal.
    answer
        Where the answer may go: ``"up"`` or ``"down"``.
    label
        The class whose probability is the answer; the second of two if not given.
    broken
        The share of rows in which it may go the other way.
    """

    column: str
    answer: Literal["up", "down"]
    label: Scalar | None = None
    broken: float = 0.05

    def __post_init__(self) -> None:
        if self.answer not in ("up", "down"):
            raise ProblemError(f"Direction(answer='{self.answer}')", "Say 'up' or 'down'")
        _refuse_negative(self, broken=self.broken)


@dataclass(frozen=True, kw_only=True)
class Invariance:
    """A feature hardly moves the answers: they are asked again with the feature's values dealt out anew.

    Attributes
    ----------
    column
        The feature.
    change
        The mean change that is allowed, as a share of the target's standard deviation, or of a probability.
    """

    column: str
    change: float = 0.05

    def __post_init__(self) -> None:
        _refuse_negative(self, change=self.change)


Expectation = Jitter | Direction | Invariance


def refuse_unknown_features(
    features: Sequence[Column], *, slices: Sequence[str], strong: Sequence[str], robustness: Sequence[Expectation]
) -> None:
    """Raise a `ProblemError` for what names no feature, or one of the wrong kind."""
    known = {column.name: column for column in features}
    named = [("slices", name) for name in slices] + [("strong", name) for name in strong]
    named += [(type(one).__name__, one.column) for one in robustness if not isinstance(one, Jitter)]
    for where, name in named:
        if name not in known:
            raise ProblemError(f"{where} names '{name}', which is no feature", f"Use one of {', '.join(known)}")
    for name in slices:
        if known[name].type == "string" and not known[name].categories:  # its values would stand in messages
            what = f"slices names '{name}', a text without declared categories"
            raise ProblemError(what, "Declare them with isin=[…] in the schema")
    for one in robustness:
        if isinstance(one, Direction) and known[one.column].type not in ("integer", "float"):
            raise ProblemError(f"Direction names '{one.column}', which is {known[one.column].kind}", "Name a number")


def _refuse_negative(expectation: object, **shares: float) -> None:
    for name, share in shares.items():
        if not share >= 0:
            raise ProblemError(f"{type(expectation).__name__}({name}={share})", "Use a share such as 0.05")
