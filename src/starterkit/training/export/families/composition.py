"""What holds other estimators in a row or side by side, and what changes a predictor's answers."""

from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer, TransformedTargetRegressor
from sklearn.frozen import FrozenEstimator
from sklearn.isotonic import IsotonicRegression
from sklearn.model_selection import (
    FixedThresholdClassifier,
    GridSearchCV,
    RandomizedSearchCV,
    TunedThresholdClassifierCV,
)
from sklearn.pipeline import FeatureUnion, Pipeline

from starterkit.training.export.families.ensembles import averaged, response_of
from starterkit.training.export.families.functions import interpolated
from starterkit.training.export.families.linear import even_shares
from starterkit.training.export.families.nodes import Answer, Block, CannotExport, Family, Nodes, is_a
from starterkit.training.export.families.preprocessing import Turning

# --- Pipelines, column transformers, unions, searches.


_NOTHING = (None, "passthrough")


def bare(estimator: Any) -> Any:
    """The estimator without the search that found it, and without steps that do nothing."""
    while hasattr(estimator, "best_estimator_") or is_a(estimator, FrozenEstimator):
        estimator = estimator.estimator if is_a(estimator, FrozenEstimator) else estimator.best_estimator_
    if is_a(estimator, Pipeline):
        steps = [(name, bare(step)) for name, step in estimator.steps if step not in _NOTHING]
        return Pipeline(steps) if steps else estimator
    return estimator


class Chain(Family):
    """`Pipeline`, and a search's best estimator."""

    def takes(self, kind: type) -> bool:
        return kind in (FrozenEstimator, GridSearchCV, Pipeline, RandomizedSearchCV) or kind.__name__.startswith(
            "Halving"
        )

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        estimator = bare(estimator)
        if not is_a(estimator, Pipeline):
            return nodes.answer(estimator, nodes.blocks)
        blocks = self._through(estimator.steps[:-1], nodes)
        name, last = estimator.steps[-1]
        if type(last).__module__.startswith("xgboost.") and any(_is_sparse(step) for _, step in estimator.steps):
            blocks = [_without_zeros(block, nodes) for block in blocks]
        return nodes.answer(last, blocks, name)

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        estimator = bare(estimator)
        if not is_a(estimator, Pipeline):
            return nodes.turn(estimator, nodes.blocks)
        return self._through([step for step in estimator.steps if step[1] not in _NOTHING], nodes)

    def _through(self, steps: list[tuple[str, Any]], nodes: Nodes) -> list[Block]:
        blocks = list(nodes.blocks)
        for name, step in steps:
            blocks = nodes.turn(step, blocks, name)
        return blocks


class SideBySide(Family):
    """`ColumnTransformer` and `FeatureUnion`: what several make of some or of all columns."""

    def takes(self, kind: type) -> bool:
        return kind in (ColumnTransformer, FeatureUnion)

    def turn(self, estimator: Any, nodes: Nodes) -> list[Block]:
        weights = estimator.transformer_weights or {}
        if is_a(estimator, FeatureUnion):
            parts = [(name, part, nodes.blocks) for name, part in estimator.transformer_list if part != "drop"]
        else:
            places = estimator._transformer_to_input_indices
            parts = [
                (name, part, nodes.select(list(np.atleast_1d(places[name]))))
                for name, part, _ in estimator.transformers_
                if not isinstance(part, str) or part != "drop"
            ]
        made = []
        for name, part, blocks in parts:
            if not blocks:
                continue
            given = isinstance(part, str) and part == "passthrough"
            made += _weighed(list(blocks) if given else nodes.turn(part, blocks, name), weights.get(name), nodes)
        return made


def _weighed(blocks: list[Block], weight: float | None, nodes: Nodes) -> list[Block]:
    if weight is None or weight == 1.0:
        return blocks
    return [Block(nodes.add("Mul", block.name, nodes.number(weight)), block.width) for block in blocks]


# --- XGBoost takes what a sparse matrix does not hold for missing.


def _is_sparse(step: Any) -> bool:
    return getattr(step, "sparse_output_", getattr(step, "sparse_output", False)) is True


def _without_zeros(block: Block, nodes: Nodes) -> Block:
    none = nodes.add("Equal", block.name, nodes.number(0.0))
    return Block(nodes.add("Where", none, nodes.number(np.nan), block.name), block.width)


# --- Calibration, moved thresholds, transformed targets, isotonic steps.


class TransformedTargets(Family):
    """`TransformedTargetRegressor`: the way back, behind the regressor."""

    def takes(self, kind: type) -> bool:
        return kind is TransformedTargetRegressor

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        values = nodes.answer(estimator.regressor_, nodes.blocks, "regressor").values
        transformer = estimator.transformer_
        family = nodes.canvas.find(transformer)
        if not isinstance(family, Turning):
            raise CannotExport(f"its transformer {type(transformer).__name__} has no way back; use PowerTransformer")
        return Answer(values=family.back(transformer, nodes, values))


class Isotonic(Family):
    """`IsotonicRegression` of one column."""

    def takes(self, kind: type) -> bool:
        return kind is IsotonicRegression

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        if nodes.width != 1:
            raise CannotExport("it takes one column; choose one in front of it")
        if estimator.out_of_bounds == "nan":
            raise CannotExport("it has no answer beyond what it has seen; use out_of_bounds='clip'")
        return Answer(values=isotonic(estimator, nodes, nodes.matrix()))


def isotonic(estimator: Any, nodes: Nodes, column: str) -> str:
    """Straight lines between the fitted steps."""
    knots, values = estimator.X_thresholds_, estimator.y_thresholds_
    if len(knots) == 1:
        knots, values = np.append(knots, knots + 1.0), np.append(values, values)
    found = interpolated(nodes, column, knots, values)
    if estimator.out_of_bounds != "nan":
        return found
    outside = nodes.add(
        "Or",
        nodes.add("Less", column, nodes.number(estimator.X_min_)),
        nodes.add("Greater", column, nodes.number(estimator.X_max_)),
    )
    return nodes.add("Where", outside, nodes.number(np.nan), found)


class Calibrated(Family):
    """`CalibratedClassifierCV`: sigmoid, isotonic and temperature."""

    def takes(self, kind: type) -> bool:
        return kind is CalibratedClassifierCV

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        mean = averaged(nodes, [self._one(one, nodes) for one in estimator.calibrated_classifiers_])
        return Answer(place=nodes.largest(mean), probabilities=mean)

    def _one(self, calibrated: Any, nodes: Nodes) -> str:
        inner, classes = calibrated.estimator, len(calibrated.classes)
        if len(inner.classes_) != classes:
            raise CannotExport("one of its folds lacks a class; give it more rows of each")
        answer = nodes.answer(inner, nodes.blocks, "estimator")
        said = response_of(inner, nodes, answer, "decision_function", "predict_proba")
        if calibrated.method == "temperature":
            return self._heated(calibrated, nodes, said, classes)
        if classes == 2:
            return nodes.both(self._by(calibrated.calibrators[0], nodes, said))
        each = [self._by(one, nodes, nodes.pick(said, [place])) for place, one in enumerate(calibrated.calibrators)]
        return even_shares(nodes, nodes.join(each), classes)

    def _by(self, calibrator: Any, nodes: Nodes, said: str) -> str:
        if isinstance(calibrator, IsotonicRegression):
            return isotonic(calibrator, nodes, said)
        score = nodes.add("Mul", said, nodes.number(calibrator.a_))
        return nodes.sigmoid(nodes.add("Neg", nodes.add("Add", score, nodes.number(calibrator.b_))))

    def _heated(self, calibrated: Any, nodes: Nodes, said: str, classes: int) -> str:
        decides = hasattr(calibrated.estimator, "decision_function")
        if decides and classes > 2:
            # scikit-learn looks at all rows at once to tell scores from probabilities.
            raise CannotExport("method='temperature' over decision values answers by all rows; use method='sigmoid'")
        if decides:
            logits = nodes.join([nodes.add("Neg", said), said])
        else:
            shares = nodes.both(said) if classes == 2 else said
            logits = nodes.add("Log", nodes.add("Add", shares, nodes.number(1e-12)))
        heat = nodes.add("Mul", logits, nodes.number(float(calibrated.calibrators[0].beta_)))
        return nodes.add("Softmax", heat, axis=1)


class Thresholds(Family):
    """`FixedThresholdClassifier` and `TunedThresholdClassifierCV`: the second class from the threshold on."""

    def takes(self, kind: type) -> bool:
        return kind in (FixedThresholdClassifier, TunedThresholdClassifierCV)

    def answer(self, estimator: Any, nodes: Nodes) -> Answer:
        inner = getattr(estimator, "estimator_", estimator.estimator)
        answer = nodes.answer(inner, nodes.blocks, "estimator")
        asked = estimator._get_response_method()
        methods = [asked] if isinstance(asked, str) else list(asked)
        score = response_of(inner, nodes, answer, *methods)
        shares = next(one for one in methods if hasattr(inner, one)) == "predict_proba"
        if is_a(estimator, FixedThresholdClassifier):
            positive, limit = estimator.pos_label, estimator.threshold
            limit = (0.5 if shares else 0.0) if limit == "auto" else limit
        else:
            positive, limit = estimator._curve_scorer._get_pos_label(), estimator.best_threshold_
        if positive is not None and positive != estimator.classes_[1]:
            raise CannotExport("its pos_label is the first class; leave it out, and name the classes the other way")
        place = nodes.beyond(score, float(limit), also_at=True)
        return Answer(place=place, probabilities=answer.probabilities, scores=answer.scores)
