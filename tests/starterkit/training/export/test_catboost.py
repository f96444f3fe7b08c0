"""CatBoost's trees, leaf by leaf; `make test-deep` and `make add PKG=catboost` run these."""

from typing import Any

import numpy as np
import pytest
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from starterkit.contract import Column
from starterkit.errors import ExportError
from starterkit.serving.graph import Session
from starterkit.training.export.conversion import to_graph
from starterkit.training.export.probe import flipped_leaves, plant

catboost = pytest.importorskip("catboost", reason="not run: catboost is not installed")

QUIET = {"iterations": 12, "depth": 4, "verbose": 0, "allow_writing_files": False, "thread_count": 1}
COLUMNS = [Column(name=name, role="feature", type="float", unit="", sensitivity="plain") for name in "abcd"]
CASES: list[tuple[int, dict[str, Any]]] = [
    *((0, {"loss_function": loss}) for loss in ("RMSE", "Quantile:alpha=0.3", "Poisson", "Tweedie:variance_power=1.5")),
    *((classes, {"grow_policy": policy}) for classes in (0, 2, 3) for policy in ("Depthwise", "Lossguide")),
    (0, {"nan_mode": "Max"}), (0, {"depth": 1}), (2, {}), (3, {}), (3, {"loss_function": "MultiClassOneVsAll"}),
]  # fmt: skip


@pytest.mark.parametrize(("classes", "given"), CASES, ids=str)
@pytest.mark.parametrize("gaps", [False, True])
def test_the_graph_answers_as_catboost_does(classes, given, gaps):
    random = np.random.default_rng(0)
    rows = random.normal(size=(400, 4))
    target = np.abs(rows[:, 0] + rows[:, 1] ** 2) + 0.1
    rows[random.random(rows.shape) < (0.1 if gaps else 0)] = np.nan
    kind = catboost.CatBoostClassifier if classes else catboost.CatBoostRegressor
    edges = np.quantile(target, [0.4, 0.7][: classes - 1])
    model = kind(**(QUIET | given)).fit(rows, np.digitize(target, edges) if classes else target)
    converted = to_graph(model, COLUMNS, "y")
    (placed,) = converted.placed
    trees = placed.family.describe(model)[0]
    planted = plant(rows, trees, np.random.default_rng(0)).rows
    found = Session(converted.graph).run({"features": planted})
    np.testing.assert_allclose(found[0].ravel(), model.predict(planted).ravel(), rtol=1e-13)
    if classes:
        np.testing.assert_allclose(np.column_stack(found[1:]), model.predict_proba(planted), atol=1e-15)
    assert flipped_leaves(placed, trees, planted) == 0


def test_it_is_proven_behind_a_step(diabetes, tmp_path):
    estimator = make_pipeline(StandardScaler(), catboost.CatBoostRegressor(**QUIET))
    exported, _ = diabetes.export(estimator, tmp_path / "exported")
    assert exported.contract.parity.largest < 1e-12
    diabetes.export(catboost.CatBoostRegressor(**QUIET), tmp_path / "alone")  # it wants its columns' names


def test_what_it_makes_of_categories_is_refused():
    rows = [[place % 3, place] for place in range(60)]
    model = catboost.CatBoostRegressor(cat_features=[0], **QUIET).fit(rows, [place % 3 for place in range(60)])
    with pytest.raises(ExportError, match=r"cat_features.*TargetEncoder or a OneHotEncoder in front"):
        to_graph(model, COLUMNS[:2], "y")
