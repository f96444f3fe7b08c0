"""What a model looks at, and how a classifier separates: the numbers behind the figures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from starterkit.data import Rows
from starterkit.metrics import compute_scores
from starterkit.training.evaluation import predict
from starterkit.training.trainer import TrainedModel

_REPEATS = 5


def permutation_importance(model: TrainedModel, rows: Rows) -> Mapping[str, tuple[float, float]]:
    """Mean and standard deviation of the deciding metric's loss when one feature is shuffled.

    Source: Breiman, "Random Forests", Machine Learning 45 (2001), as scikit-learn computes it.
    """
    from sklearn.inspection import permutation_importance as compute

    metric, task = model.problem.deciding_metric, model.problem.task
    name, sign = metric.name, 1 if metric.greater_is_better else -1

    def score(estimator: Any, features: Any, target: Any) -> float:
        return sign * compute_scores(task, np.asarray(target), predict(estimator, task, features), model.classes)[name]

    found: Any = compute(model.estimator, rows.features, rows.target, scoring=score, n_repeats=_REPEATS, random_state=0)
    return {
        str(feature): (float(mean), float(deviation))
        for feature, mean, deviation in zip(rows.features, found.importances_mean, found.importances_std, strict=True)
    }


def confusion(model: TrainedModel, rows: Rows) -> NDArray[np.int64]:
    """A k × k table of counts: rows are actual classes, columns predicted ones."""
    from sklearn.metrics import confusion_matrix

    return confusion_matrix(rows.target.to_numpy(), model.evaluation.prediction.values, labels=list(model.classes))


def roc_curves(model: TrainedModel, rows: Rows) -> dict[str, tuple[NDArray[Any], NDArray[Any], float]]:
    """False positive rates, true positive rates and area, for the positive class or for each of several."""
    from sklearn.metrics import auc, roc_curve

    probabilities = model.evaluation.prediction.probabilities
    assert probabilities is not None
    actual = rows.target.to_numpy()
    curves = {}
    for index, label in list(enumerate(model.classes))[1 if len(model.classes) == 2 else 0 :]:
        false_positives, true_positives, _ = roc_curve(actual == label, probabilities[:, index])
        curves[str(label)] = (false_positives, true_positives, float(auc(false_positives, true_positives)))
    return curves
