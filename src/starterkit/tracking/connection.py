"""How the kit reaches MLflow: the address, the credentials, and no word to anyone else."""

import logging
import os
import shutil
import sqlite3
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from starterkit.errors import TrackingError
from starterkit.settings import TrackingSettings, mask
from starterkit.telemetry import send_nothing

if TYPE_CHECKING:
    from mlflow import MlflowClient

_SQLITE = "sqlite:///"
_REQUEST_SECONDS = 20
_REQUEST_RETRIES = 3
_KNOCK_SECONDS = 5
_LOCK_SECONDS = 60
_START = "Start the server, or change tracking.uri; `starterkit doctor` looks closer"


@dataclass(frozen=True)
class Connection:
    """A tracking server or a local store that answered.

    Attributes
    ----------
    uri
        The address, with a local file's path made absolute.
    name
        The address as the settings give it, fit for messages.
    artifacts
        Where a local store keeps its artifacts; None for a server, which decides itself.
    client
        MLflow's client for that address.
    """

    uri: str
    name: str
    artifacts: str | None
    client: "MlflowClient"


def connect(settings: TrackingSettings, root: Path) -> Connection:
    """Connect to the stage's server or open its local file, and see that it answers.

    Raises
    ------
    TrackingError
        It does not answer, or refuses.
    """
    send_nothing()
    # MLflow reads these when it is imported, so that import must not come earlier.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is for the command's result
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(_REQUEST_SECONDS))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(_REQUEST_RETRIES))
    os.environ.pop("MLFLOW_RUN_ID", None)  # `mlflow run` sets it; the kit's runs are its own, in its own experiment
    os.environ.update(_credentials(settings))
    import mlflow

    _quiet()
    uri, name, artifacts = settings.uri, mask(settings.uri), None
    if uri.startswith(_SQLITE):
        database = root / uri.removeprefix(_SQLITE)
        uri, artifacts = f"{_SQLITE}{database}", (root / "mlartifacts").as_uri()
    else:
        ask_version(uri, name)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    with explained(name), _alone(uri):
        if artifacts and not Path(uri.removeprefix(_SQLITE)).exists():
            _make_store(Path(uri.removeprefix(_SQLITE)))
        client = mlflow.MlflowClient(uri, uri)
        client.search_experiments(max_results=1)
    return Connection(uri, name, artifacts, client)


@contextmanager
def explained(name: str) -> Generator[None, None, None]:
    """Turn what MLflow and the store raise into one line that names the address.

    Raises
    ------
    TrackingError
        For every failure to reach or to use the server.
    """
    try:
        yield
    except _failures(name) as error:
        reason = (str(getattr(error, "orig", None) or error).splitlines() or [type(error).__name__])[0]
        raise TrackingError(f"MLflow at {name} failed: {mask(reason)[:300]}", _mend(name, error)) from error


def _make_store(database: Path) -> None:
    """Make the tables of a new local store elsewhere and move them here whole: MLflow cannot mend half of them."""
    import mlflow

    with TemporaryDirectory(prefix="starterkit-", ignore_cleanup_errors=True) as scratch:
        made, partial = Path(scratch, "store.db"), database.with_name(f"{database.name}.partial")
        mlflow.MlflowClient(f"{_SQLITE}{made}", f"{_SQLITE}{made}").search_experiments(max_results=1)
        shutil.copyfile(made, partial)
        partial.replace(database)


@contextmanager
def _alone(uri: str) -> Generator[None, None, None]:
    """Let one process at a time open a local store: the first makes its tables, and two would ruin it.

    The lock is SQLite's own on a file beside the store, so that it goes with the process that holds it.
    """
    if not uri.startswith(_SQLITE):
        yield
        return
    lock = sqlite3.connect(f"{uri.removeprefix(_SQLITE)}.lock", timeout=_LOCK_SECONDS)
    try:
        lock.execute("BEGIN EXCLUSIVE")
        yield
    finally:
        lock.close()


def ask_version(uri: str, name: str) -> str:
    """What a server says its version is; empty where it answers and does not say.

    MLflow's own client tries again for a quarter of a minute before it says that nobody is there.
    """
    parts = urlsplit(uri)
    address = parts._replace(netloc=parts.netloc.rpartition("@")[2], path=f"{parts.path.rstrip('/')}/version")
    try:
        with urlopen(address.geturl(), timeout=_KNOCK_SECONDS) as answer:  # noqa: S310  # settings allow http(s) alone
            return answer.read(100).decode("utf-8", "replace").strip()
    except HTTPError:
        return ""  # whoever refuses this address may still be the server; its API will tell
    except OSError as error:
        reason = getattr(error, "reason", error)
        what = f"MLflow at {name} does not answer: {getattr(reason, 'strerror', None) or reason}"
        raise TrackingError(what, _START) from error


def _mend(name: str, error: Exception) -> str:
    if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
        return "Name one that is there; `starterkit ui` shows them"
    if name.startswith(_SQLITE):
        return "See that the file is whole and can be written, or move it away to begin with an empty store"
    return _START


def _failures(name: str) -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException

    if not name.startswith(_SQLITE):
        return MlflowException, OSError
    from alembic.util import CommandError  # a slim client of a server has neither of these two
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, OSError, sqlite3.Error, SQLAlchemyError, CommandError


def _credentials(settings: TrackingSettings) -> dict[str, str]:
    given: dict[str, Any] = {
        "MLFLOW_TRACKING_TOKEN": settings.token and settings.token.get_secret_value(),
        "MLFLOW_TRACKING_USERNAME": settings.username,
        "MLFLOW_TRACKING_PASSWORD": settings.password and settings.password.get_secret_value(),
    }
    return {name: value for name, value in given.items() if value}


def _quiet() -> None:
    """MLflow and Alembic tell of every table they make; people are told of steps."""
    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # "failed to resolve pip version"
    # Whether a whole number may be missing is said by the schema, and the kit checks it.
    warnings.filterwarnings("ignore", message=".*Inferred schema contains integer column", category=UserWarning)
