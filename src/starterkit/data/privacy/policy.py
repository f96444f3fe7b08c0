"""`Policy`: what becomes of each column in a stage. See docs/decisions/0017-data-policy.md.

The floor is code: no YAML can loosen it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import TYPE_CHECKING

from starterkit.contract import Column, Scalar, Treatment
from starterkit.errors import DataError, SettingsError
from starterkit.settings import FLOORS, STRENGTH, PrivacySettings, Stage

if TYPE_CHECKING:
    import pandas as pd

# --- Which stages see rows as they are.

ELSEWHERE = "Work in stage local with data that everyone may see"
_ON_THE_FLY = frozenset(Stage) - {Stage.TEST}


def require_visible(stage: Stage, columns: Iterable[Column]) -> None:
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


def masks_on_the_fly(stage: Stage, columns: Iterable[Column]) -> bool:
    """Whether a stage may be given raw rows to mask; `test` wants proof that it was done before."""
    return stage in _ON_THE_FLY or not any(column.sensitivity == "sensitive" for column in columns)


# --- Generalising: a number becomes the middle of its band, what has no bands becomes one and the same value.

_BANDS = 12


def has_bands(column: Column) -> bool:
    """Whether the schema bounds the column's numbers, so that they fall into bands."""
    bounded = column.minimum is not None and column.maximum is not None
    return bounded and column.type in ("float", "integer") and not column.categories


def generalised(column: Column, values: "pd.Series") -> "pd.Series":
    """n values as the middles of their bands, one of at most twelve between the schema's bounds.

    Types, and what is missing, stay.
    """
    if not has_bands(column):
        same = column.categories[0] if column.categories else False
        return values.mask(values.notna(), same)
    lowest, highest = float(column.minimum or 0), float(column.maximum or 0)
    bands = _BANDS
    if column.type == "integer":  # a band of a single whole number would show it
        bands = int(max(1, min(bands, (highest - lowest + 1) // 2)))
    width = (highest - lowest) / bands or 1.0
    band = ((values.astype("float64") - lowest) / width).clip(0, bands - 1) // 1
    middle = lowest + (band + 0.5) * width
    return (middle // 1 if column.type == "integer" else middle).clip(lowest, highest).astype(values.dtype)


def emptied(column: Column, values: "pd.Series") -> "pd.Series":
    """A dropped column: one value that the schema allows, so that a model finds it there and learns nothing of it."""
    import pandas as pd

    return pd.Series([_nothing(column)] * len(values), index=values.index, name=values.name).astype(values.dtype)


def _nothing(column: Column) -> Scalar:
    if column.categories:
        return column.categories[0]
    if column.type in ("float", "integer"):
        lowest, highest = column.minimum, column.maximum
        if lowest is not None and highest is not None:
            middle = (lowest + highest) / 2
            return middle // 1 if column.type == "integer" else middle
        return next((bound for bound in (lowest, highest) if bound is not None), 0.0)
    return False if column.type == "boolean" else "dropped"


@dataclass(frozen=True)
class Policy:
    """A stage's treatment of every column of a schema, by name."""

    stage: Stage
    columns: tuple[Column, ...]
    treatments: Mapping[str, Treatment] = field(default_factory=dict)

    @classmethod
    def of(cls, stage: Stage, columns: Iterable[Column], settings: PrivacySettings | None = None) -> "Policy":
        """What a stage does to these columns: its floor, or what its settings say beyond it.

        Raises
        ------
        SettingsError
            The settings hide less than the floor, name a column that isn't there, or ask for what a column cannot be.
        """
        columns, settings, floor = tuple(columns), settings or PrivacySettings(), FLOORS[stage]
        _refuse_unknown(settings.columns, columns)
        sensitive: Treatment = settings.sensitive or floor.sensitive
        identifiers: Treatment = settings.identifiers or floor.identifiers
        if sensitive == "mock":
            identifiers = "drop"  # made-up rows are nobody's
        elif stage is Stage.TEST and settings.identifiers is None:
            identifiers = "drop"  # pseudonyms only for who asks for them
        treatments: dict[str, Treatment] = {}
        for column in columns:
            usual = _usual(column, identifiers, sensitive)
            treatments[column.name] = settings.columns.get(column.name, usual)
        made = cls(stage, columns, treatments)
        for column in columns:
            made._refuse(column)
        return made

    @property
    def named(self) -> dict[str, Treatment]:
        """The columns that are not seen raw. Dropped identifiers are not named: no stage's models see any."""
        return {
            column.name: self.treatments[column.name]
            for column in self.columns
            if self.treatments[column.name] != "raw"
            and not (column.sensitivity == "identifier" and self.treatments[column.name] == "drop")
        }

    @property
    def hides_identifiers(self) -> bool:
        """Whether rows are known again by a keyed hash only."""
        return any(self.treatments[c.name] != "raw" for c in self.columns if c.sensitivity == "identifier")

    @property
    def mocks(self) -> bool:
        return "mock" in self.treatments.values()

    @property
    def is_raw(self) -> bool:
        return set(self.treatments.values()) <= {"raw"}

    def weakest_of(self, given: Mapping[str, Treatment]) -> str:
        """A column of which `given`, another policy, hides less than this one; empty if there is none."""
        return next((c for c, least in self.treatments.items() if STRENGTH[given.get(c, "raw")] < STRENGTH[least]), "")

    def require_possible(self) -> None:
        """Refuse before anything is read what could not be shown.

        Raises
        ------
        DataError
            A column cannot be generalised, because the schema does not say enough, or it is a class.
        """
        for column in self.columns:
            if self.treatments[column.name] != "generalise":
                continue
            unseen = f"stage {self.stage} may not see '{column.name}' raw"
            if column.role == "target" and not has_bands(column):
                raise DataError(f"{unseen}, and a class has no bands", ELSEWHERE)
            if not (has_bands(column) or column.categories or column.type == "boolean"):
                hint = "Give it `ge` and `le`, or `isin`, in the schema, or leave it out of it"
                raise DataError(f"{unseen}, and without bounds it has no bands", hint)

    def _refuse(self, column: Column) -> None:
        treatment, floor = self.treatments[column.name], FLOORS[self.stage]
        where = f"privacy.columns.{column.name} is {treatment}"
        if column.sensitivity == "identifier":
            if treatment == "generalise":
                raise SettingsError(f"{where}, and an identifier has no bands", "Set it to drop or pseudonymise")
        elif treatment == "pseudonymise":
            raise SettingsError(f"{where}, and pseudonyms are for identifiers", "Set it to generalise or drop")
        if column.role == "target" and treatment == "drop":
            raise SettingsError(f"'{column.name}' is the target and cannot be dropped", "Set it to generalise")
        if self.mocks and treatment == "raw":
            raise SettingsError(f"{where}, and made-up rows have no raw column", "Leave it out")
        least = {"identifier": floor.identifiers, "sensitive": floor.sensitive}.get(column.sensitivity, "raw")
        if STRENGTH[treatment] < STRENGTH[least]:
            raise SettingsError(f"{where}, which {self.stage} does not allow", f"Set it to {least}, or leave it out")


def _usual(column: Column, identifiers: Treatment, sensitive: Treatment) -> Treatment:
    if column.sensitivity == "identifier":
        return identifiers
    if sensitive == "mock":
        return "drop" if column.role == "time" else "mock"
    if column.role == "target" and sensitive == "drop":
        return "generalise"
    return sensitive if column.sensitivity == "sensitive" else "raw"


def _refuse_unknown(asked: Mapping[str, Treatment], columns: tuple[Column, ...]) -> None:
    names = [column.name for column in columns]
    for name in asked:
        if name not in names:
            close = get_close_matches(name, names, n=1)
            meant = f" (did you mean {close[0]}?)" if close else ""
            what = f"privacy.columns names '{name}', which the schema lacks{meant}"
            raise SettingsError(what, f"Rename or remove it; the schema has {', '.join(names)[:300]}")
