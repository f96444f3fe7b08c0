"""Rows changed on purpose, answered by a real graph."""

from typing import Any

import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeRegressor

from starterkit.errors import ProblemError
from starterkit.problem import Direction, Invariance, Jitter
from starterkit.release.evaluation import measure_robustness
from starterkit.serving.predictor import Predictor
from starterkit.verdict import RobustnessResult


@pytest.fixture
def react(tmp_path: Any) -> Any:
    """Fits, exports, and observes one expectation."""

    def observe(sample: Any, estimator: Any, expectation: Any) -> RobustnessResult:
        exported, dataset = sample.export(estimator, tmp_path / "exported", rows=200)
        problem = sample.problem(lambda: estimator, robustness=(expectation,))
        (reaction,) = measure_robustness(problem, dataset, Predictor(exported.folder))
        assert measure_robustness(problem, dataset, Predictor(exported.folder)) == (reaction,)
        return reaction

    return observe


def of(*columns: str) -> Any:
    return make_pipeline(make_column_transformer(("passthrough", list(columns))), LinearRegression())


def test_noise_hurts_a_model_that_learned_every_wiggle_most(react: Any, diabetes: Any) -> None:
    still = react(diabetes, DecisionTreeRegressor(max_depth=1), Jitter(share=0.0))
    assert still.figure == 0
    calm = react(diabetes, of("bmi"), Jitter(share=0.2, worse=0.1))
    wild = react(diabetes, of("bmi"), Jitter(share=5.0, worse=0.1))
    assert -0.05 < calm.figure < calm.limit == 0.1 < wild.figure
    assert "under noise of 500% of each deviation" in wild.words


def test_more_of_a_feature_moves_the_answer_one_way(react: Any, diabetes: Any) -> None:
    assert react(diabetes, of("bmi"), Direction(column="bmi", answer="up")).figure == 0
    wrong = react(diabetes, of("bmi"), Direction(column="bmi", answer="down", broken=0.2))
    assert (wrong.figure, wrong.limit) == (1, 0.2)
    assert react(diabetes, of("age"), Direction(column="bmi", answer="up")).figure == 0
    forest = RandomForestRegressor(5, max_depth=6, random_state=0)
    assert 0 < react(diabetes, forest, Direction(column="age", answer="up")).figure < 1


def test_the_answer_of_a_classifier_is_a_probability(react: Any, breast_cancer: Any, iris: Any) -> None:
    estimator = make_pipeline(StandardScaler(), LogisticRegression())
    column = "worst_concave_points"
    assert react(breast_cancer, estimator, Direction(column=column, answer="up")).figure == 0
    label = Direction(column=column, answer="up", label="benign")
    assert react(breast_cancer, estimator, label).figure > 0.5
    with pytest.raises(ProblemError, match=r"Direction\(label=…\) is none of the classes"):
        react(iris, estimator, Direction(column="petal_length", answer="up"))
    assert react(breast_cancer, estimator, Invariance(column=column)).figure > 0


def test_a_feature_that_the_model_does_not_use_moves_nothing(react: Any, diabetes: Any) -> None:
    assert react(diabetes, of("bmi"), Invariance(column="sex")).figure == 0
    moved = react(diabetes, of("bmi"), Invariance(column="bmi", change=0.3))
    assert moved.figure > 0.3
    assert "other values of 'bmi' move the answer by" in moved.words


def test_a_changed_row_is_one_that_a_client_could_send(react: Any, diabetes: Any, monkeypatch: Any) -> None:
    asked: list[Any] = []
    answer = Predictor.predict

    def spied(self: Predictor, columns: Any) -> Any:
        asked.append(columns)
        return answer(self, columns)

    monkeypatch.setattr(Predictor, "predict", spied)
    react(diabetes, of("bmi"), Jitter(share=10.0))
    noisy = next(rows for rows in reversed(asked) if (rows["bmi"] == 10).any())
    assert (noisy["age"] % 1 == 0).all()
    assert (noisy["age"].min(), noisy["age"].max()) == (0, 120)
    assert set(noisy["sex"]) == {1, 2}
