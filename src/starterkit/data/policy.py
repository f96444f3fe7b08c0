"""`Policy`: what becomes of each column in a stage, and what that did. See docs/decisions/0017-data-policy.md.

The floor is code: no YAML can loosen it. See docs/data-policy.md, too.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from starterkit.contract import Column, Scalar, Treatment
from starterkit.errors import DataError, Refused, SettingsError, meant
from starterkit.settings import FLOORS, STRENGTH, PrivacySettings, Stage, identifiers_in

if TYPE_CHECKING:
    import pandas as pd

    from starterkit.problem import Problem

# --- Which stages see rows as they are.

ELSEWHERE = "Work in stage local with data that everyone may see"


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


# --- Generalising: a number becomes the middle of its band, what has no bands becomes one and the same value.

_BANDS = 12
_MOST_ROWS = 0.9


def has_bands(column: Column) -> bool:
    """Whether the schema bounds the column's numbers, so that they fall into bands."""
    bounded = column.minimum is not None and column.maximum is not None
    return bounded and column.type in ("float", "integer") and not column.categories


def generalised(column: Column, values: "pd.Series") -> "pd.Series":
    """n values as the middles of their bands, one of at most twelve between the schema's bounds.

    A band is as wide as two of the column's usual steps, so that none holds one number alone. Types, and what is
    missing of a number, stay. Without bands a missing value is filled, too: its gaps would show a category again.
    """
    if not has_bands(column):
        return emptied(column, values)
    lowest, highest = float(column.minimum or 0), float(column.maximum or 0)
    step = _usual_step(values)
    bands = int(max(1, min(_BANDS, (highest - lowest) / (2 * step) + 1e-9))) if step else _BANDS
    width = (highest - lowest) / bands or 1.0
    band = ((values.astype("float64") - lowest) / width).clip(0, bands - 1) // 1
    middle = lowest + (band + 0.5) * width
    return (middle // 1 if column.type == "integer" else middle).clip(lowest, highest).astype(values.dtype)


def _usual_step(values: "pd.Series") -> float:
    """The distance between the numbers that nine of ten rows have: 1 for whole ones, whatever the column's type."""
    counts = values.dropna().astype("float64").value_counts()
    usual = counts[((counts.cumsum() - counts) / max(counts.sum(), 1)).lt(_MOST_ROWS)]
    numbers = np.sort((usual if len(usual) > 1 else counts).index.to_numpy(np.float64))
    step = float(np.median(np.diff(numbers))) if len(numbers) > 1 else 0.0
    return max(step, 1.0) if (numbers % 1 == 0).all() else step


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
        columns, settings = tuple(columns), settings or PrivacySettings()
        _refuse_unknown(settings.columns, columns)
        sensitive: Treatment = settings.sensitive or FLOORS[stage].sensitive
        usual = {one.name: _usual(one, identifiers_in(stage, settings), sensitive) for one in columns}
        treatments: dict[str, Treatment] = {**usual, **settings.columns}
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
            what = f"privacy.columns names '{name}', which the schema lacks{meant(name, names)}"
            raise SettingsError(what, f"Rename or remove it; the schema has {', '.join(names)[:300]}")


# --- What masking did to the rows: how alone a person is among them, and how far the columns moved.


def measure(problem: "Problem", raw: "pd.DataFrame", after: "pd.DataFrame", policy: Policy) -> dict[str, Any]:
    """What is left of hidden identifiers in the treated rows, how alone people are there, and how columns moved.

    Raises
    ------
    Refused
        A raw value of a hidden identifier is still there.
    """
    hidden = [c.name for c in problem.columns if c.sensitivity == "identifier" and policy.treatments[c.name] != "raw"]
    shown = after[[c.name for c in problem.columns if c.sensitivity != "identifier" and c.name in after]]
    found = {name: overlap(raw[name], shown) for name in hidden}
    for name, count in found.items():
        if count:
            what = f"{count} values of '{name}' are still in the data"
            raise Refused(what, "Look for a feature that repeats the identifier, and leave it out of the schema")
    return {
        "crowds": _crowds(problem, raw, after),
        "overlap": found,
        "shifts": {
            column.name: asdict(shift(column, raw[column.name], after[column.name]))
            for column in (*problem.features, problem.target)
        },
    }


@dataclass(frozen=True)
class KAnonymity:
    """How many rows share their values: the smallest group (k), the number of groups, the groups of one row.

    k says how many people an outsider who knows these columns cannot tell apart (Sweeney, 2002).
    """

    smallest: int
    groups: int
    alone: int


def k_anonymity(frame: "pd.DataFrame", names: Sequence[str], people: "pd.Series | None" = None) -> KAnonymity:
    """The groups of rows with the same values in these columns; `people` says which rows are the same person's."""
    if not names:
        return KAnonymity(len(frame), 1, 0)
    by = [frame[name].astype("str").fillna("") for name in names]
    groups = frame.index.to_series().groupby(by, sort=False)
    sizes = groups.size() if people is None else people.groupby(by, sort=False).nunique()
    return KAnonymity(int(sizes.min()), len(sizes), int((sizes == 1).sum()))


def _crowds(problem: "Problem", before: "pd.DataFrame", after: "pd.DataFrame") -> list[dict[str, Any]]:
    """k over the sensitive features, with the target, and over every feature: plain ones may be known, too."""
    sensitive = [column.name for column in problem.features if column.sensitivity == "sensitive"]
    known = [sensitive, [column.name for column in problem.features]]
    if problem.target.sensitivity == "sensitive":
        known.insert(1, [*sensitive, problem.target.name])
    people = before[problem.group.name] if problem.group else None
    return [
        {
            "columns": names,
            "with_target": problem.target.name in names,
            "before": asdict(k_anonymity(before, names, people)),
            "after": asdict(k_anonymity(after, names, people)),
        }
        for place, names in enumerate(known)
        if names and names not in known[:place]
    ]


@dataclass(frozen=True)
class Shift:
    """How far a column's distribution moved, from 0 (not at all) to 1 (nothing in common)."""

    measure: str
    value: float


def shift(column: Column, before: "pd.Series", after: "pd.Series") -> Shift:
    """The Kolmogorov-Smirnov statistic of numbers, the total variation distance of anything else."""
    if column.type in ("float", "integer") and not column.categories:
        from scipy.stats import ks_2samp

        known = [values.dropna().to_numpy(np.float64) for values in (before, after)]
        if all(map(len, known)):
            return Shift("Kolmogorov-Smirnov", float(ks_2samp(*known).statistic))
    shares = [values.astype("str").fillna("").value_counts(normalize=True) for values in (before, after)]
    difference = shares[0].sub(shares[1], fill_value=0).abs().sum() / 2
    return Shift("total variation", float(difference))


# --- Raw identifiers that are left. One that has a letter or six digits is looked for in every text; any other, as 17,
# stands in many a cell by chance, and is looked for in its own row: more often than in rows that are dealt anew.

_DIGITS, _LETTERS = 6, 4
_DEALS = 16
_CHANCES = 4


def overlap(raw: "pd.Series", table: "pd.DataFrame") -> int:
    """How many cells hold an identifier of `raw`, which has the same n rows: alone, or within a text or a number."""
    import pandas as pd

    ids = _words(raw)
    telling = np.array([not one.isdecimal() or len(one) >= _DIGITS for one in ids], np.bool_)
    known = set(ids[telling])
    within = {one for one in known if len(one) >= _LETTERS}
    lengths = {len(one) for one in within}

    def holds(text: str) -> bool:
        return text in known or any(text[at : at + n] in within for n in lengths for at in range(len(text) - n + 1))

    total = 0
    for name in table:
        cells = _words(table[name])
        own = _in_own_row(np.where(telling, ids, ""), cells, 0)
        own |= _in_own_row(np.where(telling, "", ids), cells, _CHANCES)
        if not pd.api.types.is_numeric_dtype(table[name]):
            own |= np.isin(cells, [text for text in set(cells) if holds(text)])
        total += int(own.sum())
    return total


def _in_own_row(ids: NDArray[np.object_], cells: NDArray[np.object_], beyond: int) -> NDArray[np.bool_]:
    """Which of n cells hold their own row's id, where that are more than chance makes. An empty id is not asked for."""
    found = _pairs(ids, cells)
    if found.sum() > beyond:
        deals = np.random.default_rng(len(ids))
        chance = float(np.mean([_pairs(deals.permutation(ids), cells).sum() for _ in range(_DEALS)]))
        if found.sum() > beyond + chance + 5 * chance**0.5:
            return found
    return np.zeros(len(ids), np.bool_)


def _pairs(ids: NDArray[np.object_], cells: NDArray[np.object_]) -> NDArray[np.bool_]:
    return np.fromiter((bool(one) and one in cell for one, cell in zip(ids, cells, strict=True)), np.bool_, len(ids))


def _words(values: "pd.Series") -> NDArray[np.object_]:
    """n values as people write them: a whole number has no point, a missing value is empty."""
    plain = values.astype(object).where(values.notna(), "")
    words = (str(int(v)) if isinstance(v, float) and v.is_integer() else str(v) for v in plain)
    return np.fromiter(words, object, len(values))
