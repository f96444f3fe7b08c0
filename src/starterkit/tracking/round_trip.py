"""Proof that a client can really use the store: what is written comes back."""

from importlib.metadata import version
from pathlib import Path

from starterkit.errors import TrackingError
from starterkit.scratch import scratch_folder
from starterkit.tracking.connection import Connection, ask_version
from starterkit.tracking.failures import explained

_EXPERIMENT = "starterkit-doctor"


def check_round_trip(connection: Connection) -> str:
    """Write an artifact, read it back, delete its run; say in words what answered.

    Raises
    ------
    TrackingError
        The store does not answer, cannot be written, or its server is of another MLflow than the client.
    """
    import mlflow.artifacts

    client = connection.client
    with explained(connection.name), scratch_folder() as scratch:
        found = client.get_experiment_by_name(_EXPERIMENT)
        experiment = found.experiment_id if found else client.create_experiment(_EXPERIMENT, connection.artifacts)
        run = client.create_run(experiment).info
        try:
            client.log_text(run.run_id, "well", "proof.txt")
            back = mlflow.artifacts.download_artifacts(f"runs:/{run.run_id}/proof.txt", dst_path=str(scratch))
            if Path(back).read_text() != "well":
                raise TrackingError("MLflow gives another artifact back than was written", "Check its artifact store")
        finally:
            client.delete_run(run.run_id)
    ours = version("mlflow")
    theirs = "" if connection.artifacts else ask_version(connection.uri, connection.name)
    if theirs[:1].isdigit() and theirs != ours:  # a gateway in front may answer with a page of its own
        mend = "Install the same version on both sides; requirements.txt pins the client's"
        raise TrackingError(f"the server runs MLflow {theirs}, the client {ours}", mend)
    return f"MLflow {ours}, an artifact was written and read back"
