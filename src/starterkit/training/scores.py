"""scikit-learn computes the metrics; here they get the kit's names."""

from collections.abc import Sequence
from typing import Any

from numpy.typing import NDArray
from sklearn import metrics

from starterkit.contract import Prediction, Scalar, Task
from starterkit.metrics import Scores


def compute_scores(task: Task, actual: NDArray[Any], prediction: Prediction, classes: Sequence[Scalar]) -> Scores:
    """Every metric of the task, over n actual values and the prediction for them.

    `classes` are a classifier's labels in the order of its probabilities.
    """
    if task == "regression":
        return _regression(actual, prediction.values)
    return _classification(actual, prediction, list(classes))


def _regression(actual: NDArray[Any], predicted: NDArray[Any]) -> Scores:
    return {
        "rmse": float(metrics.root_mean_squared_error(actual, predicted)),
        "mae": float(metrics.mean_absolute_error(actual, predicted)),
        "r2": float(metrics.r2_score(actual, predicted)),
    }


def _classification(actual: NDArray[Any], prediction: Prediction, classes: list[Scalar]) -> Scores:
    probabilities = prediction.probabilities
    assert probabilities is not None
    if len(classes) == 2:
        area = metrics.roc_auc_score(actual == classes[1], probabilities[:, 1])
    else:
        area = metrics.roc_auc_score(actual, probabilities, multi_class="ovr", labels=classes)
    return {
        "log_loss": float(metrics.log_loss(actual, probabilities, labels=classes)),
        "roc_auc": float(area),
        "accuracy": float(metrics.accuracy_score(actual, prediction.values)),
    }
