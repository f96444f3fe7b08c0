"""What a run says of itself, for people who ask afterwards."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from starterkit.errors import TrackingError
from starterkit.tracking.connection import Connection, explained
from starterkit.tracking.notes import VIEW, VIEW_TAG

_MODE = "workflowType=machine_learning"  # MLflow opens on its pages for language models otherwise


@dataclass(frozen=True)
class RunRecord:
    """A run: its experiment, who started it and when, its figures and tags, and its page where a server has one."""

    name: str
    experiment: str
    user: str
    started: datetime
    metrics: Mapping[str, float]
    tags: Mapping[str, str]
    page: str


def look_up(connection: Connection, run_id: str) -> RunRecord | None:
    """A run by its id; None where this store does not have it: a version may have come from another server."""
    from mlflow.exceptions import MlflowException

    with explained(connection.name):
        try:
            run = connection.client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
    info, has_pages = run.info, connection.artifacts is None
    return RunRecord(
        name=info.run_name or "",
        experiment=info.experiment_id,
        user=info.user_id or run.data.tags.get("mlflow.user", ""),
        started=datetime.fromtimestamp((info.start_time or 0) / 1000, UTC),
        metrics=run.data.metrics,
        tags=run.data.tags,
        page=f"{connection.name}/#/experiments/{info.experiment_id}/runs/{run_id}?{_MODE}" if has_pages else "",
    )


def runs_page(connection: Connection, experiment: str) -> str:
    """Where MLflow's UI shows an experiment's runs, or all experiments if it is none, without the server's address."""
    with explained(connection.name):
        found = connection.client.get_experiment_by_name(experiment)
    if found is None:
        return f"#/experiments?{_MODE}"
    view = f"&viewStateShareKey={VIEW}" if VIEW_TAG in found.tags else ""  # without it MLflow complains
    return f"#/experiments/{found.experiment_id}/runs?{_MODE}{view}"


def fetch_file(connection: Connection, run_id: str, name: str, into: Path) -> Path | None:
    """A file or a folder that a run kept, copied to `into`; None where this store does not have it."""
    import mlflow.artifacts

    if look_up(connection, run_id) is None:
        return None
    with explained(connection.name):
        folder = name.rpartition("/")[0]
        if name not in (kept.path for kept in connection.client.list_artifacts(run_id, folder or None)):
            return None
        return Path(mlflow.artifacts.download_artifacts(run_id=run_id, artifact_path=name, dst_path=str(into)))


def keep_files(connection: Connection, run_id: str, folder: Path, place: str) -> None:
    """Log a folder's files with a run, open or not, below `place`.

    Raises
    ------
    TrackingError
        This store does not have the run, or cannot be written.
    """
    if look_up(connection, run_id) is None:
        raise TrackingError(f"MLflow at {connection.name} does not have run {run_id}", "Register the version again")
    with explained(connection.name):
        connection.client.log_artifacts(run_id, str(folder), place)


def fetch_model(connection: Connection, address: str, into: Path) -> None:
    """Copy a logged model's or a version's files to `into`, as they were logged: MLflow adds a note of its own."""
    import mlflow.artifacts
    from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME

    with explained(connection.name):
        mlflow.artifacts.download_artifacts(address, dst_path=str(into))
    (into / REGISTERED_MODEL_META_FILE_NAME).unlink(missing_ok=True)
