"""Training learns, repeats itself, and refuses what cannot be learned from."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from lightgbm import LGBMRegressor
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from xgboost import XGBClassifier

from starterkit.data import DatasetReader
from starterkit.data.checking import check_frame
from starterkit.data.dataset import held_out
from starterkit.errors import DataError, ProblemError
from starterkit.release.pages import confusion, roc_curves
from starterkit.settings import DataSettings, Stage, TrainingSettings
from starterkit.training import Trainer, permutation_importance, predict


def fit_table(sample: Any, table: pd.DataFrame, root: Path, estimator: Any, **changes: Any) -> Any:
    table.to_csv(root / "table.csv", index=False)
    problem = sample.problem(lambda: estimator, **changes)
    dataset = DatasetReader(problem, DataSettings(source="table.csv"), root, Stage.LOCAL).read()
    return Trainer(problem, TrainingSettings()).fit(dataset)


def table_of(sample: Any) -> pd.DataFrame:
    return pd.read_csv(sample.root / sample.source, keep_default_na=False, na_values=[""], dtype={"visit": "str"})


def held_out_ids(sample: Any) -> list[str]:
    problem = sample.problem(lambda: None)
    frame = check_frame(problem, table_of(sample), "table")
    return frame.loc[held_out(problem, frame), problem.side_column.name].tolist()


def test_a_deep_tree_learns_ten_rows_by_heart(diabetes, tmp_path):
    table = table_of(diabetes)
    held = table["patient_id"].isin(held_out_ids(diabetes))
    ten = table[~held].head(10)
    model = fit_table(diabetes, pd.concat([ten, table[held]]), tmp_path, DecisionTreeRegressor())
    features = ten[[column.name for column in model.problem.features]]
    assert predict(model.estimator, "regression", features).values.tolist() == ten["progression"].tolist()


def test_the_same_seed_gives_the_same_model(diabetes):
    def forest(*, random_state: int = 0) -> Any:
        return RandomForestRegressor(5, random_state=random_state)

    problem = diabetes.problem(forest)
    dataset = diabetes.dataset(problem)
    one, again, other = (Trainer(problem, TrainingSettings(seed=seed)).fit(dataset) for seed in (1, 1, 2))
    assert one.evaluation.scores == again.evaluation.scores != other.evaluation.scores
    assert one.parameters == {"random_state": 1}


def test_the_baseline_guesses_the_training_mean_and_the_shares_of_the_classes(diabetes, breast_cancer):
    estimator = Ridge()
    model, dataset = diabetes.fit(estimator)
    assert not hasattr(estimator, "coef_")  # the user's own is left unfitted
    mean = dataset.training.target.mean()
    assert model.baseline.prediction.values == pytest.approx(np.full(len(dataset.holdout), mean))
    assert model.baseline.scores["mae"] == pytest.approx((dataset.holdout.target - mean).abs().mean())
    model, dataset = breast_cancer.fit(DecisionTreeClassifier(max_depth=2))
    shares = dataset.training.target.value_counts(normalize=True)[list(model.classes)]
    assert model.classes == ("benign", "malignant")
    assert model.baseline.prediction.probabilities[0] == pytest.approx(shares.to_numpy())
    assert model.baseline.scores["roc_auc"] == 0.5


def test_what_cannot_be_learned_from_is_refused_without_showing_a_text(diabetes, tmp_path, visits):
    with pytest.raises(DataError, match="'progression' has one value in all"):
        fit_table(diabetes, table_of(diabetes).assign(progression=100.0), tmp_path, Ridge())
    infinite = FunctionTransformer(lambda rows: np.asarray(rows, float) * np.inf)
    with pytest.raises(ProblemError, match=r"a step of the estimator makes NaN or infinity"):
        diabetes.fit(make_pipeline(infinite, Ridge()))
    with pytest.raises(DataError, match="could not convert string to float") as refusal:
        visits.fit(make_pipeline(StandardScaler(), Ridge()))
    assert not [city for city in ("Köln", "Bonn", "NA") if city in str(refusal.value)]
    table = table_of(visits)
    table["city"] = np.where(table["visit"] == held_out_ids(visits)[0], "Köln", "Bonn")
    columns = make_column_transformer((OneHotEncoder(), ["city"]))
    with pytest.raises(DataError, match="refuses the holdout's rows: Found unknown categories") as refusal:
        fit_table(visits, table, tmp_path, make_pipeline(columns, Ridge()))
    assert "Köln" not in str(refusal.value)


@pytest.mark.filterwarnings("ignore:Only one class is present")
def test_a_class_that_only_the_holdout_has_is_refused_and_a_holdout_of_one_is_evaluated(iris, breast_cancer, tmp_path):
    table = table_of(iris)
    table.loc[table["diagnosis"] == "virginica", "diagnosis"] = "versicolor"
    table.loc[table["record"] == held_out_ids(iris)[0], "diagnosis"] = "virginica"
    with pytest.raises(DataError, match="the holdout has 1 classes that the training side lacks"):
        fit_table(iris, table, tmp_path, LogisticRegression())
    table = table_of(breast_cancer)
    table.loc[table["record"].isin(held_out_ids(breast_cancer)), "diagnosis"] = "benign"
    model = fit_table(breast_cancer, table, tmp_path, DecisionTreeClassifier(max_depth=2))
    assert np.isnan(model.evaluation.scores["roc_auc"])  # the gate refuses it
    assert 0 < model.evaluation.scores["accuracy"] < 1


def test_shuffling_what_the_model_looks_at_costs_most(visits):
    columns = make_column_transformer((OneHotEncoder(handle_unknown="ignore"), ["city"]), ("passthrough", ["insured"]))
    model, dataset = visits.fit(make_pipeline(columns, Ridge()))
    importances = permutation_importance(model, dataset.holdout)
    assert max(importances, key=lambda name: importances[name][0]) == "city"
    assert importances["income"] == (0.0, 0.0)


@pytest.mark.parametrize("name", ["breast_cancer", "iris"])
def test_the_confusion_and_the_curves_agree_with_the_figures(name, request):
    model, dataset = request.getfixturevalue(name).fit(make_pipeline(StandardScaler(), LogisticRegression()))
    counts = confusion(model, dataset.holdout)
    assert counts.sum() == len(dataset.holdout)
    assert np.trace(counts) / counts.sum() == model.evaluation.scores["accuracy"]
    areas = {label: area for label, (_, _, area) in roc_curves(model, dataset.holdout).items()}
    assert list(areas) == (["malignant"] if len(model.classes) == 2 else list(model.classes))
    assert np.mean(list(areas.values())) == pytest.approx(model.evaluation.scores["roc_auc"])


def behind(step: Any) -> Any:
    return make_pipeline(FunctionTransformer(step), LGBMRegressor(n_estimators=2, verbose=-1, n_jobs=1))


SCALED = make_column_transformer((StandardScaler(), ["income", "children"]))


@pytest.mark.parametrize(
    ("name", "estimator", "kind", "said"),
    [
        ("diabetes", Ridge(alpha=-1.0), ProblemError, r"The 'alpha' parameter of Ridge must be .*training\.params"),
        ("diabetes", behind(lambda rows: rows["gone"]), ProblemError, r"fails with KeyError \(.*, line \d+\)"),
        ("diabetes", behind(lambda rows: rows.rename(columns={"bmi": "bmi [kg]"})), DataError, "refuses the data"),
        ("visits", make_pipeline(SCALED, Ridge()), DataError, r"Input X contains NaN\. Add an imputer"),
        ("breast_cancer", XGBClassifier(n_estimators=2, n_jobs=1), DataError, r"let load\(\) number them"),
    ],
)
def test_what_an_estimator_refuses_is_one_line(request, name, estimator, kind, said):
    with pytest.raises(kind, match=said):
        request.getfixturevalue(name).fit(estimator)
