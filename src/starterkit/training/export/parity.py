"""`ParityProof`: the graph answers as the estimator does, over raw rows and inside its trees, or there is no export."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from starterkit.contract import Parity, Prediction
from starterkit.data.dataset import as_columns
from starterkit.errors import ContractError, ExportError
from starterkit.serving.graph import Graph, Session, as_prediction
from starterkit.serving.predictor import compare
from starterkit.settings import ExportSettings
from starterkit.training.export.conversion import Converted, Placed, bare, layout_of, refusal
from starterkit.training.export.probe import cut_after, cut_before, flipped_leaves, plant
from starterkit.training.trainer import TrainedModel, predict, unquoted

_SEED = 20041


class ParityProof:
    """Compares a trained model with its graph.

    Parameters
    ----------
    settings
        The largest differences that still count as the same answer.
    model, converted
        The two that are compared.
    target
        The training side's target, whose standard deviation is the scale of a regression's differences.
    """

    def __init__(self, settings: ExportSettings, model: TrainedModel, converted: Converted, target: pd.Series) -> None:
        self._task = model.problem.task
        classifies = self._task == "classification"
        self._allowed = settings.probability_tolerance if classifies else settings.tolerance
        self._scale = 1.0 if classifies else float(target.std())
        self._model = model
        self._converted = converted
        columns = model.problem.features
        try:
            self._graph = Graph(converted.graph, columns=columns, layout=layout_of(columns), task=self._task)
        except ContractError as error:
            raise refusal(model.estimator, error.what) from error

    def over(self, rows: pd.DataFrame) -> Parity:
        """The proof over n raw rows, and over as many in each ensemble of trees that the graph holds.

        Raises
        ------
        ExportError
            The two differ, or the estimator refuses the rows.
        """
        try:
            expected = predict(self._model.estimator, self._task, rows)
        except (ValueError, TypeError) as error:
            what = f"the estimator refuses made-up rows that the schema allows: {unquoted(error)}"
            raise ExportError(what, "Let it take such rows (handle_unknown='ignore'), or narrow the schema") from error
        try:
            columns = as_columns(rows)
            parity = self._compare(expected, self._graph.answer(columns))
            for placed in self._converted.placed:
                to_trees = Session(cut_before(self._converted.graph, placed.taken))
                parity = parity.with_more(self._probe(placed, to_trees.run(self._graph.feed(columns))[0]))
        except ContractError as error:
            raise refusal(self._model.estimator, error.what) from error
        if not parity.proven:
            raise refusal(self._model.estimator, _difference(parity))
        return parity

    def _probe(self, placed: Placed, rows: NDArray[np.float64]) -> Parity:
        """The trees alone, over rows of which a third lie right at a threshold."""
        trees, _ = placed.family.describe(placed.estimator)
        planted = plant(rows, trees, np.random.default_rng(_SEED))
        rows = planted.rows
        leaves = {
            "probed": len(rows),
            "splits_met": planted.splits,
            "splits": int((trees.feature >= 0).sum()),
            "flipped_leaves": flipped_leaves(placed, trees, rows),
        }
        if placed.estimator is not _last(bare(self._model.estimator)):
            return Parity(rows=0, measure="", largest=0.0, allowed=self._allowed, scale=self._scale, **leaves)
        answers = Session(cut_after(self._converted.graph, placed.taken)).run({placed.taken: rows})
        expected = predict(placed.estimator, self._task, _as_fitted(placed, rows))
        return replace(self._compare(expected, as_prediction(answers, self._task)), rows=0, **leaves)

    def _compare(self, expected: Prediction, answered: Prediction) -> Parity:
        return compare(expected, answered, allowed=self._allowed, scale=self._scale)


def _difference(parity: Parity) -> str:
    what = f"the graph does not answer as the estimator does: {parity.measure} {parity.largest:.3g} over "
    what += f"{parity.rows:,} rows (allowed {parity.allowed:g})"
    if parity.probed:
        what += f" and {parity.probed:,} at thresholds, {parity.flipped_leaves:,} of these in another leaf"
    if parity.flipped_labels:
        what += f"; {parity.flipped_labels:,} labels changed"
    return what


def _last(estimator: Any) -> Any:
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def _as_fitted(placed: Placed, rows: NDArray[np.float64]) -> Any:
    """With names where the trees were fitted with names: scikit-learn warns otherwise."""
    names = getattr(placed.estimator, "feature_names_in_", None)
    return rows if names is None else pd.DataFrame(rows, columns=names)
