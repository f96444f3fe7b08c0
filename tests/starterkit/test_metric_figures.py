"""The kit's own figures are scikit-learn's, also where rows are weighted."""

from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from starterkit.contract import Prediction
from starterkit.metrics import METRICS, compute_scores, metrics_for

SEEDS = range(5)


def regression(seed: int) -> tuple[np.ndarray, Prediction]:
    random = np.random.default_rng(seed)
    actual = random.normal(1000, 3, random.integers(2, 80))
    return actual, Prediction(actual + random.normal(0, 2, len(actual)))


def classification(seed: int, count: int) -> tuple[np.ndarray, Prediction, list[str]]:
    """Probabilities with ties, zeros and ones; every class is there."""
    random = np.random.default_rng(seed)
    classes = [f"class {place}" for place in range(count)]
    actual = np.concatenate([classes, random.choice(classes, random.integers(5, 80))])
    probabilities = random.dirichlet(np.full(count, 0.3), len(actual)).round(1)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    return actual, Prediction(np.array(classes)[probabilities.argmax(axis=1)], probabilities), classes


def weights_for(actual: np.ndarray, seed: int) -> np.ndarray:
    """A whole number a row, with zeros among them, but every row of the first few counts."""
    weights = np.random.default_rng(seed).integers(0, 4, len(actual)).astype(float)
    weights[:5] = 2
    return weights


def of_scikit_learn(actual: np.ndarray, answers: Prediction, classes: Any, weights: np.ndarray) -> dict[str, float]:
    given: dict[str, Any] = {"sample_weight": weights}
    if answers.probabilities is None:
        return {
            "rmse": metrics.root_mean_squared_error(actual, answers.values, **given),
            "mae": metrics.mean_absolute_error(actual, answers.values, **given),
            "r2": metrics.r2_score(actual, answers.values, **given),
        }
    areas = [
        metrics.roc_auc_score(actual == label, answers.probabilities[:, place], **given)
        for place, label in enumerate(classes)
    ]
    return {
        "log_loss": metrics.log_loss(actual, answers.probabilities, labels=classes, **given),
        "roc_auc": areas[1] if len(classes) == 2 else float(np.mean(areas)),
        "accuracy": metrics.accuracy_score(actual, answers.values, **given),
    }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("classes", [0, 2, 3, 5])
def test_figures_are_scikit_learns(classes: int, seed: int) -> None:
    actual, answers, labels = classification(seed, classes) if classes else (*regression(seed), [])
    once = np.ones(len(actual))
    task = "classification" if classes else "regression"
    scores = compute_scores(metrics_for(task), actual, answers, labels)
    assert scores == pytest.approx(of_scikit_learn(actual, answers, labels, once), rel=1e-9)
    weights = weights_for(actual, seed)
    expected = of_scikit_learn(actual, answers, labels, weights)
    both = np.vstack([once, weights])
    for name, figure in expected.items():
        assert METRICS[name].weighted(actual, answers, labels)(both)[1] == pytest.approx(figure, rel=1e-9), name


def test_what_has_no_figure_is_not_a_number() -> None:
    same = Prediction(np.array([1.0, 2.0]))
    assert np.isnan(METRICS["r2"].score(np.array([5.0, 5.0]), same, []))
    one_class = Prediction(np.array(["a", "a"]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    scores = compute_scores(metrics_for("classification"), np.array(["a", "a"]), one_class, ["a", "b"])
    assert np.isnan(scores["roc_auc"])
    assert scores["accuracy"] == 1


@pytest.mark.parametrize("name", METRICS)
def test_an_answer_that_is_not_a_number_spoils_the_figure(name: str) -> None:
    task = METRICS[name].task
    actual, answers, labels = classification(1, 2) if task == "classification" else (*regression(1), [])
    if answers.probabilities is None:
        answers.values[0] = np.nan
    else:
        answers.probabilities[0] = np.nan
    figure = METRICS[name].score(actual, answers, labels)
    assert np.isnan(figure) or name == "accuracy"
