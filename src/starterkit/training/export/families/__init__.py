"""The kit's own converters, one class for each family of estimators."""

from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from starterkit.errors import ProblemError, first_line
from starterkit.training.export.families.boosting import LightGBM, XGBoost
from starterkit.training.export.families.catboost import CatBoost
from starterkit.training.export.families.composition import (
    Calibrated,
    Chain,
    Isotonic,
    SideBySide,
    Thresholds,
    TransformedTargets,
)
from starterkit.training.export.families.encoding import Encoding, Words
from starterkit.training.export.families.ensembles import Bagged, Boosted, OneAgainst, Stacks, Votes, Wrapped
from starterkit.training.export.families.linear import (
    ExportedByLibrary,
    Guesses,
    Likelihoods,
    LinearClassifiers,
    LinearRegressors,
    Networks,
)
from starterkit.training.export.families.nodes import Answer, Block, CannotExport, Family, Nodes
from starterkit.training.export.families.preprocessing import (
    Bins,
    Functions,
    Imputation,
    Marks,
    NeighbourImputation,
    Power,
    Quantiles,
    RoundImputation,
    RowScaling,
    Scaling,
)
from starterkit.training.export.families.projection import (
    KernelRidges,
    Neighbours,
    Polynomials,
    Projections,
    Selections,
    Splines,
    SupportVectors,
)
from starterkit.training.export.families.scikit import Boosting, Forests, HistogramBoosting
from starterkit.training.export.families.trees import Scoring, TreeFamily, Trees

ENTRY_POINTS = "starterkit.families"

_OWN = (
    *(Chain(), SideBySide(), Encoding(), Imputation(), Marks(), NeighbourImputation(), RoundImputation()),
    *(Bins(), Words(), Functions(), Power(), Quantiles(), RowScaling(), Scaling()),
    *(Polynomials(), Projections(), Selections(), Splines()),
    *(Boosting(), CatBoost(), Forests(), HistogramBoosting(), LightGBM(), XGBoost()),
    *(Guesses(), Likelihoods(), LinearClassifiers(), LinearRegressors(), Networks(), ExportedByLibrary()),
    *(KernelRidges(), Neighbours(), SupportVectors()),
    *(Bagged(), Boosted(), OneAgainst(), Stacks(), Votes(), Wrapped()),
    *(Calibrated(), Isotonic(), Thresholds(), TransformedTargets()),
)


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
    """The family that converts estimators of this class; None where there is none."""
    return next((family for family in families() if family.takes(kind)), None)


def family_for(estimator: Any) -> Family:
    """The family that converts this estimator.

    Raises
    ------
    CannotExport
        There is none.
    """
    family = family_of(type(estimator))
    if family is None:
        raise CannotExport(_unknown(type(estimator)))
    return family


# --- What no family takes.

_OWN_CLASS = (
    "it is a class without a converter; write one, ten lines (docs/extend-it-here.md), or use scikit-learn's own"
)

_INSTEAD: Mapping[str, tuple[str, str]] = {
    "CategoricalNB": ("a category that it never saw makes it fail", "OneHotEncoder and BernoulliNB"),
    "ClassifierChain": ("it answers several targets", "one classifier for each target"),
    "DictVectorizer": ("it takes dictionaries, and the rows have columns", "OneHotEncoder"),
    "FeatureHasher": ("the graph knows no hashes", "OneHotEncoder(min_frequency=…)"),
    "GaussianProcessClassifier": ("the graph knows no error function in float64", "LogisticRegression or SVC"),
    "HashingVectorizer": ("the graph knows no hashes", "TfidfVectorizer"),
    "NMF": ("it solves a problem anew for each row", "PCA"),
    "RadiusNeighborsClassifier": ("a row without neighbours makes it fail", "KNeighborsClassifier"),
    "RadiusNeighborsRegressor": ("a row without neighbours has no answer", "KNeighborsRegressor"),
    "LabelPropagation": ("it answers from all its rows at once", "KNeighborsClassifier"),
    "LabelSpreading": ("it answers from all its rows at once", "KNeighborsClassifier"),
    "MultiOutputClassifier": ("it answers several targets", "one classifier for each target"),
    "MultiOutputRegressor": ("it answers several targets", "one regressor for each target"),
    "MultiTaskElasticNet": ("it answers several targets", "ElasticNet"),
    "MultiTaskElasticNetCV": ("it answers several targets", "ElasticNetCV"),
    "MultiTaskLasso": ("it answers several targets", "Lasso"),
    "MultiTaskLassoCV": ("it answers several targets", "LassoCV"),
    "RegressorChain": ("it answers several targets", "one regressor for each target"),
    "CatBoostRanker": ("it ranks rows of a query, and a row alone has no rank", "CatBoostRegressor"),
    "LGBMRanker": ("it ranks rows of a query, and a row alone has no rank", "LGBMRegressor"),
    "XGBRanker": ("it ranks rows of a query, and a row alone has no rank", "XGBRegressor"),
}


def _unknown(kind: type) -> str:
    """Why a class that no family takes has no graph, and after a semicolon what does."""
    if kind.__name__ in _INSTEAD:
        reason, instead = _INSTEAD[kind.__name__]
        return f"{reason}; use {instead}"
    if kind.__module__.partition(".")[0] not in ("catboost", "lightgbm", "sklearn", "xgboost"):
        return _OWN_CLASS
    return "the kit knows no graph that answers as it does; use an estimator of docs/parity.md"


__all__ = [
    "ENTRY_POINTS",
    "Answer",
    "Block",
    "CannotExport",
    "Family",
    "Nodes",
    "Scoring",
    "TreeFamily",
    "Trees",
    "families",
    "family_of",
]
