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
        The stage may not see one of the model's inputs raw.
    """
    hidden = [column.name for column in columns if column.role == "feature" and column.sensitivity != "plain"]
    if hidden and stage not in _SEES_RAW:
        mend = "Use KIT_STAGE=local, staging or prod, or leave the columns out of the schema"
        what = f"stage {stage} may not see {', '.join(hidden)} raw, and this version cannot mask them yet"
        raise DataError(what, mend)
