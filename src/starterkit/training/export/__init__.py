"""`OnnxExporter`: writes the exported folder, and only if the graph is proven to answer as the estimator does."""

import io
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from starterkit.contract import Contract, Lineage, Parity, Prediction
from starterkit.data.dataset import Dataset, as_columns
from starterkit.data.synthetic import draw_rows, typical_row
from starterkit.errors import ContractError, ExportError
from starterkit.files import whole_folder
from starterkit.serving.graph import Graph, Session, as_prediction
from starterkit.serving.predictor import CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE, sha256
from starterkit.settings import ExportSettings
from starterkit.training import TrainedModel, predict, rows_kept, unquoted
from starterkit.training.agreement import Asked, Measure, has_answers
from starterkit.training.export.conversion import Converted, Placed, bare, guarded, layout_of, refusal, to_graph
from starterkit.training.export.probe import AT_THRESHOLD, Reach, cut_after, cut_before, flipped_leaves, plant

_SAMPLE_ROWS = 64
_SEED = 20041
_ROUNDED = "; a network answers in float32: allow 1e-4 in export.tolerance or export.probability_tolerance"


@dataclass(frozen=True)
class ExportedModel:
    """A valid exported folder and the contract that lies in it."""

    folder: Path
    contract: Contract


class OnnxExporter:
    """Converts a trained model and proves parity over the holdout and rows drawn at random."""

    def __init__(self, settings: ExportSettings) -> None:
        self._settings = settings

    def export(self, model: TrainedModel, dataset: Dataset, folder: Path, lineage: Lineage) -> ExportedModel:
        """Write `folder` (graph, contract, parity sample). Where it fails, no folder is left.

        Raises
        ------
        ExportError
            The estimator cannot be converted, or the graph answers otherwise than the estimator.
        """
        problem = model.problem
        converted = to_graph(model.estimator, problem.features, problem.target.name)
        data = pd.concat([dataset.holdout.features, dataset.training.features], ignore_index=True)
        columns = Reach(problem.features, data, self._settings.reach).within(partial(has_answers, model))
        features, people = dataset.training.features, dataset.training.groups
        drawn = draw_rows(columns, features, self._settings.parity_rows, _SEED, people)
        graph = guarded(converted.graph, columns)
        proof = ParityProof(self._settings, model, converted, dataset.training.target, graph)
        parity = proof.over(data, drawn)
        sample = _sample(model, drawn.head(_SAMPLE_ROWS))
        contract = Contract(
            problem=problem.name,
            title=problem.title,
            task=problem.task,
            columns=columns,
            target=problem.target,
            layout=layout_of(problem.features),
            example=typical_row(problem.features, features, people),
            parity=parity,
            lineage=lineage,
            classes=model.classes,
            probabilities=model.evaluation.prediction.probabilities is not None or not model.classes,
            decision_values=proof.decides,
            dialect=dataset.dialect,
            keeps_rows=rows_kept(model.estimator),
            scores=_scores(model),
            digests={GRAPH_FILE: sha256(graph), SAMPLE_FILE: sha256(sample)},
        )
        files = {GRAPH_FILE: graph, SAMPLE_FILE: sample, CONTRACT_FILE: contract.to_json().encode()}
        _write_whole(folder, files)
        return ExportedModel(folder, contract)


def _scores(model: TrainedModel) -> dict[str, tuple[float, float | None]]:
    """The figures over the holdout that are numbers, the deciding metric's first."""
    found, naive = model.evaluation.scores, model.baseline.scores
    names = sorted(found, key=lambda name: name != model.problem.deciding_metric.name)
    told = {name: value if (value := naive.get(name)) is not None and np.isfinite(value) else None for name in names}
    return {name: (float(found[name]), told[name]) for name in names if np.isfinite(found[name])}


def _sample(model: TrainedModel, rows: pd.DataFrame) -> bytes:
    """A few made-up rows with the estimator's answers, for every later opener of the folder to answer again."""
    answers: Prediction = predict(model.estimator, model.problem.task, rows)
    arrays = {f"column.{name}": _plain(values) for name, values in as_columns(rows).items()}
    arrays["values"] = _plain(answers.values)
    behind = {"probabilities": answers.probabilities, "decision_values": answers.decision_values}
    arrays |= {name: numbers for name, numbers in behind.items() if numbers is not None}
    buffer = io.BytesIO()
    np.savez_compressed(buffer, allow_pickle=False, **arrays)
    return buffer.getvalue()


def _plain(values: np.ndarray) -> np.ndarray:
    """Texts as a fixed-width array, which numpy can store without pickling. A missing one is empty."""
    if values.dtype != object:
        return values
    return np.array([value if isinstance(value, str) else "" for value in values], dtype=str)


def _write_whole(folder: Path, files: dict[str, bytes]) -> None:
    folder = folder.resolve()
    if folder.exists() and not (folder.is_dir() and {path.name for path in folder.iterdir()} <= files.keys()):
        raise ExportError(f"'{folder}' holds something else than an exported model", "Name a new or an empty folder")
    try:
        with whole_folder(folder) as new:
            for name, content in files.items():
                (new / name).write_bytes(content)
    except OSError as error:
        raise ExportError(f"'{folder}' cannot be written: {error.strerror}", "Free space or choose another") from error


# --- The proof: the graph answers as the estimator does, over raw rows and inside its trees, or there is no export.


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
        allowed = settings.probability_tolerance if classifies else settings.tolerance
        self._measure = Measure(
            allowed=allowed,
            near_tie=2 * allowed if converted.single else 0.0,
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

    @property
    def decides(self) -> bool:
        """Whether the graph answers decision values."""
        return self._graph.decides

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
        if asked.answers.decision_values is not None:  # these have a size of their own
            self._measure = replace(self._measure, scale=float(asked.answers.decision_values.std()) or 1.0)
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
            told = _difference(parity)
            raise refusal(
                self._model.estimator, told.replace("; ", ", ") + _ROUNDED if self._converted.single else told
            )
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
