"""Labels are judged by the estimator's own rule, and an estimator that contradicts itself is found out."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_wine
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from starterkit.contract import Prediction
from starterkit.data.dataset import as_columns
from starterkit.data.synthetic import draw_rows
from starterkit.errors import ExportError
from starterkit.serving.predictor import Predictor
from starterkit.training.agreement import Asked, Measure, beside, ties

EXACT = Measure(allowed=1e-6, scale=1.0, alone=0, unstable=0.0)


@pytest.mark.parametrize("loss", ["log_loss", "modified_huber"])
def test_saturated_probabilities_hide_no_label(loss):
    """Unscaled columns: several probabilities are 1 or equal, and the estimator chooses by its decision function."""
    rows, labels = load_wine(return_X_y=True, as_frame=True)
    estimator = SGDClassifier(loss=loss, random_state=0).fit(rows, labels)
    shares = estimator.predict_proba(rows)
    by_shares = Prediction(shares.argmax(axis=1), shares)
    differ = int((by_shares.values != estimator.predict(rows)).sum())
    assert differ > 0
    asked = Asked(estimator, "classification", rows)
    for found in (asked.of_data(by_shares, EXACT), asked.of_drawn(by_shares, EXACT)):
        assert (found.flipped_labels, found.ties, found.proven) == (differ, 0, False)


def test_a_tie_is_the_estimators_own_and_none_on_a_row_of_the_data():
    rows = pd.DataFrame({"x": [-1.0, 0.0, 1.0]})
    estimator = LogisticRegression().fit(pd.DataFrame({"x": [-1.0, 1.0]}), [0, 1])
    estimator.intercept_[:] = 0
    assert ties(estimator, rows).tolist() == [False, True, False]
    asked = Asked(estimator, "classification", rows)
    other = asked.answers._replace(values=np.array([0, 1 - asked.answers.values[1], 1]))
    assert (asked.of_drawn(other, EXACT).ties, asked.of_drawn(other, EXACT).proven) == (1, True)
    assert (asked.of_data(other, EXACT).flipped_labels, asked.of_data(other, EXACT).proven) == (1, False)


def test_an_estimator_that_is_no_function_of_its_row_is_refused(diabetes, tmp_path, monkeypatch):
    """As histogram boosting behind a rotation is, on most machines: a product rounds otherwise for one row."""
    predict = Ridge.predict
    with monkeypatch.context() as wavering:
        wavering.setattr(Ridge, "predict", lambda self, rows: predict(self, rows) + (len(rows) == 1))
        with pytest.raises(ExportError, match=r"answers 5 of 5 rows otherwise .* one by one \(1% allowed\)"):
            diabetes.export(Ridge(), tmp_path / "exported")
    smooth, _ = diabetes.export(make_pipeline(StandardScaler(), PCA(6), Ridge()), tmp_path / "exported")
    assert (smooth.contract.parity.alone, smooth.contract.parity.unstable) == (5, 0)


def test_more_rows_are_asked_alone_where_one_contradicts():
    rows = pd.DataFrame({"a": np.arange(1000.0), "b": 1.0})
    by_name = make_pipeline(FunctionTransformer(lambda frame: frame[["a"]]), Ridge()).fit(rows, rows["a"])
    plain = Ridge().fit(rows, rows["a"])
    measure = replace(EXACT, alone=500, unstable=0.5)
    for estimator in (plain, by_name):
        asked = Asked(estimator, "regression", rows)
        found = asked.of_data(asked.answers, measure)
        assert (found.alone, found.unstable) == (200, 0)
    answers = asked.answers.values.copy()
    answers[7] += 1  # as if it had said so among the others
    asked.answers = Prediction(answers)
    found = asked.of_data(Prediction(plain.predict(rows)), measure)
    assert (found.alone, found.unstable, found.proven) == (501, 1, True)


def test_one_against_the_rest_is_right_far_out_or_refused(iris, tmp_path):
    """skl2onnx answers 0, 0, 0 and the first class where no class is likely."""
    model, dataset = iris.fit(OneVsRestClassifier(LogisticRegression()))
    try:
        exported = iris.write(model, dataset, tmp_path / "exported")
    except ExportError:
        return
    rows = draw_rows(exported.contract.columns, dataset.training.features, 2000, seed=7)
    answered = Predictor(exported.folder).predict(as_columns(rows))
    assert Asked(model.estimator, "classification", rows).of_drawn(answered, EXACT).proven


def test_a_version_is_held_against_its_estimator(diabetes, tmp_path):
    exported, dataset = diabetes.export(Ridge(), tmp_path / "exported")
    predictor, rows = Predictor(exported.folder), dataset.training
    same, other = (one.fit(rows.features, rows.target) for one in (Ridge(), LinearRegression()))
    found = beside(same, dataset, predictor)
    assert (found.proven, found.rows, found.allowed) == (True, len(dataset), exported.contract.parity.allowed)
    assert not beside(other, dataset, predictor).proven
