"""The target: which task it asks for, what its schema says, and what makes it unfit to be predicted."""

from starterkit.contract import Scalar, Task
from starterkit.errors import DataError
from starterkit.starting.guessing import is_sensitive, names_somebody, unit_of
from starterkit.starting.looking import Sight
from starterkit.starting.planning import Field
from starterkit.starting.ranges import bounds
from starterkit.starting.reading import FEWEST_ROWS

_MOST_WHOLE_CLASSES = 10
_MOST_CLASSES = 50
_WRITTEN = r"\W*\d[\d.,' ]*([eE][-+]?\d+)?\W*"
"""``1.234,50``, ``$12`` or ``5 %``."""
FEWEST_ROWS_OF_A_CLASS = 10
"""With fewer, one side of the holdout may well have none."""


def task_of(target: Sight) -> Task:
    """Classes are texts, true or false, or a few whole numbers; anything else is a number to predict."""
    if not target.is_number:
        return "classification"
    whole = bool((target.known % 1 == 0).all())
    few = target.distinct <= _MOST_WHOLE_CLASSES and len(target.known) >= FEWEST_ROWS_OF_A_CLASS * target.distinct
    return "classification" if whole and few else "regression"


def require_target(target: Sight, task: Task, where: str) -> None:
    """
    Raises
    ------
    DataError
        There is nothing to predict, or nothing that can be.
    """
    what = f"the target '{target.header}' of {where}"
    if target.kind == "nothing" or target.known.empty:
        raise DataError(f"{what} is missing in every row", "Give rows that have it, or name another column")
    if len(target.known) < FEWEST_ROWS:
        rows = "one row" if len(target.known) == 1 else f"{len(target.known)} rows"
        raise DataError(f"{what} is known in {rows}, and at least {FEWEST_ROWS} are needed", "Give more rows")
    if target.distinct == 1:
        raise DataError(f"{what} has one value in every row", "Give rows with other values, or name another column")
    if task == "regression" and not target.is_number:
        raise DataError(f"{what} is no number, so there is no regression", "Leave --task out")
    if target.kind == "date":
        raise DataError(f"{what} is a date", "Add a column with the days until then, or another number")
    if names_somebody(target.header, target.values):
        raise DataError(f"{what} says who somebody is", "Name another column")
    if task == "classification" and target.distinct > _MOST_CLASSES:
        mend = "Name another column, or merge classes" + (", or add --task regression" if target.is_number else "")
        many = f"{target.distinct} different values, and {_MOST_CLASSES} classes are the most"
        if target.kind == "text" and target.known.str.fullmatch(_WRITTEN).mean() > 0.5:
            many, mend = "numbers that are written as texts", "Write each as in 1234.5, and leave out what is no number"
        raise DataError(f"{what} has {many}", mend)


def rare_classes(target: Sight) -> int:
    """How many classes have too few rows for both sides of the holdout."""
    return int((target.known.value_counts() < FEWEST_ROWS_OF_A_CLASS).sum())


def target_field(target: Sight, name: str, task: Task, asked: bool) -> Field:
    """The target's place in the schema. `asked` says that the task was not guessed."""
    sensitive, review = is_sensitive(target.header), ""
    if task == "regression":
        whole = target.kind == "integer"
        kind, classes, limits = ("int" if whole else "float"), (), bounds(target)
    else:
        kind = {"boolean": "bool", "text": "str"}.get(target.kind, "int")
        classes, limits = _classes(target), None
        if kind == "int" and not asked:
            review = f"{target.distinct} whole numbers taken for classes; `--task regression` takes them for numbers"
    return Field(
        name=name,
        header=target.header,
        role="target",
        type=kind,  # pyrefly: ignore[bad-argument-type]
        sensitive=sensitive,
        unit=unit_of(target.header),
        bounds=limits,
        categories=classes,
        review=review or ("taken for sensitive by its name" if sensitive else ""),
    )


def _classes(target: Sight) -> tuple[Scalar, ...]:
    values = target.known.unique()
    if target.kind == "boolean":
        return ()
    return tuple(sorted(map(str, values))) if target.kind == "text" else tuple(sorted(int(value) for value in values))
