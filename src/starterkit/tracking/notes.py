"""The words that MLflow's pages show at the top of an experiment and of a run. Only carried here."""

from starterkit.tracking.connection import Connection
from starterkit.tracking.failures import explained

_NOTE = "mlflow.note.content"


def describe_experiment(connection: Connection, experiment: str, text: str) -> None:
    with explained(connection.name):
        connection.client.set_experiment_tag(experiment, _NOTE, text)


def describe_run(connection: Connection, run_id: str, text: str) -> None:
    """A run's words, whether it is open or not."""
    with explained(connection.name):
        connection.client.set_tag(run_id, _NOTE, text)
