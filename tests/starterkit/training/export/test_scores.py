"""What is done with the trees' sums: every objective of every library, on few rows and few trees."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from sklearn import ensemble
from sklearn.base import clone, is_classifier
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier, ExtraTreeRegressor
from xgboost import XGBClassifier, XGBRanker, XGBRegressor, XGBRFClassifier, XGBRFRegressor

from starterkit.contract import Column
from starterkit.errors import ExportError
from starterkit.serving.graph import Session
from starterkit.training.export.conversion import Placed, to_graph
from starterkit.training.export.families import family_of
from starterkit.training.export.families.boosting import _LIGHTGBM_LINKS, _XGBOOST_LINKS, _beyond_zero
from starterkit.training.export.families.trees import TreeFamily
from starterkit.training.export.probe import flipped_leaves

NAMES = ("a", "b", "c")
COLUMNS = [Column(name=name, role="feature", type="float", unit="", sensitivity="plain") for name in NAMES]
XGBOOST = {"n_estimators": 3, "max_depth": 3, "n_jobs": 1}
LIGHTGBM = {"n_estimators": 3, "n_jobs": 1, "verbose": -1}
FOREST = {"boosting_type": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}
SMALL = {"n_estimators": 3, "max_depth": 3, "random_state": 0}
_WANTS_ANOTHER = ("reg:quantileerror",)  # the quantile
XGBOOST_LOSSES = [name for name in _XGBOOST_LINKS if name.startswith(("reg:", "count:")) and name not in _WANTS_ANOTHER]
REGRESSORS = [
    *(XGBRegressor(objective=name, **XGBOOST) for name in XGBOOST_LOSSES),
    XGBRegressor(base_score=0.25, **XGBOOST),
    XGBRFRegressor(**XGBOOST),
    XGBRegressor(booster="dart", rate_drop=0.9, **XGBOOST),
    XGBRegressor(booster="gblinear", n_estimators=3, n_jobs=1),
    *(LGBMRegressor(objective=name, **LIGHTGBM) for name in list(_LIGHTGBM_LINKS)[:-2]),
    LGBMRegressor(**FOREST, **LIGHTGBM),
    LGBMRegressor(linear_tree=True, **LIGHTGBM),
    LGBMRegressor(reg_sqrt=True, **LIGHTGBM),
    *(
        ensemble.HistGradientBoostingRegressor(loss=loss, quantile=0.3, max_iter=3)
        for loss in ("squared_error", "absolute_error", "quantile", "gamma", "poisson")
    ),
    *(
        ensemble.GradientBoostingRegressor(loss=loss, learning_rate=0.3, **SMALL)
        for loss in ("squared_error", "absolute_error", "huber", "quantile")
    ),
    ensemble.GradientBoostingRegressor(init="zero", **SMALL),
    DecisionTreeRegressor(max_depth=4),
    ExtraTreeRegressor(max_depth=4),
    ensemble.RandomForestRegressor(**SMALL),
    ensemble.ExtraTreesRegressor(**SMALL),
]
CLASSIFIERS = [
    XGBClassifier(**XGBOOST),
    XGBRFClassifier(**XGBOOST),
    XGBClassifier(booster="gblinear", n_estimators=3, n_jobs=1),
    LGBMClassifier(**LIGHTGBM),
    LGBMClassifier(sigmoid=2.5, **LIGHTGBM),
    LGBMClassifier(**FOREST, **LIGHTGBM),
    LGBMClassifier(linear_tree=True, **LIGHTGBM),
    ensemble.HistGradientBoostingClassifier(max_iter=3),
    ensemble.GradientBoostingClassifier(learning_rate=0.3, **SMALL),
    ensemble.GradientBoostingClassifier(init="zero", **SMALL),
    DecisionTreeClassifier(max_depth=4),
    ExtraTreeClassifier(max_depth=4),
    ensemble.RandomForestClassifier(**SMALL),
    ensemble.ExtraTreesClassifier(**SMALL),
]


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float64]:
    """Some missing values, for those who take them."""
    return np.random.default_rng(0).normal(size=(300, 3))


def target_of(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Between 0 and 1, as the narrowest objective wants it."""
    return 1 / (1 + np.exp(-rows @ [1.0, -2.0, 0.5]))


def answers(model: Any, rows: NDArray[np.float64]) -> list[Any]:
    return Session(to_graph(model, COLUMNS, "y").graph).run({"features": rows})


def told(estimator: Any) -> str:
    """The class with what makes it another than the one before."""
    return repr(estimator).replace("\n", "").replace(" ", "")[:60]


@pytest.mark.parametrize("estimator", REGRESSORS, ids=told)
def test_a_regressor_answers_by_its_objective(estimator, rows):
    model = clone(estimator).fit(rows, target_of(rows))
    (found,) = answers(model, rows)
    assert found.shape[0] == len(rows)
    assert found.ravel() == pytest.approx(model.predict(rows), rel=2e-6, abs=1e-7)


OTHERS = [
    (ensemble.GradientBoostingClassifier(loss="exponential", **SMALL), 2),
    (LGBMClassifier(objective="multiclassova", **LIGHTGBM), 3),
]


@pytest.mark.parametrize(
    ("estimator", "classes"), [*((one, classes) for one in CLASSIFIERS for classes in (2, 3)), *OTHERS], ids=told
)
def test_a_classifier_answers_by_its_objective(estimator, classes, rows):
    model = clone(estimator).fit(rows, np.digitize(target_of(rows), [0.3, 0.6][: classes - 1]))
    labels, *probabilities = answers(model, rows)
    assert labels.tolist() == model.predict(rows).tolist()
    assert np.column_stack(probabilities) == pytest.approx(model.predict_proba(rows), abs=1e-6)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (DecisionTreeClassifier().fit([[0.0] * 3], ["a"]), "fitted with one class; give it rows|Give it rows of two"),
        (LGBMRegressor(objective="cross_entropy", **LIGHTGBM), r"objective='cross_entropy'.*Use regression, "),
        (ensemble.GradientBoostingRegressor(init=DecisionTreeRegressor(), **SMALL), "starts from a DecisionTree"),
        (LGBMRegressor(zero_as_missing=True, **LIGHTGBM), r"zero_as_missing.*Leave it out"),
        (LGBMRegressor(objective=lambda y, f: (f - y, f * 0 + 1), **LIGHTGBM), "objective='custom'.*Use regression"),
        (LGBMClassifier(objective="regression", **LIGHTGBM), "a regression's, which .* Leave objective out"),
        *(
            (LGBMRegressor(linear_tree=True, **given, **LIGHTGBM), "linear_tree with this boosting.*Leave it out")
            for given in ({"objective": "binary", "sigmoid": 2.5}, FOREST)
        ),
    ],
)
def test_what_the_graph_cannot_follow_is_refused_by_name(model, said, rows):
    if not hasattr(model, "tree_"):
        model.fit(rows, target_of(rows) > 0.5 if is_classifier(model) else target_of(rows))
    with pytest.raises(ExportError, match=said):
        to_graph(model, COLUMNS, "y")


def test_pandas_own_categories_are_refused(rows):
    """No row of the kit's has them: these two libraries keep which number stands for which."""
    table = pd.DataFrame(rows, columns=list(NAMES)).assign(a=pd.Categorical(list("abc") * (len(rows) // 3)))
    for estimator, name in (
        (LGBMRegressor(min_child_samples=1, **LIGHTGBM), "categorical_feature"),
        (XGBRegressor(enable_categorical=True, **XGBOOST), "feature_types"),
    ):
        said = f"pandas' category type.*OrdinalEncoder in front and {name}="
        with pytest.raises(ExportError, match=said):
            to_graph(estimator.fit(table, target_of(rows)), COLUMNS, "y")


def test_a_number_near_zero_is_zero_to_lightgbm():
    zero, tiny = float(np.float32(1e-35)), 5e-324
    beyond, below = [-1.0, -2 * zero, np.nextafter(-zero, -1)], float(np.nextafter(-zero, -np.inf))
    given = [*beyond, -zero, -tiny, 0.0, tiny, np.nextafter(zero, 0), zero, 1.0]
    assert _beyond_zero(np.array(given)).tolist() == [*beyond, below, below, zero, zero, zero, zero, 1.0]
    # The trees split between −1, zero and 1, so that the threshold is next to zero.
    rows = np.repeat([[-1.0] * 3, [0.0] * 3, [1.0] * 3], 30, axis=0)
    model = LGBMRegressor(min_child_samples=5, **LIGHTGBM).fit(rows, np.repeat([0.0, 5.0, 9.0], 30))
    asked = np.tile([[0.0], [1e-36], [-1e-36], [2e-35], [-2e-35], [5e-324]], 3)
    assert answers(model, asked)[0].ravel() == pytest.approx(model.predict(asked))


def test_a_leaf_that_holds_a_line_answers_its_value_where_a_number_is_missing(rows):
    asked = np.where(np.random.default_rng(1).random(rows.shape) < 0.1, np.nan, rows)
    for seen in (rows, asked):
        model = LGBMRegressor(linear_tree=True, **LIGHTGBM).fit(seen, target_of(rows))
        assert answers(model, asked)[0].ravel() == pytest.approx(model.predict(asked), rel=1e-12)


def test_trees_that_were_fitted_with_names_are_taken_and_other_classes_of_that_name_are_not(rows):
    table = pd.DataFrame(rows, columns=list(NAMES))
    for estimator in (XGBRegressor(**XGBOOST), LGBMRegressor(**LIGHTGBM)):
        model = estimator.fit(table, target_of(rows))
        family = family_of(type(model))
        assert flipped_leaves(Placed(model, family, "rows"), family.describe(model)[0], rows) == 0
    others = [type(kind, (), {"__module__": "ours"}) for kind in ("XGBRegressor", "LGBMRegressor")]
    assert not any(isinstance(family_of(kind), TreeFamily) for kind in (*others, XGBRanker))
