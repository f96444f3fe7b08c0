"""How the kit reaches MLflow: the address, the credentials, and no word to anyone else."""

import logging
import os
import warnings
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import urlopen

from starterkit.errors import TrackingError
from starterkit.settings import TrackingSettings, mask
from starterkit.telemetry import send_nothing
from starterkit.tracking.failures import NOT_MLFLOW, START, explained
from starterkit.tracking.local_store import ADDRESS, LocalStore, address_of_database, require_space

if TYPE_CHECKING:
    from mlflow import MlflowClient

_REQUEST_SECONDS = 20
_REQUEST_RETRIES = 3
_KNOCK_SECONDS = 5
_LOCK_SECONDS = 20


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

    def answers(self) -> bool:
        """Whether it is worth asking. MLflow's client asks a server that hangs for over a minute, each time."""
        if self.artifacts is not None:
            return True
        try:
            ask_version(self.uri, self.name)
        except TrackingError:
            return False
        return True


def connect(settings: TrackingSettings, root: Path) -> Connection:
    """Connect to the stage's server or open its local file, and see that it answers.

    Raises
    ------
    TrackingError
        It does not answer, or refuses.
    """
    send_nothing()
    require_space(Path(gettempdir()))  # MLflow takes a full one for an estimator that cannot be saved
    uri, name, store = settings.uri, mask(settings.uri), local_store(settings, root)
    if store:
        uri = address_of_database(store.database)
        store.require_sound(_LOCK_SECONDS)
    else:
        ask_version(uri, name)
    # MLflow reads these when it is imported, so that import must not come earlier.
    os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")  # stdout is for the command's result
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", str(_REQUEST_SECONDS))
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", str(_REQUEST_RETRIES))
    # A server with its artifacts in a bucket would send clients there, who may have no way to it.
    os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_DOWNLOAD", "false")
    os.environ.setdefault("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "false")
    os.environ.pop("MLFLOW_RUN_ID", None)  # `mlflow run` sets it; the kit's runs are its own, in its own experiment
    os.environ.update(_credentials(settings))
    import mlflow

    _quiet()
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    with explained(name):
        if store:
            _prepare(store)
        client = mlflow.MlflowClient(uri, uri)
        client.search_experiments(max_results=1)
    return Connection(uri, name, store.artifacts.as_uri() if store else None, client)


def local_store(settings: TrackingSettings, root: Path) -> LocalStore | None:
    """The store that the settings name, unless it is a server."""
    if not settings.uri.startswith(ADDRESS):
        return None
    return LocalStore(root / settings.uri.removeprefix(ADDRESS), root / "mlartifacts")


def _prepare(store: LocalStore) -> None:
    if not store.exists:
        store.make()
    elif earlier := store.left_behind():
        store.follow(earlier)


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
    except HTTPException as error:
        raise TrackingError(f"what answers at {name} is no web server", NOT_MLFLOW) from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        what = f"MLflow at {name} does not answer: {getattr(reason, 'strerror', None) or reason}"
        raise TrackingError(what, START) from error


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
    # Their tracebacks repeat statements with their parameters; `explained` tells what came of it.
    logging.getLogger("mlflow.store").setLevel(logging.CRITICAL)
    # MLflow tries its own server and gives it pandas' own texts, which onnxruntime refuses (decision 0006).
    logging.getLogger("mlflow.models.model").setLevel(logging.ERROR)
    logging.getLogger("mlflow.utils.environment").setLevel(logging.ERROR)  # "failed to resolve pip version"
    # Whether a whole number may be missing is said by the schema, and the kit checks it.
    warnings.filterwarnings("ignore", message=".*Inferred schema contains integer column", category=UserWarning)
