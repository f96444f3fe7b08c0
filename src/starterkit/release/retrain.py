"""Train once more, by itself and without MLflow: ``python -m starterkit.release.retrain FOLDER``.

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

from starterkit.data import DatasetReader
from starterkit.data.dataset import ROWS_FILE, RowRecord
from starterkit.errors import KitError
from starterkit.problem import Problem, find_problem
from starterkit.release.provenance import LOCK, beside_lock, describe, lock_digest, plain
from starterkit.release.reproducer import write_answers
from starterkit.serving.predictor import GRAPH_FILE, Predictor
from starterkit.settings import Settings, TrainingSettings, load_settings
from starterkit.training import Trainer
from starterkit.training.export import OnnxExporter


def train_again(folder: Path, facts: dict[str, Any]) -> None:
    """Do it, and put each thing into `facts` as soon as it is known."""
    settings, problem = load_settings(Path.cwd()), find_problem()
    facts |= {"python": platform.python_version(), "lock_digest": lock_digest(settings.root)}
    asked = json.loads((folder / "parameters.json").read_text("utf-8"))
    trainer = Trainer(problem, _training(problem, settings, asked))
    facts["parameters"] = plain(trainer.parameters)
    dataset = DatasetReader.of(problem, settings).read()
    facts |= {"data_digest": dataset.digest, "holdout_digest": dataset.holdout.digest, "rows": len(dataset)}
    kept = folder / ROWS_FILE
    record = RowRecord.from_bytes(kept.read_bytes() if kept.exists() else None, "the version's run")
    if record and (moved := record.new_and_gone(dataset)):
        facts["rows_new"], facts["rows_gone"] = moved
    model = trainer.fit(dataset)
    facts["beside_lock"] = beside_lock(settings.root / LOCK, model.estimator)
    lineage = describe(settings, "", dataset.identity, trainer.parameters)
    exported = OnnxExporter(settings.export).export(model, dataset, folder / "exported", lineage)
    facts["graph_digest"] = exported.contract.digests[GRAPH_FILE]
    opened = (Predictor(folder / name) for name in ("registered", "exported"))
    write_answers(folder, *(predictor.predict(dataset.holdout.columns) for predictor in opened))


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


def main(folder: Path) -> None:
    """Train, and leave in `facts.json` what was found or what stood in the way."""
    facts: dict[str, Any] = {"code": __file__}
    try:
        train_again(folder, facts)
    except KitError as error:
        facts["error"] = {"what": error.what, "mend": error.hint}
    (folder / "facts.json").write_text(json.dumps(facts), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
