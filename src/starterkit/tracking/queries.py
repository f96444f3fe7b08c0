"""What a run says of itself, the words on its page, and the proof that a store can really be used."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from starterkit.errors import TrackingError
from starterkit.files import scratch_folder
from starterkit.tracking.connection import Connection, ask_for, ask_version, explained

# --- What a run says of itself, for people who ask afterwards.

MODE = "workflowType=machine_learning"  # MLflow opens on its pages for language models otherwise
VIEW = "starterkit"
VIEW_TAG = f"mlflow.sharedViewState.{VIEW}"
"""Where MLflow's own "share this view" keeps what an address with `viewStateShareKey` shows."""


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
    run = ask_for(connection.client.get_run, run_id)
    if run is None:
        return None
    info, has_pages = run.info, connection.artifacts is None
    return RunRecord(
        name=info.run_name or "",
        experiment=info.experiment_id,
        user=info.user_id or run.data.tags.get("mlflow.user", ""),
        started=datetime.fromtimestamp((info.start_time or 0) / 1000, UTC),
        metrics=run.data.metrics,
        tags=run.data.tags,
        page=f"{connection.name}/#/experiments/{info.experiment_id}/runs/{run_id}?{MODE}" if has_pages else "",
    )


def runs_page(connection: Connection, experiment: str) -> str:
    """Where MLflow's UI shows an experiment's runs, or all experiments if it is none, without the server's address."""
    known = connection.client.get_experiment_by_name(experiment)
    if known is None:
        return f"#/experiments?{MODE}"
    view = f"&viewStateShareKey={VIEW}" if VIEW_TAG in known.tags else ""  # without it MLflow complains
    return f"#/experiments/{known.experiment_id}/runs?{MODE}{view}"


def fetch_file(connection: Connection, run_id: str, name: str, into: Path) -> Path | None:
    """A file or a folder that a run kept, copied to `into`; None where this store does not have it."""
    if look_up(connection, run_id) is None:
        return None
    folder = name.rpartition("/")[0]
    if name not in (kept.path for kept in connection.client.list_artifacts(run_id, folder or None)):
        return None
    return Path(connection.client.download_artifacts(run_id, name, str(into)))


def read_file(connection: Connection, run_id: str, name: str) -> bytes | None:
    """A file that a run kept; None where this store does not have it."""
    with scratch_folder() as scratch:
        kept = fetch_file(connection, run_id, name, scratch)
        return kept.read_bytes() if kept else None


def keep_files(connection: Connection, run_id: str, folder: Path, place: str) -> None:
    """Log a folder's files with a run, open or not, below `place`.

    Raises
    ------
    TrackingError
        This store does not have the run, or cannot be written.
    """
    if look_up(connection, run_id) is None:
        raise TrackingError(f"MLflow at {connection.name} does not have run {run_id}", "Register the version again")
    connection.client.log_artifacts(run_id, str(folder), place)


def fetch_model(connection: Connection, address: str, into: Path) -> None:
    """Copy a logged model's or a version's files to `into`, as they were logged: MLflow adds a note of its own."""
    import mlflow.artifacts
    from mlflow.store.artifact.models_artifact_repo import REGISTERED_MODEL_META_FILE_NAME

    into.mkdir(exist_ok=True)
    with explained(connection.name):
        mlflow.artifacts.download_artifacts(address, dst_path=str(into))
    (into / REGISTERED_MODEL_META_FILE_NAME).unlink(missing_ok=True)


# --- The words at the top of an experiment and of a run, and the columns of a table of runs. Only carried here.

_NOTE = "mlflow.note.content"


def describe_experiment(connection: Connection, experiment: str, text: str, metrics: Sequence[str]) -> None:
    """An experiment's words, and the metrics that its table of runs shows: MLflow shows none by itself."""
    columns = ["attributes.`Models`", *(f"metrics.`{name}`" for name in metrics)]
    connection.client.set_experiment_tag(experiment, _NOTE, text)
    connection.client.set_experiment_tag(experiment, VIEW_TAG, json.dumps({"selectedColumns": columns}))


def describe_run(connection: Connection, run_id: str, text: str) -> None:
    """A run's words, whether it is open or not."""
    connection.client.set_tag(run_id, _NOTE, text)


# --- Proof that a client can really use the store: what is written comes back.

_EXPERIMENT = "starterkit-doctor"


def check_round_trip(connection: Connection) -> str:
    """Write an artifact, read it back, delete its run; say in words what answered.

    Raises
    ------
    TrackingError
        The store does not answer, cannot be written, or its server is of another MLflow than the client.
    """
    client = connection.client
    with scratch_folder() as scratch:
        known = client.get_experiment_by_name(_EXPERIMENT)
        experiment = known.experiment_id if known else client.create_experiment(_EXPERIMENT, connection.artifacts)
        run = client.create_run(experiment).info
        try:
            client.log_text(run.run_id, "well", "proof.txt")
            back = client.download_artifacts(run.run_id, "proof.txt", str(scratch))
            if Path(back).read_text() != "well":
                raise TrackingError("MLflow gives another artifact back than was written", "Check its artifact store")
        finally:
            client.delete_run(run.run_id)
    ours = version("mlflow")
    theirs = "" if connection.artifacts else ask_version(connection.uri, connection.name)
    if theirs[:1].isdigit() and theirs != ours:  # a gateway in front may answer with a page of its own
        hint = "Install the same version on both sides; requirements.txt pins the client's"
        raise TrackingError(f"the server runs MLflow {theirs}, the client {ours}", hint)
    return f"MLflow {ours}, an artifact was written and read back"
