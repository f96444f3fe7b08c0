"""The kit's own converters, one class for each family of estimators."""

from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from starterkit.errors import ProblemError, first_line
from starterkit.training.export.families.adjusting import Calibrated, Isotonic, Thresholds, TransformedTargets
from starterkit.training.export.families.boosting import LightGBM, XGBoost
from starterkit.training.export.families.composition import Chain, SideBySide
from starterkit.training.export.families.encoding import Encoding
from starterkit.training.export.families.ensembles import Bagged, Boosted, OneAgainst, Stacks, Votes, Wrapped
from starterkit.training.export.families.family import Family
from starterkit.training.export.families.imputation import Imputation, Marks, NeighbourImputation, RoundImputation
from starterkit.training.export.families.kernels import KernelRidges, Neighbours, SupportVectors
from starterkit.training.export.families.linear import (
    Guesses,
    Likelihoods,
    LinearClassifiers,
    LinearRegressors,
    Networks,
)
from starterkit.training.export.families.nodes import Answer, Block, CannotExport, Nodes
from starterkit.training.export.families.projection import Polynomials, Projections, Selections, Splines
from starterkit.training.export.families.scaling import Bins, Functions, Power, Quantiles, RowScaling, Scaling
from starterkit.training.export.families.scikit import Boosting, Forests, HistogramBoosting
from starterkit.training.export.families.trees import Scoring, TreeFamily, Trees
from starterkit.training.export.families.wording import Words
from starterkit.training.export.refused import unknown

ENTRY_POINTS = "starterkit.families"

_OWN = (
    *(Chain(), SideBySide(), Encoding(), Imputation(), Marks(), NeighbourImputation(), RoundImputation()),
    *(Bins(), Words(), Functions(), Power(), Quantiles(), RowScaling(), Scaling()),
    *(Polynomials(), Projections(), Selections(), Splines()),
    *(Boosting(), Forests(), HistogramBoosting(), LightGBM(), XGBoost()),
    *(Guesses(), Likelihoods(), LinearClassifiers(), LinearRegressors(), Networks()),
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
        raise CannotExport(unknown(type(estimator)))
    return family


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
