"""The target: which task it asks for, what its schema says, and what makes it unfit to be predicted."""

from dataclasses import replace

from starterkit.cli.init.draft import BY_NAME, Field
from starterkit.cli.init.meaning import names_somebody, unit_of
from starterkit.cli.init.numerals import looks_like_number
from starterkit.cli.init.profile import ColumnProfile, bounds
from starterkit.contract import Scalar, Task
from starterkit.errors import DataError

_MOST_WHOLE_CLASSES = 10
_MOST_CLASSES = 50
FEWEST_ROWS = 30
"""With fewer rows neither side of the holdout says anything."""
FEWEST_ROWS_OF_A_CLASS = 10
"""With fewer, one side of the holdout may well have none."""


def task_of(target: ColumnProfile) -> Task:
    """Classes are texts, true or false, or a few whole numbers; anything else is a number to predict."""
    if not target.is_number:
        return "classification"
    whole = bool((target.known % 1 == 0).all())
    few = target.distinct <= _MOST_WHOLE_CLASSES and len(target.known) >= FEWEST_ROWS_OF_A_CLASS * target.distinct
    return "classification" if whole and few else "regression"


def require_target(target: ColumnProfile, task: Task, where: str) -> None:
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
        hint = "Name another column, or merge classes" + (", or add --task regression" if target.is_number else "")
        many = f"{target.distinct} different values, and {_MOST_CLASSES} classes are the most"
        texts = [str(value) for value in target.known.unique()] if target.kind == "text" else []
        if sum(map(looks_like_number, texts)) * 2 > len(texts):
            many, hint = (
                "numbers in several forms, or other texts among them",
                "Write each as in 1234.5, or leave it empty",
            )
        raise DataError(f"{what} has {many}", hint)


def rare_classes(target: ColumnProfile) -> int:
    """How many classes have too few rows for both sides of the holdout."""
    return int((target.known.value_counts() < FEWEST_ROWS_OF_A_CLASS).sum())


def target_field(target: ColumnProfile, name: str, task: Task, asked: bool) -> Field:
    """The target's place in the schema. `asked` says that the task was not guessed."""
    sensitive, review = target.sensitive, [*_told_missing(target), *target.review]
    if task == "regression":
        whole = target.kind == "integer"
        kind, classes, limits = ("int" if whole else "float"), (), bounds(target)
    else:
        kind = {"boolean": "bool", "text": "str"}.get(target.kind, "int")
        classes, limits = _classes(target), None
        if kind == "int" and not asked:
            review += [f"{target.distinct} whole numbers taken for classes; `--task regression` takes them for numbers"]
    return Field(
        name=name,
        header=target.header,
        role="target",
        type=kind,  # pyrefly: ignore[bad-argument-type]
        sensitive=sensitive,
        unit=unit_of(target.header) or next(iter(target.written.affixes), ""),
        bounds=limits,
        categories=classes,
        written=replace(target.written, header=target.header if target.header != name else ""),
        review="; ".join(review) or (BY_NAME if sensitive else ""),
    )


def _told_missing(target: ColumnProfile) -> list[str]:
    """Texts that stand for none, unless they are told already."""
    quiet = [text for text in target.written.missing if not any(f"'{text}'" in line for line in target.review)]
    texts = " and ".join(repr(text) for text in quiet[:3])
    return [f"{texts} {'is' if len(quiet) == 1 else 'are'} read as missing, and a row without target is left out"] * (
        len(quiet) > 0
    )


def _classes(target: ColumnProfile) -> tuple[Scalar, ...]:
    values = target.known.unique()
    if target.kind == "boolean":
        return ()
    return tuple(sorted(map(str, values))) if target.kind == "text" else tuple(sorted(int(value) for value in values))
