"""`ParityProof`: the graph answers as the estimator does, over raw rows and inside its trees, or there is no export."""

from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from starterkit.contract import Parity
from starterkit.data.dataset import as_columns
from starterkit.errors import ContractError, ExportError
from starterkit.serving.graph import Graph, Session, as_prediction
from starterkit.settings import ExportSettings
from starterkit.training.agreement import Asked, Measure
from starterkit.training.export.conversion import Converted, Placed, bare, layout_of, refusal
from starterkit.training.export.probe import AT_THRESHOLD, cut_after, cut_before, flipped_leaves, plant
from starterkit.training.trainer import TrainedModel, unquoted

_SEED = 20041


class ParityProof:
    """Compares a trained model with its graph.

    Parameters
    ----------
    settings
        The largest differences that still count as the same answer.
    model, converted, graph
        What is compared: the model, what it was converted to, and the graph that is made of that at last.
    target
        The training side's target, whose standard deviation is the scale of a regression's differences.
    """

    def __init__(
        self,
        settings: ExportSettings,
        model: TrainedModel,
        converted: Converted,
        target: pd.Series,
        graph: bytes | None = None,
    ) -> None:
        self._task = model.problem.task
        classifies = self._task == "classification"
        self._measure = Measure(
            allowed=settings.probability_tolerance if classifies else settings.tolerance,
            scale=1.0 if classifies else float(target.std()),
            alone=settings.parity_rows // 100,
            unstable=settings.unstable,
        )
        self._model = model
        self._converted = converted
        columns = model.problem.features
        try:
            self._graph = Graph(graph or converted.graph, columns=columns, layout=layout_of(columns), task=self._task)
        except ContractError as error:
            raise refusal(model.estimator, error.what) from error

    def over(self, data: pd.DataFrame, drawn: pd.DataFrame) -> Parity:
        """The proof over every row of the data and n drawn ones, and over these in each ensemble of trees, too.

        Raises
        ------
        ExportError
            The two differ, the estimator is no function of its row, or it refuses the rows.
        """
        try:
            asked, made_up = (Asked(self._model.estimator, self._task, rows) for rows in (data, drawn))
        except (ValueError, TypeError) as error:
            what = f"the estimator refuses made-up rows that the schema allows: {unquoted(error)}"
            raise ExportError(what, "Let it take such rows (handle_unknown='ignore'), or narrow the schema") from error
        try:
            columns = as_columns(drawn)
            parity = asked.of_data(self._graph.answer(as_columns(data)), self._measure, self._last_trees())
            if parity.is_function:
                parity = parity.with_more(made_up.of_drawn(self._graph.answer(columns), self._measure))
                for placed in self._converted.placed:
                    to_trees = Session(cut_before(self._converted.graph, placed.taken))
                    parity = parity.with_more(self._probe(placed, to_trees.run(self._graph.feed(columns))[0]))
        except ContractError as error:
            raise refusal(self._model.estimator, error.what) from error
        if not parity.proven and parity.unstable:
            raise _no_function(self._model.estimator, parity)
        if not parity.proven:
            raise refusal(self._model.estimator, _difference(parity))
        return parity

    def _last_trees(self) -> Any:
        """The last step, where it is trees that the kit wrote: these look at each row by itself."""
        last = _last(bare(self._model.estimator))
        return next((last for placed in self._converted.placed if placed.estimator is last), None)

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
        allowed, scale = self._measure.allowed, self._measure.scale
        if placed.estimator is not self._last_trees():
            return Parity(rows=0, measure="", largest=0.0, allowed=allowed, scale=scale, **leaves)
        rows = rows[::AT_THRESHOLD]  # the others were compared from end to end
        answers = Session(cut_after(self._converted.graph, placed.taken)).run({placed.taken: rows})
        inside = placed.family.inside(placed.estimator)
        asked = Asked(inside, self._task, _as_fitted(inside, rows))
        return replace(asked.of_drawn(as_prediction(answers, self._task), self._measure), rows=0, **leaves)


def _difference(parity: Parity) -> str:
    what = f"the graph does not answer as the estimator does: {parity.measure} {parity.largest:.3g} over "
    what += f"{parity.rows:,} rows (allowed {parity.allowed:g})"
    if parity.probed:
        what += f" and {parity.probed:,} at thresholds, {parity.flipped_leaves:,} of these in another leaf"
    if parity.flipped_labels:
        what += f"; {parity.flipped_labels:,} labels changed"
    return what


def _no_function(estimator: Any, parity: Parity) -> ExportError:
    names = " → ".join(type(step).__name__ for _, step in estimator.steps) if hasattr(estimator, "steps") else ""
    what = f"{names or type(estimator).__name__} is no function of its row, so no graph can answer as it does: "
    what += f"{parity.on_instability} ({parity.unstable_allowed:.0%} allowed)"
    hint = "A sum that is rounded otherwise falls on the other side of a threshold. Round in front of the trees "
    hint += "(FunctionTransformer(np.round, kw_args={'decimals': 6})), or use a RandomForest or a smoother model"
    return ExportError(what, hint)


def _last(estimator: Any) -> Any:
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def _as_fitted(estimator: Any, rows: NDArray[np.float64]) -> pd.DataFrame:
    """With names where the trees were fitted with names: scikit-learn warns otherwise."""
    names = getattr(estimator, "feature_names_in_", None)
    return pd.DataFrame(rows, columns=getattr(estimator, "feature_names_", None) if names is None else names)
