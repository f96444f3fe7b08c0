"""What mixes columns, chooses among them or makes more of them, and what answers by similarity to fitted rows."""

from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.interpolate import BSpline, PPoly
from sklearn import (
    cluster,
    decomposition,
    feature_selection,
    gaussian_process,
    kernel_approximation,
    neighbors,
    random_projection,
    svm,
)
from sklearn.gaussian_process import kernels
from sklearn.kernel_ridge import KernelRidge
from sklearn.neighbors import NeighborhoodComponentsAnalysis
from sklearn.preprocessing import PolynomialFeatures, SplineTransformer

from starterkit.training.export.families.ensembles import one_hot, pair_scores
from starterkit.training.export.families.functions import interval, looked_up
from starterkit.training.export.families.linear import classes_of
from starterkit.training.export.families.nodes import (
    Answer,
    Block,
    CannotExport,
    Family,
    Nodes,
    is_a,
    squared_distances,
)

# --- Weighted sums of the centred columns.


class Projections(Family):
    """PCA and its kin, random projections, clusters' distances and kernels' approximations."""

    def takes(self, kind: type) -> bool:
        return kind in _PROJECTED

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        name, width = _PROJECTED[type(estimator)](estimator, nodes, nodes.matrix())
        return [Block(name, width)]


def _sum_of(nodes: Nodes, name: str, weights: Any, shift: Any = 0.0) -> tuple[str, int]:
    return nodes.linear(name, weights, shift), np.shape(weights)[1]


def _principal(estimator: Any, nodes: Nodes, name: str) -> tuple[str, int]:
    components = np.asarray(estimator.components_, dtype=np.float64)
    name, width = _sum_of(nodes, name, components.T, -(np.reshape(estimator.mean_, (1, -1)) @ components.T))
    if estimator.whiten:
        scale = np.maximum(np.sqrt(estimator.explained_variance_), np.finfo(np.float64).eps)
        name = nodes.add("Div", name, nodes.row(scale))
    return name, width


def _truncated(estimator: Any, nodes: Nodes, name: str) -> tuple[str, int]:
    return _sum_of(nodes, name, estimator.components_.T)


def _factors(estimator: Any, nodes: Nodes, name: str) -> tuple[str, int]:
    weighted = estimator.components_ / estimator.noise_variance_
    covariance = np.linalg.inv(np.eye(len(estimator.components_)) + weighted @ estimator.components_.T)
    centred = nodes.add("Sub", name, nodes.row(estimator.mean_))
    return _sum_of(nodes, centred, weighted.T @ covariance)


def _independent(estimator: Any, nodes: Nodes, name: str) -> tuple[str, int]:
    if estimator.whiten:
        name = nodes.add("Sub", name, nodes.row(estimator.mean_))
    return _sum_of(nodes, name, estimator.components_.T)


def _random(estimator: Any, nodes: Nodes, name: str) -> tuple[str, int]:
    weights = estimator.components_
    return _sum_of(nodes, name, (weights.toarray() if hasattr(weights, "toarray") else weights).T)


def _neighbourhood(estimator: Any, nodes: Nodes, name: str) -> tuple[str, int]:
    return _sum_of(nodes, name, estimator.components_.T)


def _agglomerated(estimator: Any, nodes: Nodes, name: str) -> tuple[str, int]:
    if estimator.pooling_func is not np.mean:
        raise CannotExport("its pooling_func is not numpy.mean; leave it out")
    members = np.asarray(estimator.labels_)[:, None] == np.unique(estimator.labels_)[None, :]
    return _sum_of(nodes, name, members / members.sum(axis=0))


def _distances(estimator: Any, nodes: Nodes, name: str) -> tuple[str, int]:
    centres = getattr(estimator, "cluster_centers_", None)
    centres = estimator.subcluster_centers_ if centres is None else centres
    return nodes.add("Sqrt", squared_distances(nodes, name, centres)), len(centres)


def _fourier(estimator: Any, nodes: Nodes, name: str) -> tuple[str, int]:
    name, width = _sum_of(nodes, name, estimator.random_weights_, estimator.random_offset_)
    return nodes.add("Mul", nodes.add("Cos", name), nodes.number((2.0 / width) ** 0.5)), width


def _nystroem(estimator: Any, nodes: Nodes, name: str) -> tuple[str, int]:
    if estimator.kernel != "rbf":
        raise CannotExport(f"its kernel is {estimator.kernel!r}; use kernel='rbf'")
    gamma = 1.0 / estimator.components_.shape[1] if estimator.gamma is None else estimator.gamma
    near = nodes.add("Mul", squared_distances(nodes, name, estimator.components_), nodes.number(-gamma))
    return _sum_of(nodes, nodes.add("Exp", near), estimator.normalization_.T)


_Projection = Callable[[Any, Nodes, str], tuple[str, int]]
_PROJECTED: dict[type, _Projection] = {
    **dict.fromkeys(classes_of(decomposition, "PCA", "IncrementalPCA"), _principal),
    decomposition.TruncatedSVD: _truncated,
    decomposition.FactorAnalysis: _factors,
    decomposition.FastICA: _independent,
    **dict.fromkeys(classes_of(random_projection, "GaussianRandomProjection", "SparseRandomProjection"), _random),
    NeighborhoodComponentsAnalysis: _neighbourhood,
    cluster.FeatureAgglomeration: _agglomerated,
    **dict.fromkeys(classes_of(cluster, "KMeans", "MiniBatchKMeans", "BisectingKMeans", "Birch"), _distances),
    kernel_approximation.RBFSampler: _fourier,
    kernel_approximation.Nystroem: _nystroem,
}


# --- Some of the columns.

_SELECTED = (
    *classes_of(feature_selection, "GenericUnivariateSelect", "RFE", "RFECV", "SelectFdr", "SelectFpr"),
    *classes_of(feature_selection, "SelectFromModel", "SelectFwe", "SelectKBest", "SelectPercentile"),
    *classes_of(feature_selection, "SequentialFeatureSelector", "VarianceThreshold"),
)


class Selections(Family):
    """What keeps some columns as they are."""

    def takes(self, kind: type) -> bool:
        return kind in _SELECTED

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        if not is_a(estimator, feature_selection.RFE):
            return super().answer(estimator, nodes)
        return nodes.answer(estimator.estimator_, self.turn(estimator, nodes), "estimator")

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        return nodes.select(np.flatnonzero(estimator.get_support()).tolist())


# --- More columns than there were.


class Polynomials(Family):
    """`PolynomialFeatures`: products, multiplied in scikit-learn's order, so that they are its to the last bit."""

    def takes(self, kind: type) -> bool:
        return kind is PolynomialFeatures

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        matrix, powers = nodes.matrix(), np.asarray(estimator.powers_)
        count = nodes.width
        columns = [nodes.pick(matrix, [place]) for place in range(count)]
        products: dict[tuple[int, ...], str] = {(place,): column for place, column in enumerate(columns)}

        def product(factors: tuple[int, ...]) -> str:
            if factors not in products:  # the first factor is multiplied last
                products[factors] = nodes.add("Mul", product(factors[1:]), columns[factors[0]])
            return products[factors]

        made = []
        for row in powers:
            factors = tuple(place for place in range(count) for _ in range(int(row[place])))
            made.append(product(factors) if factors else _ones(nodes, columns[0]))
        return [Block(nodes.join(made), len(made))]


def _ones(nodes: Nodes, column: str) -> str:
    return nodes.add("Where", nodes.add("IsNaN", column), nodes.number(1.0), nodes.number(1.0))


class Splines(Family):
    """`SplineTransformer`: for each column its B-splines, as polynomials between the knots."""

    def takes(self, kind: type) -> bool:
        return kind is SplineTransformer

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        made, matrix = [], nodes.matrix()
        for place, spline in enumerate(estimator.bsplines_):
            made.append(self._column(estimator, nodes, nodes.pick(matrix, [place]), spline))
        name, each = nodes.join(made), estimator.bsplines_[0].c.shape[1]
        width = each * len(made)
        if estimator.include_bias:
            return [Block(name, width)]
        kept = [place for place in range(width) if (place + 1) % each]
        return [Block(nodes.pick(name, kept), len(kept))]

    def _column(self, estimator: Any, nodes: Nodes, column: str, spline: Any) -> str:
        degree = estimator.degree
        low, high = spline.t[degree], spline.t[-degree - 1]
        gone, how = nodes.add("IsNaN", column), estimator.extrapolation
        if how == "periodic":
            size = spline.t.size - degree - 1
            first, turn = spline.t[degree], spline.t[size] - spline.t[degree]
            away = nodes.add("Sub", column, nodes.number(first))
            whole = nodes.add("Mul", nodes.add("Floor", nodes.add("Div", away, nodes.number(turn))), nodes.number(turn))
            column = nodes.add("Add", nodes.add("Sub", away, whole), nodes.number(first))
        elif how in ("constant", "error"):
            column = nodes.add("Clip", column, nodes.number(low), nodes.number(high))
        knots, pieces = _pieces(spline, low, high)
        if how == "linear":
            knots, pieces = _with_lines(spline, degree, knots, pieces, low, high)
        piece = interval(nodes, column, knots[1:-1])
        away = nodes.add("Sub", column, looked_up(nodes, knots[:-1], piece))
        value = looked_up(nodes, pieces[0], piece)
        for power in pieces[1:]:
            value = nodes.add("Add", nodes.add("Mul", value, away), looked_up(nodes, power, piece))
        return nodes.add("Where", gone, nodes.number(0.0), value)


def _pieces(spline: BSpline, low: float, high: float) -> tuple[Any, Any]:
    """The knots between the ends, and the pieces' coefficients: powers × pieces × splines, the highest power first."""
    each = [PPoly.from_spline(BSpline(spline.t, column, spline.k)) for column in spline.c.T]
    ends = each[0].x
    inside = np.flatnonzero((ends[:-1] >= low) & (ends[:-1] < high) & (np.diff(ends) > 0))
    return np.append(ends[inside], high), np.stack([one.c[:, inside] for one in each], axis=2)


def _with_lines(spline: BSpline, degree: int, knots: Any, pieces: Any, low: float, high: float) -> tuple[Any, Any]:
    """A straight line before the first knot and one after the last."""
    count = pieces.shape[2]
    reach = degree + 1 if degree <= 1 else degree
    before, after = (np.zeros((pieces.shape[0], count)) for _ in range(2))
    starts, ends = np.arange(count) < reach, np.arange(count) >= count - reach
    before[-1], after[-1] = np.where(starts, spline(low), 0.0), np.where(ends, spline(high), 0.0)
    if degree >= 1:
        before[-2] = np.where(starts, spline(low, nu=1), 0.0)
        after[-2] = np.where(ends, spline(high, nu=1), 0.0)
    # A piece is measured from its left knot: the first line's is the low end, too.
    knots = np.concatenate([[low], knots, [np.inf]])
    return knots, np.concatenate([before[:, None], pieces, after[:, None]], axis=1)


# --- Predictors by similarity to fitted rows.


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
