"""Trees keep their own thresholds: asked right at one, the graph sends each row where the library does."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from lightgbm import LGBMClassifier, LGBMRegressor
from numpy.typing import NDArray
from sklearn import ensemble
from sklearn.base import ClassifierMixin, clone
from sklearn.compose import make_column_transformer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OrdinalEncoder, StandardScaler
from sklearn.tree import DecisionTreeRegressor
from xgboost import XGBClassifier, XGBRegressor

from starterkit.contract import Column
from starterkit.data.dataset import as_columns
from starterkit.errors import ExportError
from starterkit.serving.graph import Session
from starterkit.serving.predictor import Predictor
from starterkit.training.export.conversion import Placed, to_graph
from starterkit.training.export.families import family_of
from starterkit.training.export.families.scikit import HistogramBoosting
from starterkit.training.export.families.trees import Scoring, Trees
from starterkit.training.export.probe import cut_after, cut_before, flipped_leaves, plant

SMALL = [
    DecisionTreeRegressor(max_depth=3, random_state=0),
    ensemble.RandomForestRegressor(3, max_depth=3, random_state=0),
    ensemble.GradientBoostingRegressor(n_estimators=3, random_state=0),
    ensemble.HistGradientBoostingRegressor(max_iter=3, max_leaf_nodes=6, random_state=0),
    XGBRegressor(n_estimators=3, max_depth=3, n_jobs=1),
    LGBMRegressor(n_estimators=3, num_leaves=6, n_jobs=1, verbose=-1),
]


def named(estimator: Any) -> str:
    return type(estimator).__name__


@pytest.fixture(scope="module")
def rows() -> NDArray[np.float64]:
    """Numbers of unlike size around zero; the last column is nought in most rows, which LightGBM treats in its way."""
    random = np.random.default_rng(0)
    made = random.normal(size=(3000, 4)) * [1, 1e6, 1e-6, 1]
    made[random.random(3000) < 0.6, 3] = 0.0
    return made


def fitted(estimator: Any, rows: NDArray[np.float64]) -> Any:
    return estimator.fit(rows, rows[:, 0] + rows[:, 1] * 1e-6 + rows[:, 2] * 1e6 + np.abs(rows[:, 3]))


def placed(estimator: Any) -> Placed:
    return Placed(estimator, family_of(type(estimator)), "rows")


def trees_of(estimator: Any) -> Trees:
    return placed(estimator).family.describe(estimator)[0]


@pytest.mark.parametrize("estimator", SMALL, ids=named)
def test_a_planted_row_ends_in_another_leaf_only_where_a_threshold_moved(estimator, rows):
    model = fitted(estimator, rows)
    trees = trees_of(model)
    found = plant(rows, trees, np.random.default_rng(0))
    assert flipped_leaves(placed(model), trees, found.rows) == 0
    splits = np.flatnonzero(trees.feature >= 0)
    assert found.splits == len(splits)
    kind = np.float32 if trees.single else np.float64
    for split in splits:
        thresholds = trees.threshold.copy()
        for _ in range(2 if trees.single else 1):  # of float32 the one beyond the next: none lies between otherwise
            thresholds[split] = np.nextafter(kind(thresholds[split]), kind(np.inf))
        assert flipped_leaves(placed(model), replace(trees, threshold=thresholds), found.rows) > 0


def test_a_missing_direction_that_was_turned_is_found(rows):
    gaps = rows.copy()
    gaps[np.random.default_rng(1).random(len(gaps)) < 0.02, 0] = np.nan
    model = ensemble.HistGradientBoostingRegressor(max_iter=5).fit(gaps, np.nan_to_num(gaps[:, 0]) + rows[:, 3])
    trees = trees_of(model)
    planted = plant(gaps, trees, np.random.default_rng(0)).rows
    assert np.isnan(planted[:, 0]).sum() > 1.5 * np.isnan(gaps[:, 0]).sum()
    assert not np.isnan(planted[:, 1:]).any()
    turned = replace(trees, missing_left=~trees.missing_left)
    assert flipped_leaves(placed(model), turned, planted) > 0


def test_a_family_that_rounds_its_thresholds_is_refused_at_export(diabetes, tmp_path, monkeypatch):
    """As skl2onnx does."""
    exact = HistogramBoosting.describe

    def rounded(self: HistogramBoosting, estimator: Any) -> tuple[Trees, Scoring]:
        trees, scoring = exact(self, estimator)
        return replace(trees, threshold=trees.threshold.astype(np.float32).astype(np.float64)), scoring

    monkeypatch.setattr(HistogramBoosting, "describe", rounded)
    estimator = make_pipeline(StandardScaler(), ensemble.HistGradientBoostingRegressor(max_iter=5))
    with pytest.raises(ExportError, match=r"[1-9]\d* of these in another leaf"):
        diabetes.export(estimator, tmp_path / "exported", rows=2000)
    assert list(tmp_path.iterdir()) == []


def test_missing_values_end_in_the_same_leaf(rows):
    gaps = rows.copy()
    gaps[np.random.default_rng(1).random(gaps.shape) < 0.1] = np.nan
    target = np.nan_to_num(gaps).sum(axis=1)
    for estimator in SMALL:
        if not isinstance(estimator, ensemble.GradientBoostingRegressor):
            model = estimator.fit(gaps, target)
            planted = plant(gaps, trees_of(model), np.random.default_rng(0)).rows
            assert np.isnan(planted).any()
            assert flipped_leaves(placed(model), trees_of(model), planted) == 0
    # Where training had none, LightGBM takes a missing value for zero.
    assert flipped_leaves(placed(fitted(SMALL[-1], rows)), trees_of(SMALL[-1]), gaps) == 0


@pytest.mark.parametrize("sign", [-1.0, 1.0], ids=["below zero", "above zero"])
@pytest.mark.parametrize("like", [0.0, 1.0], ids=["as the low", "as the high"])
@pytest.mark.parametrize("estimator", SMALL[-2:], ids=named)
def test_a_missing_value_goes_where_training_sent_it(estimator, sign, like):
    """Whether the threshold is above zero says nothing about it, once training had missing values."""
    column = sign * np.linspace(1, 2, 400)
    target = (np.abs(column) > 1.5).astype(float)
    column[::5], target[::5] = np.nan, like
    rows = column[:, None]
    model = estimator.fit(rows, target)
    assert flipped_leaves(placed(model), trees_of(model), rows) == 0
    answers = Session(to_graph(model, _columns(1), "y").graph).run({"features": rows})[0]
    assert answers.ravel() == pytest.approx(model.predict(rows), abs=1e-6)


def test_xgboost_stops_early_at_its_best_tree(rows):
    random = np.random.default_rng(0)
    noise, other = random.normal(size=3000), random.normal(size=3000)
    model = XGBRegressor(n_estimators=30, early_stopping_rounds=2, n_jobs=1)
    model.fit(rows, noise, eval_set=[(rows, other)], verbose=False)
    trees = trees_of(model)
    assert len(trees.roots) == model.best_iteration + 1 < 30
    scores = Session(to_graph(model, _columns(), "y").graph).run({"features": rows})[0].ravel()
    assert scores == pytest.approx(model.predict(rows), abs=1e-6)


def test_a_tree_without_a_split(rows):
    for estimator in (DecisionTreeRegressor(max_depth=1), LGBMRegressor(n_estimators=2, verbose=-1, n_jobs=1)):
        model = estimator.fit(rows, np.full(len(rows), 7.0))
        assert (trees_of(model).feature < 0).all()
        assert flipped_leaves(placed(model), trees_of(model), rows[:5]) == 0
        answers = Session(to_graph(model, _columns(), "y").graph).run({"features": rows[:5]})[0]
        assert answers.ravel().tolist() == model.predict(rows[:5]).tolist()


KINDS = ["c", "q", "c", "q"]
SORTING: list[Any] = [
    ensemble.HistGradientBoostingRegressor(max_iter=4, min_samples_leaf=3, categorical_features=[0, 2]),
    ensemble.HistGradientBoostingClassifier(max_iter=4, min_samples_leaf=3, categorical_features=[True, False] * 2),
    XGBRegressor(n_estimators=4, n_jobs=1, enable_categorical=True, feature_types=KINDS, missing=2.0),
    XGBRegressor(n_estimators=4, n_jobs=1, enable_categorical=True, feature_types=KINDS, max_cat_to_onehot=200),
    XGBClassifier(n_estimators=4, n_jobs=1, enable_categorical=True, feature_types=KINDS, max_cat_to_onehot=1),
    *(
        kind(n_estimators=4, n_jobs=1, verbose=-1, min_child_samples=3, categorical_feature=[0, 2], cat_smooth=0.1)
        for kind in (LGBMRegressor, LGBMClassifier)
    ),
]


def sorted_rows(seed: int, gaps: bool) -> tuple[Any, Any, Any]:
    """Rows with two columns of categories, what they mean, and others: unknown, negative, broken, far and missing."""
    random = np.random.default_rng(seed)
    counts = random.integers([2, 9], [9, 120])
    made, asked = random.normal(size=(400, 4)), random.normal(size=(2000, 4)) * [1, 1, 1, 30]
    for place, count in zip((0, 2), counts, strict=True):
        made[:, place] = random.integers(count, size=400)
        odd = np.array([-1, -0.5, 1.5, count - 1e-9, count + 3, 254, 1e5, 3e9, -3e9, 1e12, np.nan])
        drawn = random.random(2000), random.choice(odd, 2000), random.integers(count, size=2000)
        asked[:, place] = np.where(drawn[0] < 0.3, *drawn[1:])
    worth = random.normal(size=(2, 120))
    target = worth[0, made[:, 0].astype(int)] + worth[1, made[:, 2].astype(int)] * made[:, 1] + made[:, 3]
    if gaps:
        made[random.random(made.shape) < 0.1] = np.nan
    return made, target, asked


@pytest.mark.filterwarnings("ignore:.*categorical_feature")
@pytest.mark.parametrize("estimator", SORTING, ids=lambda one: f"{named(one)} {SORTING.index(one)}")
def test_categories_go_the_way_that_the_library_sends_them(estimator):
    for seed in range(2):
        made, target, asked = sorted_rows(seed, gaps=seed % 2 == 1)
        classes = isinstance(estimator, ClassifierMixin)
        model = clone(estimator).fit(made, np.digitize(target, [-0.5, 0.5][seed % 2 :]) if classes else target)
        converted = to_graph(model, _columns(), "y")
        found = Session(converted.graph).run({"features": asked})
        np.testing.assert_allclose(found[0].ravel(), model.predict(asked), rtol=2e-6, atol=1e-6)
        if classes:
            np.testing.assert_allclose(np.column_stack(found[1:]), model.predict_proba(asked), atol=1e-6)
        (place,) = converted.placed
        (inner,) = Session(cut_before(converted.graph, place.taken)).run({"features": asked})
        trees, planted = trees_of(model), plant(inner, trees_of(model), np.random.default_rng(seed)).rows
        assert flipped_leaves(place, trees, planted) == 0
        np.testing.assert_allclose(place.family.inside(model).predict(inner), model.predict(asked), rtol=1e-12)
        others = {node: some[1:] if len(some) > 1 else some + 1 for node, some in trees.members.items()}
        assert flipped_leaves(place, replace(trees, members=others), planted) > 0


@pytest.mark.parametrize("comparison", ["at most", "below"])
def test_whole_numbers_that_a_node_lists_go_left_and_another_node_compares(comparison):
    far, numbers = -np.inf, np.array([0, 0, 0])
    trees = Trees(
        roots=numbers[:1], feature=numbers, threshold=np.array([far, far, 2.0]), left=numbers, right=numbers,
        missing_left=np.array([False, True, False]), target=numbers, weight=np.zeros(3), comparison=comparison,
        members={0: np.array([1, 3]), 1: np.array([0, 2])},
    )  # fmt: skip
    values = np.array([0, 1, 2, 3, 4, 7, 1.5, 0.5, -1, np.nan])
    sent = [np.flatnonzero(trees.holds(np.full(10, node), values)).tolist() for node in range(3)]
    assert sent == [[1, 3], [0, 2, 9], [0, 1, 2, 6, 7, 8] if comparison == "at most" else [0, 1, 6, 7, 8]]


@pytest.mark.filterwarnings("ignore:.*categorical_feature")
@pytest.mark.parametrize(
    "last",
    [
        ensemble.HistGradientBoostingRegressor(max_iter=9, categorical_features=["city", "ward"]),
        XGBRegressor(n_estimators=9, n_jobs=1, enable_categorical=True, feature_types=[*"cc", *"qqqq"]),
        LGBMRegressor(n_estimators=9, n_jobs=1, verbose=-1, categorical_feature=[0, 1], min_data_per_group=5),
    ],
    ids=named,
)
def test_texts_as_categories_are_exported(visits, last, tmp_path):
    encoder = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    front = make_column_transformer((encoder, ["city", "ward"]), remainder="passthrough")
    estimator = last if isinstance(last, ensemble.HistGradientBoostingRegressor) else make_pipeline(front, last)
    exported, dataset = visits.export(estimator, tmp_path / "exported")
    assert exported.contract.parity.largest < 1e-6
    assert exported.contract.parity.splits_met > 50
    asked = dataset.holdout.features.assign(ward="never seen")
    answers = Predictor(exported.folder).predict(as_columns(asked)).values
    fitted = clone(estimator).fit(dataset.training.features, dataset.training.target)
    np.testing.assert_allclose(answers, fitted.predict(asked), rtol=1e-6)


@pytest.mark.parametrize("depth", [2, None])
def test_a_forest_of_three_classes_is_exact_and_no_larger_than_it_must_be(depth):
    random = np.random.default_rng(0)
    rows, labels = random.normal(size=(500, 4)), random.integers(3, size=500)
    model = ensemble.RandomForestClassifier(4, max_depth=depth, random_state=0).fit(rows, labels)
    assert len(trees_of(model).roots) == (12 if depth else 4)  # leaves of trees grown to the end know one class
    labelled, *shares = Session(to_graph(model, _columns(), "y").graph).run({"features": rows})
    assert labelled.tolist() == model.predict(rows).tolist()
    assert np.column_stack(shares) == pytest.approx(model.predict_proba(rows), abs=1e-15)
    # At a score of exactly zero gradient boosting takes the second class, histogram gradient boosting the first.
    rows, labels = np.array([[0.0], [0.0], [1.0], [1.0]]), np.array([0, 1, 0, 1])
    model = ensemble.GradientBoostingClassifier(n_estimators=1, init="zero").fit(rows, labels)
    labelled, first, second = Session(to_graph(model, _columns(1), "y").graph).run({"features": rows})
    assert labelled.tolist() == model.predict(rows).tolist() == [1, 1, 1, 1]
    assert first.tolist() == second.tolist() == [0.5] * 4


def test_a_graph_is_cut_in_front_of_its_trees(rows):
    model = fitted(make_pipeline(StandardScaler(), ensemble.GradientBoostingRegressor(n_estimators=5)), rows)
    converted = to_graph(model, _columns(), "y")
    (trees,) = converted.placed
    (inner,) = Session(cut_before(converted.graph, trees.taken)).run({"features": rows})
    assert inner.tolist() == model[:-1].transform(rows).tolist()
    after = Session(cut_after(converted.graph, trees.taken))
    assert after.inputs == (trees.taken,)
    assert after.run({trees.taken: inner})[0].ravel() == pytest.approx(model.predict(rows), rel=1e-12)


def _columns(count: int = 4) -> list[Any]:
    return [Column(name=f"x{n}", role="feature", type="float", unit="", sensitivity="plain") for n in range(count)]
