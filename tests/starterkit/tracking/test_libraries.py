"""What an estimator is made of."""

from importlib.metadata import version
from typing import Any

import numpy as np
import pytest
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import (
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    RandomForestRegressor,
    VotingRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, SplineTransformer
from skops.io import dumps, get_untrusted_types

from starterkit.tracking.runs import libraries, types_of

ROWS = np.random.default_rng(0).normal(size=(60, 3)) ** 2


def shifted(rows: Any) -> Any:
    return rows + 1


@pytest.mark.parametrize(
    "estimator",
    [
        GradientBoostingRegressor(n_estimators=3),
        HistGradientBoostingClassifier(max_iter=3),
        RandomForestRegressor(3, random_state=np.random.RandomState(3)),
        LogisticRegression(),
        GridSearchCV(Ridge(), {"alpha": [1, 2]}, cv=2),
        VotingRegressor([("one", Ridge()), ("other", GradientBoostingRegressor(n_estimators=3))]),
        TransformedTargetRegressor(Ridge(), func=np.cbrt, inverse_func=np.exp, check_inverse=False),
        make_pipeline(make_column_transformer((OneHotEncoder(), [0]), (SplineTransformer(), [1])), Ridge()),
        make_pipeline(FunctionTransformer(shifted), Ridge()),
        make_pipeline(FunctionTransformer(lambda rows: rows), Ridge()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_all_that_skops_asks_about_is_met(estimator: Any) -> None:
    classifies = hasattr(estimator, "predict_proba")
    fitted = estimator.fit(ROWS, ROWS[:, 0] > 1 if classifies else ROWS[:, 0])
    assert types_of(fitted) >= set(get_untrusted_types(data=dumps(fitted)))


def test_a_function_of_ones_own_is_met_and_pickles_own_words_are_not() -> None:
    met = types_of(make_pipeline(FunctionTransformer(shifted), Ridge()))
    assert f"{shifted.__module__}.shifted" in met
    assert not [name for name in met if name.startswith(("builtins.", "copyreg."))]


def test_libraries_are_named_by_distribution() -> None:
    xgboost = pytest.importorskip("xgboost")
    fitted = xgboost.XGBRegressor(n_estimators=1).fit(ROWS, ROWS[:, 0])
    assert libraries(types_of(fitted)) == ["xgboost-cpu"]
    assert version("xgboost-cpu")
    assert libraries(types_of(Ridge().fit(ROWS, ROWS[:, 0]))) == []
