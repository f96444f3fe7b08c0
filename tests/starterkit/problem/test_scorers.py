"""Metrics that a project names or brings: found by name, asked as scikit-learn asks, refused in one line."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn import metrics

from starterkit.contract import Prediction
from starterkit.errors import ProblemError
from starterkit.metrics import METRICS, Metric, compute_scores, metrics_for
from starterkit.problem.estimator import all_metrics
from starterkit.release.gate.comparison import paired_shortfall

RANDOM = np.random.default_rng(0)
ACTUAL = RANDOM.normal(10, 3, 300)
NUMBERS = Prediction(ACTUAL + RANDOM.normal(0, 1, 300))
LABELS = ["no", "yes"]
SHARES = RANDOM.dirichlet(np.ones(2), 300)
CLASSES = np.array(LABELS)[(RANDOM.random(300) < SHARES[:, 1]).astype(int)]
ANSWERS = Prediction(np.array(LABELS)[SHARES.argmax(axis=1)], SHARES)


def found(name: str, task: Any, classes: int = 0) -> Metric:
    return next(metric for metric in all_metrics(task, [name], classes) if metric.name == name)


def test_a_scorer_of_a_regression_is_scikit_learns():
    for name, figure, best in (
        ("neg_mean_absolute_percentage_error", -metrics.mean_absolute_percentage_error(ACTUAL, NUMBERS.values), 0),
        ("explained_variance", metrics.explained_variance_score(ACTUAL, NUMBERS.values), 1),
        ("neg_max_error", -metrics.max_error(ACTUAL, NUMBERS.values), 0),  # takes no weights
    ):
        metric = found(name, "regression")
        assert metric.score(ACTUAL, NUMBERS, []) == pytest.approx(figure)
        assert (metric.greater_is_better, metric.loss(figure)) == (True, pytest.approx(best - figure))


def test_a_scorer_of_a_classification_is_scikit_learns_whatever_the_labels_are():
    for name, figure in (
        ("balanced_accuracy", metrics.balanced_accuracy_score(CLASSES, ANSWERS.values)),
        ("f1", metrics.f1_score(CLASSES, ANSWERS.values, pos_label="yes")),  # the second class is the positive one
        ("average_precision", metrics.average_precision_score(CLASSES == "yes", SHARES[:, 1])),
    ):
        metric = found(name, "classification", 2)
        assert metric.score(CLASSES, ANSWERS, LABELS) == pytest.approx(figure)
        if not metric.probabilities:  # an estimator that has none is judged by its labels alike
            assert metric.score(CLASSES, Prediction(ANSWERS.values), LABELS) == pytest.approx(figure)


@pytest.mark.parametrize("name", ["balanced_accuracy", "average_precision", "neg_log_loss"])
def test_a_row_that_counts_twice_is_one_that_is_there_twice(name):
    weights = RANDOM.integers(0, 4, 300)
    rows = np.repeat(np.arange(300), weights)
    metric = found(name, "classification", 2)
    weighed = metric.weighted(CLASSES, ANSWERS, LABELS)(weights[None].astype(float))[0]
    again = metric.score(CLASSES[rows], Prediction(ANSWERS.values[rows], SHARES[rows]), LABELS)
    assert weighed == pytest.approx(again)


def test_what_has_no_figure_is_not_a_number():
    only = (CLASSES == "no").astype(float)
    assert np.isnan(found("roc_auc_ovr", "classification", 2).weighted(CLASSES, ANSWERS, LABELS)(only[None])[0])
    same = Prediction(np.array([1.0, 2.0]))
    assert np.isnan(METRICS["r2"].score(np.array([5.0, 5.0]), same, []))
    one_class = Prediction(np.array(["a", "a"]), np.array([[0.9, 0.1], [0.8, 0.2]]))
    scores = compute_scores(metrics_for("classification"), np.array(["a", "a"]), one_class, ["a", "b"])
    assert np.isnan(scores["roc_auc"])
    assert scores["accuracy"] == 1


def mean_error(actual: Any, answers: Any) -> float:
    return float(np.abs(actual - answers).mean())


def weighed_error(actual: Any, answers: Any, sample_weight: Any = None) -> float:
    return float(np.average(np.abs(actual - answers), weights=sample_weight))


def test_a_function_of_rows_gets_the_interval_of_the_kits_own_and_fewer_draws():
    other = Prediction(ACTUAL + RANDOM.normal(0, 1, 300))
    own = (Metric(one.__name__, one, greater_is_better=False) for one in (mean_error, weighed_error))
    ends = []
    for metric in (METRICS["mae"], *own):
        one, two = (metric.weighted(ACTUAL, answers, []) for answers in (NUMBERS, other))
        shortfall = paired_shortfall(metric, one, two, np.arange(300), 0.05)
        ends.append((shortfall.low, shortfall.high))
    assert ends[1:] == [pytest.approx(ends[0])] * 2
    metric = Metric("plain", mean_error, greater_is_better=False)
    assert [metric.resamples(rows) for rows in (100, 2_500, 5_000, 1_000_000)] == [2000, 2000, 1000, 500]
    assert METRICS["mae"].resamples(1_000_000) == 2000


def test_probabilities_are_those_of_the_second_of_two_classes():
    seen: list[Any] = []
    metric = Metric("own", lambda _, answers: seen.append(answers) or 1.0, greater_is_better=True, probabilities=True)
    for labels in (LABELS, ["a", "b", "c"]):
        metric.score(CLASSES, ANSWERS, labels)
    np.testing.assert_array_equal(seen[0], SHARES[:, 1])
    assert seen[1].shape == (300, 2)


def test_what_is_no_metric_of_the_task_is_refused_by_name():
    for asked, classes, words in (
        ("balanced_acuracy", 0, "none that the kit or scikit-learn knows .did you mean bal"),
        ("f1", 0, "'f1' is not one for regression"),
        ("v_measure_score", 0, "is not one for regression"),  # judges clusters
        ("neg_max_error", 2, "is not one for classification"),
        ("v_measure_score", 2, "is not one for classification"),
        ("f1", 3, "is not one for classification of 3 classes"),
        ("rmse", 2, "'rmse' is not one for classification.*log_loss, roc_auc, accuracy"),
        (Metric("rmse", mean_error, greater_is_better=False), 0, "two metrics are called 'rmse'"),
    ):
        with pytest.raises(ProblemError, match=words):
            all_metrics("classification" if classes else "regression", [asked], classes)
    for name in ("", "baseline_cost", "cost per case", "9lives"):
        with pytest.raises(ProblemError, match="has other signs"):
            Metric(name, mean_error, greater_is_better=False)


def fails(actual: Any, answers: Any) -> float:
    raise RuntimeError(f"secret {actual[0]}")


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (fails, f"metric 'own' fails with RuntimeError .{Path(__file__)}, line {fails.__code__.co_firstlineno + 1}."),
        (lambda *_: float("nan"), rf"metric 'own' gives NaN for these 300 rows .{Path(__file__)}, line \d+."),
        (lambda *_: "much", rf"metric 'own' gives a str, not a number .{Path(__file__)}, line \d+."),
    ],
)
def test_a_function_that_fails_is_told_with_its_place_and_without_a_value(function, words):
    with pytest.raises(ProblemError, match=words) as told:
        Metric("own", function, greater_is_better=True).score(ACTUAL, NUMBERS, [])
    assert "secret" not in str(told.value)


def test_what_scikit_learn_refuses_is_told_without_a_value_and_no_number_has_no_figure():
    with pytest.raises(ProblemError, match="'neg_mean_squared_log_error' cannot judge these answers: Mean Squared Log"):
        found("neg_mean_squared_log_error", "regression").score(-ACTUAL, NUMBERS, [])
    broken = Prediction(np.where(np.arange(300) == 7, np.nan, NUMBERS.values))
    for metric in all_metrics("regression", ["explained_variance", Metric("own", fails, greater_is_better=True)]):
        assert np.isnan(metric.score(ACTUAL, broken, []))


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
    pairs = zip(classes, answers.probabilities.T, strict=True)
    areas = [metrics.roc_auc_score(actual == label, chances, **given) for label, chances in pairs]
    return {
        "log_loss": metrics.log_loss(actual, answers.probabilities, labels=classes, **given),
        "roc_auc": areas[1] if len(classes) == 2 else float(np.mean(areas)),
        "accuracy": metrics.accuracy_score(actual, answers.values, **given),
    }


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("classes", [0, 2, 3, 5])
def test_figures_are_scikit_learns(classes, seed):
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


@pytest.mark.parametrize("name", METRICS)
def test_an_answer_that_is_not_a_number_spoils_the_figure(name):
    classifies = METRICS[name].task == "classification"
    actual, answers, labels = classification(1, 2) if classifies else (*regression(1), [])
    (answers.probabilities if classifies else answers.values)[0] = np.nan
    assert np.isnan(METRICS[name].score(actual, answers, labels)) or name == "accuracy"
