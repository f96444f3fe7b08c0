"""A version's files on MLflow's server: who else has them, how many bytes they are, and how they go."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from starterkit.errors import TrackingError
from starterkit.registry.registry import ModelRegistry, Version
from starterkit.tracking import Connection, explained

if TYPE_CHECKING:
    from mlflow.store.artifact.artifact_repo import ArtifactRepository

_LOGGED_MODEL = re.compile(r"/models/(m-[0-9a-f]+)(?:/|$)")


def files_of(registry: ModelRegistry, version: Version) -> str:
    """The id of the logged model whose files a version has; empty where MLflow does not say."""
    found = _LOGGED_MODEL.search(registry.location(version))
    return found[1] if found else ""


def others_with(connection: Connection, files: str) -> list[str]:
    """The versions of any registered model that have these files: copies share them."""
    logged = _logged(connection, files)
    if logged is None:
        return []
    with explained(connection.name):
        client, sharing = connection.client, []
        for one in client.search_model_versions(f"run_id = '{logged[1]}'"):
            location = client.get_model_version_download_uri(one.name, one.version)
            if files in _LOGGED_MODEL.findall(location):
                sharing.append(f"{one.name} version {one.version}")
    return sharing


def size_of(connection: Connection, files: str) -> int | None:
    """The files' bytes; None where the server does not tell."""
    try:
        with explained(connection.name):
            repository = _repository(connection, files)
            return sum(_sizes(repository, "")) if repository else 0
    except TrackingError:
        return None


def delete_with_files(registry: ModelRegistry, number: int, files: str) -> bool:
    """Delete a version and its files, or what is left of them; False where the files stay.

    The version goes first: nobody can go back to one whose files are half gone. The files go with the last version
    that has them. The run stays, and what the gate left with it.
    """
    for version in registry.versions():
        if version.number == number:
            registry.delete(version)
    if not files or others_with(registry.connection, files):
        return False
    return _remove(registry.connection, files)


def _remove(connection: Connection, files: str) -> bool:
    """Delete the files and mark the logged model as deleted; False where the server or its storage cannot."""
    from mlflow.exceptions import MlflowException

    with explained(connection.name):
        repository = _repository(connection, files)
    if repository is None:
        return True
    try:
        repository.delete_artifacts()
    except (MlflowException, NotImplementedError, OSError):
        return False
    with explained(connection.name):
        connection.client.delete_logged_model(files)
    return True


def _sizes(repository: "ArtifactRepository", folder: str) -> Iterator[int]:
    for one in repository.list_artifacts(folder or None):
        if one.is_dir:
            yield from _sizes(repository, one.path)
        else:
            yield one.file_size or 0


def _repository(connection: Connection, files: str) -> "ArtifactRepository | None":
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    logged = _logged(connection, files)
    return get_artifact_repository(logged[0]) if logged else None


def _logged(connection: Connection, files: str) -> tuple[str, str] | None:
    """Where a logged model's files are, and its run; None where it is deleted."""
    from mlflow.exceptions import MlflowException

    if not files:
        return None
    with explained(connection.name):
        try:
            model = connection.client.get_logged_model(files)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise
    return model.artifact_location, model.source_run_id or ""
