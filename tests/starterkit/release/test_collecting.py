"""Every candidate is asked what the API would ask it, also where today's data is not what it was made for."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.compose import make_column_transformer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from starterkit.data.dataset import Dataset, Rows
from starterkit.errors import ContractError
from starterkit.release.evaluation import evaluate_version
from starterkit.serving.predictor import Predictor


def without(rows: Rows, label: str) -> Rows:
    kept = (rows.target != label).to_numpy()
    return replace(rows, features=rows.features[kept], target=rows.target[kept])


def test_a_class_that_todays_data_lacks_has_a_guess_of_zero(iris: Any, tmp_path: Path) -> None:
    exported, dataset = iris.export(LogisticRegression(), tmp_path / "exported")
    problem = iris.problem(LogisticRegression)
    sides = (without(rows, "setosa") for rows in (dataset.training, dataset.holdout))
    fewer = Dataset(dataset.source, dataset.digest, *sides)
    guess = evaluate_version(problem, fewer, ("new", Predictor(exported.folder)), None).baseline
    assert exported.contract.classes[0] == "setosa"
    assert guess.prediction.probabilities[:, 0].max() == 0
    assert guess.scores["log_loss"] == pytest.approx(np.log(2), abs=0.01)


def test_a_whole_number_is_never_made_of_a_missing_value_or_a_fraction(visits: Any, tmp_path: Path) -> None:
    columns = make_column_transformer((OneHotEncoder(), ["city"]), ("passthrough", ["insured"]))
    exported, dataset = visits.export(make_pipeline(columns, Ridge()), tmp_path / "exported")
    predictor, rows = Predictor(exported.folder), dataset.holdout.columns
    for value in (np.nan, 0.5):
        with pytest.raises(ContractError, match="as 'insured' in every row"):
            predictor.predict({**rows, "insured": np.full(len(dataset.holdout), value)})


def test_a_champion_without_an_answer_is_not_compared(diabetes: Any, tmp_path: Path) -> None:
    exported, dataset = diabetes.export(Ridge(), tmp_path / "exported")
    predictor, features = Predictor(exported.folder), dataset.holdout.features.copy()
    features.loc[:4, "bmi"] = np.nan
    gaps = replace(dataset, holdout=replace(dataset.holdout, features=features))
    evidence = evaluate_version(diabetes.problem(Ridge), gaps, ("new", predictor), ("old", predictor))
    assert evidence.champion is None
    assert "old serves, but cannot be compared: it has no answer for 5 of" in evidence.champion_fault.what
