"""Weighted sums of columns: linear models, discriminants, naive Bayes and networks, all in float64.

Networks of PyTorch and Keras are written by the library's own exporter, in float32, and the kit puts them in place.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, compose, inliner, version_converter
from sklearn import cross_decomposition, linear_model, naive_bayes, svm
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis, QuadraticDiscriminantAnalysis
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.neighbors import NearestCentroid
from sklearn.neural_network import MLPClassifier, MLPRegressor

from starterkit.errors import first_line
from starterkit.training.export.families.nodes import OPSET, Answer, Block, CannotExport, Family, Nodes, is_a


def classes_of(module: Any, *names: str) -> tuple[type, ...]:
    """Those of a library's classes that its installed version has."""
    return tuple(getattr(module, name) for name in names if hasattr(module, name))


_REGRESSORS = (
    *classes_of(
        linear_model,
        *("ARDRegression", "BayesianRidge", "ElasticNet", "ElasticNetCV", "GammaRegressor", "HuberRegressor", "Lars"),
        *("LarsCV", "Lasso", "LassoCV", "LassoLars", "LassoLarsCV", "LassoLarsIC", "LinearRegression"),
        *("OrthogonalMatchingPursuit", "OrthogonalMatchingPursuitCV", "PassiveAggressiveRegressor"),
        *("PoissonRegressor", "QuantileRegressor", "Ridge", "RidgeCV", "SGDRegressor", "TheilSenRegressor"),
        "TweedieRegressor",
    ),
    svm.LinearSVR,
)
_PROJECTED = classes_of(cross_decomposition, "CCA", "PLSCanonical", "PLSRegression")
_SIGMOID = (linear_model.LogisticRegression, linear_model.LogisticRegressionCV, LinearDiscriminantAnalysis)
_CLASSIFIERS = (
    *_SIGMOID,
    *classes_of(linear_model, "PassiveAggressiveClassifier", "Perceptron", "RidgeClassifier", "RidgeClassifierCV"),
    linear_model.SGDClassifier,
    svm.LinearSVC,
)


def _weights(estimator: Any) -> Any:
    """k × m: a column for each score."""
    weights = estimator.coef_.toarray() if hasattr(estimator.coef_, "toarray") else np.asarray(estimator.coef_)
    return np.atleast_2d(weights).T


class LinearRegressors(Family):
    """The columns' weighted sum; its exponential for a logarithmic link."""

    def takes(self, kind: type) -> bool:
        return kind in _REGRESSORS or kind in _PROJECTED

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        weights, matrix = _weights(estimator), nodes.matrix()
        if weights.shape[1] != 1:
            raise CannotExport("it answers several values a row; use one estimator for each")
        if is_a(estimator, _PROJECTED):
            matrix = nodes.add("Sub", matrix, nodes.row(estimator._x_mean))
        score = nodes.linear(matrix, weights, estimator.intercept_)
        loss = getattr(estimator, "_base_loss", None)
        link = type(loss.link).__name__ if loss is not None else "IdentityLink"
        if link not in ("IdentityLink", "LogLink"):
            raise CannotExport(f"its link is {link}; use link='log' or link='identity'")
        return Answer(values=nodes.add("Exp", score) if link == "LogLink" else score)

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        if not is_a(estimator, _PROJECTED):
            return super().turn(estimator, nodes)
        centred = nodes.add("Sub", nodes.matrix(), nodes.row(estimator._x_mean))
        scaled = nodes.add("Div", centred, nodes.row(estimator._x_std))
        return [Block(nodes.linear(scaled, estimator.x_rotations_, 0.0), estimator.x_rotations_.shape[1])]


class LinearClassifiers(Family):
    """The class of the largest weighted sum, or of the sign where there are two."""

    def takes(self, kind: type) -> bool:
        return kind in _CLASSIFIERS

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        weights = _weights(estimator)
        if len(estimator.classes_) != max(weights.shape[1], 2):
            raise CannotExport("it has as many answers as classes; give it one target column")
        score = nodes.linear(nodes.matrix(), weights, estimator.intercept_)
        binary = weights.shape[1] == 1
        place = nodes.beyond(score) if binary else nodes.largest(score)
        return Answer(place=place, scores=score, probabilities=self._probabilities(estimator, nodes, score, binary))

    def _probabilities(self, estimator: Any, nodes: Nodes, score: str, binary: bool) -> str:
        loss = getattr(estimator, "loss", "")
        if is_a(estimator, _SIGMOID):
            return nodes.both(nodes.sigmoid(score)) if binary else nodes.add("Softmax", score, axis=1)
        if not is_a(estimator, linear_model.SGDClassifier) or loss not in ("log_loss", "modified_huber"):
            return ""
        if loss == "log_loss":
            share = nodes.sigmoid(score)
        else:
            clipped = nodes.add("Clip", score, nodes.number(-1.0), nodes.number(1.0))
            share = nodes.add("Div", nodes.add("Add", clipped, nodes.number(1.0)), nodes.number(2.0))
        return nodes.both(share) if binary else even_shares(nodes, share, len(estimator.classes_))

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        if not is_a(estimator, LinearDiscriminantAnalysis) or estimator.solver == "lsqr":
            return super().turn(estimator, nodes)
        scalings, matrix = estimator.scalings_[:, : estimator._max_components], nodes.matrix()
        if estimator.solver == "svd":
            matrix = nodes.add("Sub", matrix, nodes.row(estimator.xbar_))
        return [Block(nodes.linear(matrix, scalings, 0.0), scalings.shape[1])]


def even_shares(nodes: Nodes, values: str, classes: int) -> str:
    """Each row divided by its sum; a row of zeros makes all classes equally probable."""
    total = nodes.total(values)
    none = nodes.add("Equal", total, nodes.number(0.0))
    return nodes.add("Where", none, nodes.number(1.0 / classes), nodes.add("Div", values, total))


# --- Likelihoods of the classes: the largest wins, and the softmax of all are the probabilities.


class Likelihoods(Family):
    """Naive Bayes, the quadratic discriminant and the nearest centroid."""

    def takes(self, kind: type) -> bool:
        return kind in _JOINT

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        joint = _JOINT[type(estimator)](estimator, nodes, nodes.matrix())
        place, probabilities = nodes.largest(joint), nodes.add("Softmax", joint, axis=1)
        if is_a(estimator, NearestCentroid) and np.isclose(estimator.class_prior_, 1 / len(estimator.classes_)).all():
            # Where all classes are as frequent, its label is the nearest centre's, and not that of its probabilities.
            plain = np.ones(estimator.centroids_.shape[1])
            place = nodes.largest(_nearness(estimator, nodes, nodes.taken, plain))
        discriminates = is_a(estimator, QuadraticDiscriminantAnalysis | NearestCentroid)
        binary = len(estimator.classes_) == 2
        scores = joint if discriminates and not binary else ""
        if discriminates and binary:
            scores = nodes.add("Sub", nodes.pick(joint, [1]), nodes.pick(joint, [0]))
        return Answer(place=place, probabilities=probabilities, scores=scores)


def _gaussian(estimator: Any, nodes: Nodes, matrix: str) -> str:
    base = np.log(estimator.class_prior_) - 0.5 * np.log(2.0 * np.pi * estimator.var_).sum(axis=1)
    each = []
    for mean, variance, start in zip(estimator.theta_, estimator.var_, base, strict=True):
        away = nodes.add("Sub", matrix, nodes.row(mean))
        squares = nodes.total(nodes.add("Div", nodes.add("Mul", away, away), nodes.row(variance)))
        each.append(nodes.add("Sub", nodes.number(start), nodes.add("Mul", squares, nodes.number(0.5))))
    return nodes.join(each)


def _quadratic(estimator: Any, nodes: Nodes, matrix: str) -> str:
    each = []
    for place, (rotation, scaling) in enumerate(zip(estimator.rotations_, estimator.scalings_, strict=True)):
        away = nodes.add("Sub", matrix, nodes.row(estimator.means_[place]))
        turned = nodes.linear(away, rotation * scaling**-0.5, 0.0)
        norm = nodes.add("Add", nodes.total(nodes.add("Mul", turned, turned)), nodes.number(np.log(scaling).sum()))
        halved = nodes.add("Mul", norm, nodes.number(-0.5))
        each.append(nodes.add("Add", halved, nodes.number(np.log(estimator.priors_[place]))))
    return nodes.join(each)


def _bernoulli(estimator: Any, nodes: Nodes, matrix: str) -> str:
    if estimator.binarize is not None:
        matrix = nodes.double(nodes.add("Greater", matrix, nodes.number(estimator.binarize)))
    against = np.log(1 - np.exp(estimator.feature_log_prob_))
    weights = (estimator.feature_log_prob_ - against).T
    return nodes.linear(matrix, weights, estimator.class_log_prior_ + against.sum(axis=1))


def _multinomial(estimator: Any, nodes: Nodes, matrix: str) -> str:
    return nodes.linear(matrix, estimator.feature_log_prob_.T, estimator.class_log_prior_)


def _complement(estimator: Any, nodes: Nodes, matrix: str) -> str:
    return nodes.linear(matrix, estimator.feature_log_prob_.T, 0.0)


def _centroid(estimator: Any, nodes: Nodes, matrix: str) -> str:
    if estimator.metric != "euclidean":
        raise CannotExport(f"its metric is '{estimator.metric}'; use metric='euclidean'")
    if len(estimator.class_prior_) != len(estimator.centroids_):  # scikit-learn does not look
        raise CannotExport("its priors are not as many as its classes; give one for each")
    scale = np.asarray(estimator.within_class_std_dev_)
    return _nearness(estimator, nodes, matrix, np.where(scale == 0, 1.0, scale))


def _nearness(estimator: Any, nodes: Nodes, matrix: str, scale: Any) -> str:
    each = []
    for centre, prior in zip(estimator.centroids_, estimator.class_prior_, strict=True):
        away = nodes.add("Div", nodes.add("Sub", matrix, nodes.row(centre)), nodes.row(scale))
        squares = nodes.add("Neg", nodes.total(nodes.add("Mul", away, away)))
        each.append(nodes.add("Add", squares, nodes.number(2.0 * np.log(prior))))
    return nodes.join(each)


_JOINT: dict[type, Callable[[Any, Nodes, str], str]] = {
    naive_bayes.BernoulliNB: _bernoulli,
    naive_bayes.ComplementNB: _complement,
    naive_bayes.GaussianNB: _gaussian,
    naive_bayes.MultinomialNB: _multinomial,
    NearestCentroid: _centroid,
    QuadraticDiscriminantAnalysis: _quadratic,
}


# --- Networks of layers.

_ACTIVATIONS = {"identity": "", "logistic": "Sigmoid", "tanh": "Tanh", "relu": "Relu", "exp": "Exp"}


class Networks(Family):
    """`MLPRegressor` and `MLPClassifier`: a weighted sum and an activation for each layer."""

    def takes(self, kind: type) -> bool:
        return kind in (MLPClassifier, MLPRegressor)

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        layers: Sequence[Any] = [*zip(estimator.coefs_, estimator.intercepts_, strict=True)]
        value = nodes.matrix()
        for place, (weights, base) in enumerate(layers):
            value = nodes.linear(value, weights, base)
            last = place == len(layers) - 1
            activation = estimator.out_activation_ if last else estimator.activation
            if activation == "softmax":
                value = nodes.add("Softmax", value, axis=1)
            elif _ACTIVATIONS[activation]:
                value = nodes.add(_ACTIVATIONS[activation], value)
        if is_a(estimator, MLPRegressor):
            if estimator.n_outputs_ > 1:
                raise CannotExport("it answers several values a row; use one estimator for each")
            return Answer(values=value)
        if estimator.n_outputs_ == 1:
            return Answer(place=nodes.beyond(value, 0.5), probabilities=nodes.both(value))
        return Answer(place=nodes.largest(value), probabilities=value)


# --- The same answer for every row.


class Guesses(Family):
    """`DummyRegressor`, and `DummyClassifier` where it does not draw."""

    def takes(self, kind: type) -> bool:
        return kind in (DummyClassifier, DummyRegressor)

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        column, is_text = next(nodes.columns())
        gone = nodes.add("Equal", column, nodes.number(0.0)) if not is_text else _any_text(nodes, column)
        if is_a(estimator, DummyRegressor):
            value = nodes.row(np.ravel(estimator.constant_)[:1])
            return Answer(values=nodes.add("Where", gone, value, value))
        if estimator.strategy not in ("prior", "most_frequent", "constant"):
            raise CannotExport(f"strategy='{estimator.strategy}' draws its answers; use strategy='prior'")
        shares = np.asarray(estimator.predict_proba(np.zeros((1, 1)))).reshape(1, -1)
        probabilities = nodes.add("Where", gone, nodes.row(shares), nodes.row(shares))
        return Answer(place=nodes.largest(probabilities), probabilities=probabilities)


def _any_text(nodes: Nodes, column: str) -> str:
    marks = {"keys_strings": [""], "values_int64s": [1], "default_int64": 0}
    return nodes.add("Greater", nodes.add("LabelEncoder", column, domain="ai.onnx.ml", **marks), nodes.constant(0))


# --- Networks of other libraries.

_WRAPPERS = "starterkit.problem.networks"


class ExportedByLibrary(Family):
    """`TorchRegressor`, `KerasRegressor` and their classifiers."""

    def takes(self, kind: type) -> bool:
        return kind.__module__ == _WRAPPERS

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        write = _torch if type(estimator).__name__.startswith("Torch") else _keras
        model = _plain(estimator, write)
        value = nodes.double(_placed(model, nodes))
        nodes.canvas.single = True
        if hasattr(estimator, "classes_"):
            return Answer(place=nodes.largest(value), probabilities=nodes.add("Softmax", value, axis=1))
        scaled = nodes.add("Mul", value, nodes.number(estimator.scale_))
        return Answer(values=nodes.add("Add", scaled, nodes.number(estimator.mean_)))


def _plain(estimator: Any, write: Callable[[Any, int], onnx.ModelProto]) -> onnx.ModelProto:
    """The network as the library writes it, checked: any number of rows, one input, one output, the kit's opset."""
    try:
        model = write(estimator.live(), estimator.n_features_in_)
    except ImportError as error:
        raise CannotExport(f"its library's exporter needs the package '{error.name}'; install it") from error
    except Exception as error:  # an exporter may fail in any way
        raise CannotExport(f"its library cannot export it ({first_line(error)}); use other layers") from error
    model = inliner.inline_local_functions(model)
    if next(one.version for one in model.opset_import if not one.domain) != OPSET[""]:
        model = version_converter.convert_version(model, OPSET[""])
    if foreign := {node.domain for node in model.graph.node} - {"", "ai.onnx"}:
        raise CannotExport(f"its layers need operators of {', '.join(sorted(foreign))}; use other layers")
    given, made = model.graph.input, model.graph.output
    if len(given) != 1 or len(made) != 1:
        raise CannotExport("it has several inputs or outputs; let it take one matrix and give one")
    for name, one in (("takes", given[0]), ("gives", made[0])):
        if one.type.tensor_type.shape.dim and one.type.tensor_type.shape.dim[0].HasField("dim_value"):
            rows = one.type.tensor_type.shape.dim[0].dim_value
            raise CannotExport(f"it {name} {rows} rows at a time and no other number; leave its first axis open")
    return model


def _placed(model: onnx.ModelProto, nodes: Nodes) -> str:
    """Add the network's nodes and weights, under names that nothing else has; the name of its output comes back."""
    named = compose.add_prefix(model, f"{nodes.canvas.name('network')}.").graph
    nodes.add("Cast", nodes.matrix(), to=TensorProto.FLOAT, gives=named.input[0].name)
    nodes.canvas.constants.extend(named.initializer)
    nodes.canvas.nodes.extend(named.node)
    return named.output[0].name


def _torch(network: Any, inputs: int) -> onnx.ModelProto:
    torch: Any = import_module("torch")
    rows = {0: torch.export.Dim("rows", min=1)}
    with _quiet("torch.onnx", "onnxscript"):
        program = torch.onnx.export(
            network,
            (torch.zeros(4, inputs),),
            dynamo=True,
            dynamic_shapes=(rows,),
            opset_version=OPSET[""],
            verbose=False,
        )
    return program.model_proto


def _keras(network: Any, _: int) -> onnx.ModelProto:
    import_module("tf2onnx")  # Keras would say less of its absence
    with TemporaryDirectory() as folder, _quiet("tf2onnx", "tensorflow"):
        file = Path(folder, "network.onnx")
        network.export(str(file), format="onnx", opset_version=OPSET[""], verbose=False)
        return onnx.load(file)


@contextmanager
def _quiet(*names: str) -> Iterator[None]:
    """Exporters tell of opsets and passes that are nothing to who trains."""
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.ERROR)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
