"""`OnnxExporter`: writes the exported folder, and only if the graph is proven to answer as the estimator does."""

import io
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from starterkit.contract import Contract, Lineage, Prediction
from starterkit.data.dataset import Dataset, as_columns
from starterkit.data.synthetic import draw_rows, typical_row
from starterkit.errors import ExportError
from starterkit.files import whole_folder
from starterkit.serving.predictor import CONTRACT_FILE, GRAPH_FILE, SAMPLE_FILE, sha256
from starterkit.settings import ExportSettings
from starterkit.training.agreement import has_answers
from starterkit.training.export.conversion import guarded, layout_of, to_graph
from starterkit.training.export.parity import ParityProof
from starterkit.training.export.probe import Reach
from starterkit.training.trainer import TrainedModel, predict, rows_kept

_SAMPLE_ROWS = 64
_SEED = 20041


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
            dialect=dataset.dialect,
            keeps_rows=rows_kept(model.estimator),
            digests={GRAPH_FILE: sha256(graph), SAMPLE_FILE: sha256(sample)},
        )
        files = {GRAPH_FILE: graph, SAMPLE_FILE: sample, CONTRACT_FILE: contract.to_json().encode()}
        _write_whole(folder, files)
        return ExportedModel(folder, contract)


def _sample(model: TrainedModel, rows: pd.DataFrame) -> bytes:
    """A few made-up rows with the estimator's answers, for every later opener of the folder to answer again."""
    answers: Prediction = predict(model.estimator, model.problem.task, rows)
    arrays = {f"column.{name}": _plain(values) for name, values in as_columns(rows).items()}
    arrays["values"] = _plain(answers.values)
    if answers.probabilities is not None:
        arrays["probabilities"] = answers.probabilities
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
