"""Train once more, by itself and without MLflow: ``python -m starterkit.lineage.again FOLDER``.

`starterkit reproduce` calls this in a checkout of an earlier commit, with that commit's own code. So what it takes
and leaves is a promise between commits; add to it, and change nothing:

- the working directory is the repository, `KIT_…` variables are its settings;
- ``FOLDER/parameters.json`` holds the estimator's parameters, ``FOLDER/registered/`` the exported folder to compare,
  ``FOLDER/rows.npz`` the record of the rows of then, where its run has one;
- it leaves ``FOLDER/exported/``, ``FOLDER/answers.npz`` with the answers of both over the holdout (``registered``,
  ``again`` and, from a classifier, ``registered_probabilities`` and ``again_probabilities``), and
  ``FOLDER/facts.json``, which holds what was found, also where it failed.
"""

import inspect
import json
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np

from starterkit.contract import Lineage, Prediction
from starterkit.data import ROWS_FILE, DatasetReader, RowRecord
from starterkit.errors import KitError
from starterkit.export import OnnxExporter
from starterkit.inference import GRAPH_FILE, Predictor
from starterkit.lineage.description import plain
from starterkit.lineage.packages import beside_lock
from starterkit.lineage.provenance import LOCK, lock_digest
from starterkit.problem import Problem, find_problem
from starterkit.settings import Settings, TrainingSettings, load_settings
from starterkit.training import Trainer

_FAILED = 3


def train_again(folder: Path, facts: dict[str, Any]) -> None:
    """Do it, and put each thing into `facts` as soon as it is known."""
    settings, problem = load_settings(Path.cwd()), find_problem()
    facts |= {"python": platform.python_version(), "lock_digest": lock_digest(settings.root)}
    asked = json.loads((folder / "parameters.json").read_text("utf-8"))
    trainer = Trainer(problem, _training(problem, settings, asked))
    facts["parameters"] = plain(trainer.parameters)
    dataset = DatasetReader(problem, settings.data, settings.root, settings.stage).read()
    facts |= {"data_digest": dataset.digest, "holdout_digest": dataset.holdout.digest, "rows": len(dataset)}
    kept = folder / ROWS_FILE
    record = RowRecord.from_bytes(kept.read_bytes() if kept.exists() else None, "the version's run")
    if record and (moved := record.new_and_gone(dataset)):
        facts["rows_new"], facts["rows_gone"] = moved
    model = trainer.fit(dataset)
    facts["beside_lock"] = beside_lock(settings.root / LOCK, model.estimator)
    lineage = Lineage(
        stage=settings.stage,
        run="",
        commit="",
        dirty=False,
        lock_digest=facts["lock_digest"],
        data_source=dataset.source,
        data_digest=dataset.digest,
        holdout_digest=dataset.holdout.digest,
    )
    exported = OnnxExporter(settings.export).export(model, dataset, folder / "exported", lineage)
    facts["graph_digest"] = exported.contract.digests[GRAPH_FILE]
    columns, answers = dataset.holdout.columns, {}
    for name in ("registered", "again"):
        opened = Predictor(folder / ("registered" if name == "registered" else "exported"))
        answers |= _as_arrays(name, opened.predict(columns))
    np.savez(folder / "answers.npz", allow_pickle=False, **answers)


def _training(problem: Problem, settings: Settings, asked: dict[str, Any]) -> TrainingSettings:
    """The settings with the parameters asked for, as far as this commit's estimator knows them.

    What was shown by its text alone, because no setting can say it, is left to the estimator's own default.
    """
    own = {name: parameter.default for name, parameter in inspect.signature(problem.estimator).parameters.items()}
    shown = plain(own)
    given = {
        name: value
        for name, value in asked.items()
        if name in own and (shown[name] != value or isinstance(own[name], type(value)))
    }
    return settings.training.model_copy(update={"params": given})


def _as_arrays(name: str, prediction: Prediction) -> dict[str, Any]:
    values = prediction.values
    arrays = {name: values.astype(str) if values.dtype == object else values}
    if prediction.probabilities is not None:
        arrays[f"{name}_probabilities"] = prediction.probabilities
    return arrays


def main(folder: Path) -> int:
    """Train, and leave in `facts.json` what was found or what stood in the way."""
    facts: dict[str, Any] = {"code": __file__}
    try:
        train_again(folder, facts)
    except KitError as error:
        facts["error"] = {"what": error.what, "mend": error.mend}
    (folder / "facts.json").write_text(json.dumps(facts), "utf-8")
    return _FAILED if "error" in facts else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
