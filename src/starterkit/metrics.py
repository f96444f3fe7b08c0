"""The figures by which a model is judged, under the names that MLflow shows. Computed by scikit-learn."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from starterkit.contract import Prediction, Scalar, Task

Scores = Mapping[str, float]
Score = Callable[[NDArray[Any], Prediction, Sequence[Scalar]], float]


@dataclass(frozen=True)
class Metric:
    """One figure. `score` takes the n actual values, the prediction for them and a classifier's labels in order."""

    name: str
    task: Task
    greater_is_better: bool
    score: Score

    def shortfall(self, figure: float, reference: float) -> float:
        """How much worse `figure` is than `reference`, in the metric's own unit; negative where it is better."""
        return reference - figure if self.greater_is_better else figure - reference


def _rmse(actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> float:
    from sklearn.metrics import root_mean_squared_error

    return float(root_mean_squared_error(actual, prediction.values))


def _mae(actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> float:
    from sklearn.metrics import mean_absolute_error

    return float(mean_absolute_error(actual, prediction.values))


def _r2(actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> float:
    from sklearn.metrics import r2_score

    return float(r2_score(actual, prediction.values))


def _log_loss(actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> float:
    from sklearn.metrics import log_loss

    return float(log_loss(actual, prediction.probabilities, labels=list(classes)))


def _roc_auc(actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> float:
    from sklearn.metrics import roc_auc_score

    probabilities = prediction.probabilities
    assert probabilities is not None
    if len(classes) == 2:
        return float(roc_auc_score(actual == classes[1], probabilities[:, 1]))
    return float(roc_auc_score(actual, probabilities, multi_class="ovr", labels=list(classes)))


def _accuracy(actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> float:
    from sklearn.metrics import accuracy_score

    return float(accuracy_score(actual, prediction.values))


METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("rmse", "regression", False, _rmse),
        Metric("mae", "regression", False, _mae),
        Metric("r2", "regression", True, _r2),
        Metric("log_loss", "classification", False, _log_loss),
        Metric("roc_auc", "classification", True, _roc_auc),
        Metric("accuracy", "classification", True, _accuracy),
    )
}


def metrics_for(task: Task) -> tuple[Metric, ...]:
    """The metrics that are computed for every model of a task."""
    return tuple(metric for metric in METRICS.values() if metric.task == task)
