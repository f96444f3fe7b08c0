"""The words that MLflow's pages show at the top of an experiment and of a run, and the columns of a table of runs.

Only carried here.
"""

import json
from collections.abc import Sequence

from starterkit.tracking.connection import Connection
from starterkit.tracking.failures import explained

_NOTE = "mlflow.note.content"
VIEW = "starterkit"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
"""Where MLflow's own "share this view" keeps what an address with `viewStateShareKey` shows."""


def describe_experiment(connection: Connection, experiment: str, text: str, metrics: Sequence[str]) -> None:
    """An experiment's words, and the metrics that its table of runs shows: MLflow shows none by itself."""
    columns = ["attributes.`Models`", *(f"metrics.`{name}`" for name in metrics)]
    with explained(connection.name):
        connection.client.set_experiment_tag(experiment, _NOTE, text)
        connection.client.set_experiment_tag(experiment, VIEW_TAG, json.dumps({"selectedColumns": columns}))


def describe_run(connection: Connection, run_id: str, text: str) -> None:
    """A run's words, whether it is open or not."""
    with explained(connection.name):
        connection.client.set_tag(run_id, _NOTE, text)
