"""Similarity to fitted rows: support vectors, kernel ridge, Gaussian processes and neighbours."""

from typing import Any

import numpy as np
from sklearn import gaussian_process, neighbors, svm
from sklearn.gaussian_process import kernels
from sklearn.kernel_ridge import KernelRidge

from starterkit.training.export.families.ensembles import one_hot, pair_scores
from starterkit.training.export.families.nodes import Answer, CannotExport, Family, Nodes, is_a
from starterkit.training.export.families.projection import squared_distances


def kernel(nodes: Nodes, name: str, rows: Any, how: Any, gamma: float, degree: float, shift: float) -> str:
    """n × m: the kernel's value for each fitted row."""
    rows = np.asarray(rows, dtype=np.float64)
    if how == "rbf":
        return nodes.add("Exp", nodes.add("Mul", squared_distances(nodes, name, rows), nodes.number(-gamma)))
    product = nodes.linear(name, rows.T, 0.0)
    if how == "linear":
        return product
    if how not in ("poly", "polynomial", "sigmoid"):
        raise CannotExport(f"its kernel is {how if isinstance(how, str) else 'a function'}; use kernel='rbf'")
    bent = nodes.add("Add", nodes.add("Mul", product, nodes.number(gamma)), nodes.number(shift))
    return nodes.add("Tanh", bent) if how == "sigmoid" else nodes.add("Pow", bent, nodes.number(float(degree)))


class SupportVectors(Family):
    """`SVR`, `NuSVR`, `SVC` and `NuSVC`."""

    def takes(self, kind: type) -> bool:
        return kind in (svm.NuSVC, svm.NuSVR, svm.SVC, svm.SVR)

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        near = kernel(
            nodes,
            nodes.matrix(),
            estimator.support_vectors_,
            estimator.kernel,
            estimator._gamma,
            estimator.degree,
            estimator.coef0,
        )
        weights = estimator._dual_coef_
        weights = weights.toarray() if hasattr(weights, "toarray") else np.asarray(weights)
        if not hasattr(estimator, "classes_"):
            return Answer(values=nodes.linear(near, weights.T, estimator._intercept_))
        if estimator.probability is True:  # by default it is the word "deprecated"
            hint = "leave probability out, and put CalibratedClassifierCV around it"
            raise CannotExport(f"probability=True makes probabilities that are not those of its labels; {hint}")
        return self._classes(estimator, nodes, near, weights)

    def _classes(self, estimator: Any, nodes: Nodes, near: str, weights: Any) -> Answer:
        classes = len(estimator.classes_)
        ends = np.cumsum(estimator.n_support_)
        of = [slice(end - count, end) for end, count in zip(ends, estimator.n_support_, strict=True)]
        pairs = [(first, second) for first in range(classes) for second in range(first + 1, classes)]
        columns = np.zeros((weights.shape[1], len(pairs)))
        for place, (first, second) in enumerate(pairs):
            columns[of[first], place] = weights[second - 1, of[first]]
            columns[of[second], place] = weights[first, of[second]]
        decisions = nodes.linear(near, columns, estimator._intercept_)  # positive for the pair's first class
        against = nodes.add("Neg", decisions)
        if classes == 2:
            return Answer(place=nodes.beyond(against, also_at=True), scores=against)
        second = nodes.double(nodes.add("LessOrEqual", decisions, nodes.number(0.0)))
        scores = pair_scores(nodes, nodes.double(nodes.add("Less", decisions, nodes.number(0.0))), against, classes)
        signs, firsts = np.zeros((len(pairs), classes)), np.zeros(classes)
        for place, (one, other) in enumerate(pairs):
            signs[place, one], signs[place, other] = -1.0, 1.0
            firsts[one] += 1.0
        votes = nodes.linear(second, signs, firsts)
        ranked = scores if estimator.break_ties else votes
        said = scores if estimator.decision_function_shape == "ovr" else ""
        return Answer(place=nodes.largest(ranked), scores=said)


class KernelRidges(Family):
    """`KernelRidge` and `GaussianProcessRegressor`."""

    def takes(self, kind: type) -> bool:
        return kind in (KernelRidge, gaussian_process.GaussianProcessRegressor)

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        matrix = nodes.matrix()
        if is_a(estimator, KernelRidge):
            gamma = 1.0 / nodes.width if estimator.gamma is None else estimator.gamma
            near = kernel(nodes, matrix, estimator.X_fit_, estimator.kernel, gamma, estimator.degree, estimator.coef0)
            return Answer(values=nodes.linear(near, np.reshape(estimator.dual_coef_, (-1, 1)), 0.0))
        near = self._covariance(estimator.kernel_, nodes, matrix, estimator.X_train_)
        value = nodes.linear(near, np.reshape(estimator.alpha_, (-1, 1)), 0.0)
        spread, mean = (float(np.ravel(one)[0]) for one in (estimator._y_train_std, estimator._y_train_mean))
        return Answer(values=nodes.add("Add", nodes.add("Mul", value, nodes.number(spread)), nodes.number(mean)))

    def _covariance(self, made: Any, nodes: Nodes, name: str, rows: Any) -> str:
        if is_a(made, kernels.Sum | kernels.Product):
            parts = [self._covariance(one, nodes, name, rows) for one in (made.k1, made.k2)]
            return nodes.add("Add" if is_a(made, kernels.Sum) else "Mul", *parts)
        if is_a(made, kernels.ConstantKernel):
            return nodes.row(np.full(len(rows), made.constant_value))
        if is_a(made, kernels.WhiteKernel):
            return nodes.row(np.zeros(len(rows)))
        if not is_a(made, kernels.RBF) or is_a(made, kernels.Matern):
            raise CannotExport(f"its kernel {type(made).__name__} has no graph; use RBF, alone or with constants")
        scale = np.asarray(made.length_scale, dtype=np.float64) * np.ones(rows.shape[1])
        away = squared_distances(nodes, nodes.add("Div", name, nodes.row(scale)), rows / scale)
        return nodes.add("Exp", nodes.add("Mul", away, nodes.number(-0.5)))


class Neighbours(Family):
    """`KNeighborsRegressor` and `KNeighborsClassifier`, by the Euclidean distance."""

    def takes(self, kind: type) -> bool:
        return kind in (neighbors.KNeighborsClassifier, neighbors.KNeighborsRegressor)

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        metric, power = estimator.effective_metric_, estimator.p
        if callable(metric):
            raise CannotExport("its metric is a function; use metric='minkowski' with p=2")
        if metric not in ("euclidean", "l2", "minkowski") or (metric == "minkowski" and power != 2):
            raise CannotExport(f"its metric is '{metric}' (p={power:g}); use metric='minkowski' with p=2")
        if estimator.weights not in ("uniform", "distance", None):
            raise CannotExport("its weights are a function; use weights='uniform' or 'distance'")
        away = squared_distances(nodes, nodes.matrix(), estimator._fit_X)
        nearest, places = nodes.canvas.name("distances"), nodes.canvas.name("nearest")
        count = nodes.constant(np.array([estimator.n_neighbors]))
        nodes.several("TopK", [away, count], [nearest, places], axis=1, largest=0)
        weights = self._weights(estimator, nodes, nearest)
        answered = np.asarray(estimator._y)
        if answered.ndim == 2 and answered.shape[1] > 1:
            raise CannotExport("it answers several values a row; use one estimator for each")
        if not hasattr(estimator, "classes_"):
            values = nodes.add("Gather", nodes.constant(answered.astype(np.float64).ravel()), places, axis=0)
            if not weights:
                total = nodes.total(values)
                return Answer(values=nodes.add("Div", total, nodes.number(float(estimator.n_neighbors))))
            return Answer(values=nodes.add("Div", nodes.total(nodes.add("Mul", values, weights)), nodes.total(weights)))
        shares = one_hot(
            nodes, nodes.add("Gather", nodes.constant(answered.ravel()), places, axis=0), len(estimator.classes_)
        )
        if weights:
            shares = nodes.add("Mul", shares, nodes.add("Unsqueeze", weights, nodes.constant(np.array([2]))))
        votes = nodes.add("ReduceSum", shares, nodes.constant(np.array([1])), keepdims=0)
        return Answer(place=nodes.largest(votes), probabilities=nodes.shares(votes))

    def _weights(self, estimator: Any, nodes: Nodes, nearest: str) -> str:
        if estimator.weights != "distance":
            return ""
        same = nodes.add("Equal", nearest, nodes.number(0.0))
        any_same = nodes.add("ReduceMax", nodes.double(same), nodes.constant(np.array([1])), keepdims=1)
        inverse = nodes.add("Div", nodes.number(1.0), nodes.add("Sqrt", nearest))
        some = nodes.add("Greater", any_same, nodes.number(0.0))
        return nodes.add("Where", some, nodes.double(same), inverse)
