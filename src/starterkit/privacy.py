"""What a stage may see of a person. See docs/decisions/0009-stages-fail-closed.md.

The policy is code: no YAML can loosen it. This version cannot mask yet, so a stage that may not see a column raw
cannot load it at all.
"""

from collections.abc import Iterable

from starterkit.contract import Column
from starterkit.errors import DataError
from starterkit.settings import Stage

_SEES_RAW = frozenset({Stage.LOCAL, Stage.STAGING, Stage.PROD})


def require_sight(stage: Stage, columns: Iterable[Column]) -> None:
    """Let a stage load these columns as they are, or refuse.

    Raises
    ------
    DataError
        The stage may not see one of them raw. Identifiers are dropped by the reader once a row's side is known.
    """
    hidden = [column.name for column in columns if column.sensitivity == "sensitive"]
    if hidden and stage not in _SEES_RAW:
        mend = "Stay in local until masking is built, or leave the columns out of the schema"
        what = f"stage {stage} may not see {', '.join(hidden)} raw, and this version cannot mask them yet"
        raise DataError(what, mend)
