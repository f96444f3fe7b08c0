"""What cannot be exported: which step it is, why, and what does instead, in a user's words."""

from collections.abc import Mapping, Sequence
from typing import Any

from sklearn.pipeline import Pipeline

from starterkit.errors import ExportError

_PAGES = "docs/parity.md lists what holds"
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
    "LGBMRanker": ("it ranks rows of a query, and a row alone has no rank", "LGBMRegressor"),
    "XGBRanker": ("it ranks rows of a query, and a row alone has no rank", "XGBRegressor"),
}


def unknown(kind: type) -> str:
    """Why a class that no family takes has no graph, and after a semicolon what does."""
    if kind.__name__ in _INSTEAD:
        reason, instead = _INSTEAD[kind.__name__]
        return f"{reason}; use {instead}"
    if kind.__module__.partition(".")[0] not in ("lightgbm", "sklearn", "xgboost"):
        return _OWN_CLASS
    return "the kit knows no graph that answers as it does; use an estimator of docs/parity.md"


def refusal(estimator: Any, reason: str, *, part: str = "", steps: Sequence[str] = ()) -> ExportError:
    """Why there is no export, with the part to blame where it is known.

    A reason may bring its own hint, after a semicolon.
    """
    if "onnxruntime" in reason.lower():
        reason = "its graph cannot be run; leave out the step that was added last, and report it"
    said, _, hint = reason.partition("; ")
    if "labels changed" in hint:
        said, hint = reason, ""
    hint = f"{hint[:1].upper()}{hint[1:]}; {_PAGES}" if hint else f"Use another estimator; {_PAGES}"
    where = _chain(estimator)
    if part and part != where:
        through = f"step {' → '.join(repr(step) for step in steps)} of " if steps else "in "
        where = f"{part} ({through}{where})"
    return ExportError(f"{where} cannot be exported to ONNX: {said.rstrip('. ')}", hint)


def _chain(estimator: Any) -> str:
    if isinstance(estimator, Pipeline):
        return " → ".join(type(step).__name__ for _, step in estimator.steps)
    return type(estimator).__name__
