"""Logistic regression in float64. ONNX's own operator answers in float32, and fails behind mixed columns."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression, LogisticRegressionCV

from starterkit.export.families.family import Family, Nodes, labels_of
from starterkit.export.families.trees import Scoring, classify


class Logistic(Family):
    """`LogisticRegression` and `LogisticRegressionCV`: the columns' weighted sum, then sigmoid or softmax."""

    def takes(self, kind: type) -> bool:
        return kind in (LogisticRegression, LogisticRegressionCV)

    def convert(self, estimator: Any, nodes: Nodes, gives: Sequence[str]) -> None:
        weights = nodes.constant(np.asarray(estimator.coef_.T, dtype=np.float64))
        score = nodes.add("MatMul", nodes.matrix(), weights)
        base = np.broadcast_to(np.asarray(estimator.intercept_, dtype=np.float64), (estimator.coef_.shape[0],))
        score = nodes.add("Add", score, nodes.constant(base[None, :]), version=14)
        scoring = Scoring(base=base, link="logistic" if len(base) == 1 else "softmax")
        classify(nodes, scoring, score, labels_of(estimator.classes_), gives)
