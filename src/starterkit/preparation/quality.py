"""How good a model the treated rows make, beside one of the raw rows."""

from typing import Any

from starterkit.data.dataset import Table
from starterkit.errors import KitError
from starterkit.problem import Problem
from starterkit.settings import TrainingSettings
from starterkit.training import Trainer


def compare_quality(problem: Problem, training: TrainingSettings, raw: Table, treated: Table) -> dict[str, Any]:
    """The deciding metric of the problem's estimator, trained and scored on raw rows and on treated ones, one seed."""
    trainer = Trainer(problem, training)
    found: dict[str, Any] = {"metric": problem.metric}
    for name, table in (("raw", raw), ("treated", treated)):
        try:
            model = trainer.fit(table.apart(problem, "the data"))
        except KitError as error:  # what the estimator cannot do is worth a word, and hinders nobody
            return {**found, "not_measured": f"{name} rows: {error.what}"}
        found[name] = model.evaluation.scores[problem.metric]
        found[f"naive_{name}"] = model.baseline.scores[problem.metric]
    return found
