"""A converter that leaves out a parameter answers otherwise: each value of each is right, or refused by name.

And a thin slice of `make bench-parity`: one case of each kind of its lists.
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import linear_model, preprocessing
from sklearn.calibration import CalibratedClassifierCV
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.multiclass import OneVsRestClassifier
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC, SVR

sys.path.append(str(Path(__file__).parents[4] / "bench"))
parity = pytest.importorskip("parity")  # a copy without the benchmarks has none

from starterkit.errors import ExportError  # noqa: E402

WALKED: list[tuple[Any, dict[str, list[Any]]]] = [
    (preprocessing.StandardScaler, {"with_mean": [False], "with_std": [False]}),
    (preprocessing.MinMaxScaler, {"clip": [True], "feature_range": [(-1, 2)]}),
    (preprocessing.MaxAbsScaler, {"clip": [True]}),
    (preprocessing.RobustScaler, {"with_centering": [False], "with_scaling": [False], "unit_variance": [True]}),
    (preprocessing.Normalizer, {"norm": ["l1", "l2", "max"]}),
    (preprocessing.PolynomialFeatures, {"degree": [3, (2, 3)], "interaction_only": [True], "include_bias": [False]}),
    (preprocessing.PowerTransformer, {"standardize": [False]}),
    (preprocessing.QuantileTransformer, {"output_distribution": ["normal"], "n_quantiles": [50]}),
    (
        preprocessing.SplineTransformer,
        {
            "extrapolation": ["constant", "linear", "continue", "periodic"],
            "degree": [1, 2],
            "knots": ["quantile"],
            "include_bias": [False],
        },
    ),
    (preprocessing.KBinsDiscretizer, {"encode": ["onehot", "onehot-dense", "ordinal"], "strategy": ["uniform"]}),
    (SimpleImputer, {"strategy": ["median", "most_frequent", "constant"], "add_indicator": [True]}),
    (SVR, {"kernel": ["linear", "poly", "sigmoid", "rbf"], "gamma": ["auto", 0.3], "coef0": [0.5], "degree": [2]}),
    (KNeighborsRegressor, {"weights": ["distance"], "p": [1, 2], "n_neighbors": [3]}),
    (Ridge, {"fit_intercept": [False], "positive": [True]}),
    (linear_model.TweedieRegressor, {"power": [0, 1, 1.5], "link": ["log", "identity"], "fit_intercept": [False]}),
    (LogisticRegression, {"fit_intercept": [False], "C": [100.0]}),
    (
        linear_model.SGDClassifier,
        {"loss": ["log_loss", "modified_huber", "squared_hinge"], "fit_intercept": [False], "average": [True]},
    ),
    (SVC, {"kernel": ["linear", "poly"], "break_ties": [True], "decision_function_shape": ["ovo"], "coef0": [0.5]}),
]


def _values() -> list[tuple[str, Any, dict[str, Any]]]:
    return [
        (f"{kind.__name__} {name}={value}", kind, {name: value})
        for kind, given in WALKED
        for name, values in given.items()
        for value in values
    ]


def _asked(name: str, task: str, estimator: Any, columns: tuple[str, ...] = ("height", "count", "share")) -> Any:
    """The verdict on one estimator, over a few hundred rows of another making."""
    case = parity.Case(name, task, lambda: estimator, columns)
    made = parity.table(300, 7, False)
    seen, target = made[list(columns)], parity.answers(case, made)
    fitted = estimator.fit(seen, target)
    rows = parity.other_rows(seen, 500, 9, False)
    shares = fitted.predict_proba(rows) if hasattr(fitted, "predict_proba") else None
    answered = parity._by_the_kit(case, fitted, seen, rows)
    return parity._compared(fitted.predict(rows), shares, float(target.std()), task, answered)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(("kind", "given"), [one[1:] for one in _values()], ids=[one[0] for one in _values()])
def test_each_value_of_a_parameter_is_right_or_refused(kind: Any, given: dict[str, Any]) -> None:
    made = kind(**given)
    classifies = hasattr(made, "decision_function") or kind is LogisticRegression
    steps = [preprocessing.StandardScaler(), made] if hasattr(kind, "predict") else [made, Ridge()]
    verdict = _verdict(kind.__name__, "3" if classifies else "regression", make_pipeline(*steps))
    assert verdict == "right" or (kind.__name__ in verdict and "skl2onnx" not in verdict)


def _verdict(name: str, task: str, estimator: Any) -> str:
    try:
        return _asked(name, task, estimator).verdict
    except ExportError as refusal:
        return str(refusal)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["registry", "transformers", "compositions", "boosters"])
def test_some_cases_of_each_list(name: str) -> None:
    cases = list(parity.LISTS[name]())[1 :: {"registry": 67, "boosters": 45}.get(name, 40)]
    for case in cases:
        *_, ways = parity.measure_kit(300, (name, case.name))
        assert ways["kit"].verdict in ("right", "refused", "unfit"), (case.name, ways["kit"])


@pytest.mark.parametrize("estimator", [OneVsRestClassifier(LogisticRegression()), CalibratedClassifierCV(SVC())])
def test_far_out_the_class_is_still_the_estimators(estimator: Any) -> None:
    made = parity.table(300, 7, False)
    seen = made[["height", "share"]]
    fitted = estimator.fit(seen, parity.answers(parity.Case("far", "3", lambda: estimator), made))
    far = seen.iloc[:50] * np.array([1e4, -1e5])
    answered = parity._by_the_kit(parity.Case("far", "3", lambda: estimator, ("height", "share")), fitted, seen, far)
    assert answered[0].tolist() == fitted.predict(far).tolist()
