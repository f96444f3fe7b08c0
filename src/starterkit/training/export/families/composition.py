"""What holds other estimators in a row or side by side: pipelines, column transformers, unions, searches."""

from typing import Any

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, RandomizedSearchCV
from sklearn.pipeline import FeatureUnion, Pipeline

from starterkit.training.export.families.family import Family
from starterkit.training.export.families.nodes import Answer, Block, Nodes, is_a

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
