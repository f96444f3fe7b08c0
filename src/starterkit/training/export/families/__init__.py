"""The kit's own converters, one class for each family of estimators."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points

from starterkit.errors import ProblemError, first_line
from starterkit.training.export.families.boosting import LightGBM, XGBoost
from starterkit.training.export.families.family import Family, Nodes
from starterkit.training.export.families.preprocessing import Encoding, Imputation
from starterkit.training.export.families.scikit import Boosting, Forests, HistogramBoosting, Logistic
from starterkit.training.export.families.trees import Scoring, TreeFamily, Trees

ENTRY_POINTS = "starterkit.families"

_OWN = (Boosting(), Encoding(), Forests(), HistogramBoosting(), Imputation(), LightGBM(), Logistic(), XGBoost())


@cache
def families() -> tuple[Family, ...]:
    """Those that other packages bring, then the kit's own.

    Raises
    ------
    ProblemError
        One cannot be loaded.
    """
    return (*map(_loaded, entry_points(group=ENTRY_POINTS)), *_OWN)


def _loaded(entry: EntryPoint) -> Family:
    try:
        return entry.load()()
    except Exception as error:
        what = f"the estimator family '{entry.name}' ({entry.value}) cannot be loaded: {first_line(error)}"
        place = f'pyproject.toml under [project.entry-points."{ENTRY_POINTS}"]'
        raise ProblemError(what, f"Correct it, or its line in {place}, and run `make env`") from error


def family_of(kind: type) -> Family | None:
    """The family that converts estimators of this class; None where skl2onnx does."""
    return next((family for family in families() if family.takes(kind)), None)


__all__ = ["ENTRY_POINTS", "Family", "Nodes", "Scoring", "TreeFamily", "Trees", "families", "family_of"]
