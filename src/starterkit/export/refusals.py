"""What cannot be exported, by name, and what does instead. Found by trying; the proof of parity refuses the rest."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from starterkit.errors import ExportError

_INSTEAD: Mapping[str, str] = {
    "AdaBoostClassifier": "GradientBoostingClassifier",
    "AdaBoostRegressor": "GradientBoostingRegressor",
    "BaggingClassifier": "RandomForestClassifier",
    "BaggingRegressor": "RandomForestRegressor",
    "CalibratedClassifierCV": "LogisticRegression or HistGradientBoostingClassifier by itself",
    "FixedThresholdClassifier": "the classifier in it, and hold its probability against the threshold",
    "FunctionTransformer": "columns made in load()",
    "IterativeImputer": "SimpleImputer",
    "KBinsDiscretizer": "trees, which need no bins",
    "KernelRidge": "Ridge or HistGradientBoostingRegressor",
    "KNNImputer": "SimpleImputer",
    "MissingIndicator": "a column made in load()",
    "PolynomialFeatures": "trees, or products of columns made in load()",
    "PowerTransformer": "QuantileTransformer",
    "SplineTransformer": "trees, or columns made in load()",
    "SVR": "LinearSVR or HistGradientBoostingRegressor",
    "TargetEncoder": "OneHotEncoder or OrdinalEncoder",
    "TransformedTargetRegressor": "a target that load() transforms, or HistGradientBoostingRegressor(loss='gamma')",
    "TunedThresholdClassifierCV": "the classifier in it, and hold its probability against the threshold",
    "VotingClassifier": "VotingClassifier(voting='soft', flatten_transform=False), with weights as a numpy array",
    "VotingRegressor": "weights as a numpy array, or none",
}
_PAGES = "docs/parity.md lists what holds, docs/decisions/0015-families.md says how to add more"


_OTHERWISE = ("TunedThresholdClassifierCV",)
"""What skl2onnx converts, but into a graph that decides otherwise; among ties the proof would not see it."""


def refuse_what_decides_otherwise(estimator: Any) -> None:
    """
    Raises
    ------
    ExportError
        A part of it is converted into something else.
    """
    for part in parts(estimator):
        if type(part).__name__ in _OTHERWISE:
            raise refusal(estimator, "skl2onnx leaves out the threshold that it found")


def parts(estimator: Any) -> Iterator[Any]:
    """The estimator and every estimator in it."""
    yield estimator
    for part in estimator.get_params(deep=True).values():
        if isinstance(part, BaseEstimator):
            yield part


def refusal(estimator: Any, reason: str) -> ExportError:
    """Why there is no export, with the part to blame where it is known.

    A reason may bring its own mend, after a semicolon.
    """
    reason = re.sub(r"\[ONNXRuntimeError\] : \d+ : \w+ : ", "", reason)
    said, _, mend = reason.partition("; ")
    if mend and "; " not in mend and "labels changed" not in mend:
        return ExportError(f"{_chain(estimator)} cannot be exported to ONNX: {said}", f"{_capital(mend)}; {_PAGES}")
    if "does not answer" in reason and _takes_zeros_for_missing(estimator):
        what = f"{_chain(estimator)} cannot be exported to ONNX: XGBoost takes the zeros of a sparse matrix for missing"
        return ExportError(
            what, f"Give OneHotEncoder sparse_output=False, and ColumnTransformer sparse_threshold=0; {_PAGES}"
        )
    inner = next((type(part).__name__ for part in parts(estimator) if _is_of_others(part)), None)
    if inner and (inner in reason or "Unable to find" in reason):
        what = f"{_chain(estimator)} cannot be exported to ONNX with {inner} inside"
        return ExportError(what, f"Use {inner} by itself or at the end of a Pipeline; {_PAGES}")
    known = next((name for part in parts(estimator) if (name := type(part).__name__) in _INSTEAD), None)
    if known is None:
        what = f"{_chain(estimator)} cannot be exported to ONNX: {reason}"
        return ExportError(what, f"Use another estimator; {_PAGES}")
    inside = "" if type(estimator).__name__ == known else f" (in {_chain(estimator)})"
    what = f"{known}{inside} cannot be exported to ONNX: {reason}"
    return ExportError(what, f"Use {_INSTEAD[known]} instead; {_PAGES}")


def _capital(mend: str) -> str:
    return f"{mend[:1].upper()}{mend[1:]}"


def _takes_zeros_for_missing(estimator: Any) -> bool:
    kinds = {type(part).__module__.partition(".")[0] for part in parts(estimator)}
    sparse = ("sparse_output_", "sparse_output")
    return "xgboost" in kinds and any(
        getattr(part, name, False) is True for part in parts(estimator) for name in sparse
    )


def _is_of_others(part: Any) -> bool:
    return type(part).__module__.partition(".")[0] in ("lightgbm", "xgboost")


def _chain(estimator: Any) -> str:
    if isinstance(estimator, Pipeline):
        return " → ".join(type(step).__name__ for _, step in estimator.steps)
    return type(estimator).__name__
