"""What a stage may see of a person. See docs/decisions/0009-stages-fail-closed.md.

The policy is code: no YAML can loosen it.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from starterkit.contract import Column, Treatment
from starterkit.errors import DataError
from starterkit.settings import Stage

if TYPE_CHECKING:
    import pandas as pd

_SEES_RAW = frozenset({Stage.LOCAL, Stage.STAGING, Stage.PROD})
_GENERALISES = frozenset({Stage.DEV})
_BANDS = 12
_MEND = "Work in stage local with data that everyone may see"


def require_sight(stage: Stage, columns: Iterable[Column]) -> None:
    """Let a stage load these columns as they are, or refuse.

    Raises
    ------
    DataError
        The stage may not see one of them raw. Identifiers are dropped by the reader once a row's side is known.
    """
    hidden = [column.name for column in _sensitive(columns)]
    if hidden and stage not in _SEES_RAW:
        raise DataError(f"stage {stage} may not see {', '.join(hidden)} raw", _MEND)


def require_policy(stage: Stage, columns: Iterable[Column]) -> None:
    """Refuse before anything is read what `as_seen` could not show.

    Raises
    ------
    DataError
        The stage may not see a column raw, and does not generalise, or the schema does not say enough to do it.
    """
    if stage not in _GENERALISES:
        require_sight(stage, columns)
        return
    for column in _sensitive(columns):
        if column.role == "target" and not _has_bands(column):
            what = f"stage {stage} may not see '{column.name}' raw, and a class has no bands"
            raise DataError(what, _MEND)
        if not (_has_bands(column) or column.categories or column.type == "boolean"):
            what = f"stage {stage} may not see '{column.name}' raw, and without bounds it has no bands"
            raise DataError(what, "Give it `ge` and `le`, or `isin`, in the schema, or leave it out of it")


def as_seen(
    stage: Stage, columns: Iterable[Column], frame: "pd.DataFrame"
) -> "tuple[pd.DataFrame, dict[str, Treatment]]":
    """The rows as a stage may see them, and what became of the columns that it may not see raw.

    A number becomes the middle of its band, one of at most twelve between the schema's bounds. What has no bands
    becomes one and the same value. Types, and what is missing, stay.

    Raises
    ------
    DataError
        What `require_policy` raises.
    """
    columns = tuple(columns)
    require_policy(stage, columns)
    if stage not in _GENERALISES:
        return frame, {}
    masked = {column.name: _generalised(column, frame[column.name]) for column in _sensitive(columns)}
    return frame.assign(**masked), dict.fromkeys(masked, "generalise")


def _sensitive(columns: Iterable[Column]) -> list[Column]:
    return [column for column in columns if column.sensitivity == "sensitive"]


def _has_bands(column: Column) -> bool:
    bounded = column.minimum is not None and column.maximum is not None
    return bounded and column.type in ("float", "integer") and not column.categories


def _generalised(column: Column, values: "pd.Series") -> "pd.Series":
    if not _has_bands(column):
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
