"""Which stages see rows as they are, and the treatments in words."""

from collections.abc import Iterable, Mapping

from starterkit.contract import Column, Treatment
from starterkit.errors import DataError
from starterkit.settings import FLOORS, Stage

ELSEWHERE = "Work in stage local with data that everyone may see"
_ON_THE_FLY = frozenset(Stage) - {Stage.TEST}
_WORDS: Mapping[Treatment, str] = {
    "raw": "raw",
    "pseudonymise": "under pseudonyms",
    "generalise": "in bands",
    "mock": "made up",
    "drop": "dropped",
}


def require_sight(stage: Stage, columns: Iterable[Column]) -> None:
    """Let a stage load these columns as they are, or refuse.

    Raises
    ------
    DataError
        The stage may not see one of them raw. Identifiers are dropped by the reader once a row's side is known.
    """
    hidden = [column.name for column in columns if column.sensitivity == "sensitive"]
    if hidden and not sees_raw(stage):
        raise DataError(f"stage {stage} may not see {', '.join(hidden)} raw", ELSEWHERE)


def sees_raw(stage: Stage) -> bool:
    """Whether the stage's floor lets it see all columns."""
    return set(FLOORS[stage]) == {"raw"}


def treats_as_it_reads(stage: Stage, columns: Iterable[Column]) -> bool:
    """Whether a stage may be given raw rows to treat; `test` wants proof that it was done before."""
    return stage in _ON_THE_FLY or not any(column.sensitivity == "sensitive" for column in columns)


def in_words(treatments: Mapping[str, Treatment]) -> dict[str, list[str]]:
    """The columns by what became of them: ``{"in bands": ["age", "sex"]}``."""
    found: dict[str, list[str]] = {}
    for column, treatment in treatments.items():
        found.setdefault(_WORDS[treatment], []).append(column)
    return found
