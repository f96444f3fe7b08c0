"""How the kit reaches MLflow: the address, the credentials, its failures in one line, and no word to anyone else."""

import json
import logging
import os
import re
import sqlite3
import warnings
from base64 import b64encode
from collections.abc import Callable, Collection, Generator, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from http import HTTPStatus
from http.client import HTTPException
from pathlib import Path
from tempfile import gettempdir
from typing import TYPE_CHECKING, Any, cast
from urllib.error import HTTPError
from urllib.parse import urlencode, urlsplit
from urllib.request import Request, urlopen

from starterkit.errors import TrackingError, first_line, of_machine
from starterkit.machine import send_nothing
from starterkit.settings import TrackingSettings, mask
from starterkit.tracking.store import ADDRESS, LocalStore, address_of_database, require_space, uninterrupted

if TYPE_CHECKING:
    from mlflow import MlflowClient

# --- What MLflow and its store raise, in one line with the hint that fits.

NOT_MLFLOW = (
    "See which program has that port; the stack takes another by MLFLOW_PORT in .env, KIT_TRACKING__URI names it"
)
START = "Start the server, or change tracking.uri; `starterkit doctor` looks closer"
ABSENT = "RESOURCE_DOES_NOT_EXIST"
_AGAIN = "then give the command again"
_HINTS = (
    (r"Invalid Host header", "Add this name with its port to the server's --allowed-hosts, or change tracking.uri"),
    (
        r"error code 401\b|401 Client Error",
        "See that KIT_TRACKING__USERNAME and KIT_TRACKING__PASSWORD, or the token, are the server's",
    ),
    (
        r"error code 403\b|403 Client Error",
        "This user may not do that: ask whoever runs the server for the right, or name another user",
    ),
    (r"disk is full|No space left|quota exceeded", f"Free space on the disk, {_AGAIN}"),
    (r"readonly|read-only|Permission denied|unable to open", f"See that you may write it, {_AGAIN}"),
    (r"is locked", f"Another program holds it: wait for it or end it, {_AGAIN}"),
    (r"malformed|not a database|disk I/O", "Bring a copy of it back, or move it away to begin with an empty store"),
    (r"Response body: '(<|'$)", NOT_MLFLOW),  # a page, or nothing: macOS answers so on port 5000
    (
        r"50[03]\b.*\berror",
        "The server fails by itself: its log says why, its disk may be full; `starterkit doctor` looks closer",
    ),
    (r"out-of-date database schema", "Its MLflow is another one: `mlflow db upgrade` brings a copy of it up to date"),
)
_RETRIED = re.compile(r".*Max retries exceeded with url: \S+ \(Caused by \w+\(['\"](.+?)['\"]\).*", re.DOTALL)
_TIMED_OUT = re.compile(r".*Read timed out\. \(read timeout=([\d.]+)\).*", re.DOTALL)
_DRIVER = re.compile(r"\((?:sqlite3|psycopg2?|pymysql)[\w.]*\) (.+)")


@contextmanager
def explained(name: str) -> Generator[None, None, None]:
    """Turn what MLflow and the store raise into one line that names the address.

    A local store is not left in the middle of a call: Ctrl-C and `kill` wait for its end. A server may hang, and is.

    Raises
    ------
    TrackingError
        For every failure to reach or to use the server.
    """
    try:
        with uninterrupted() if name.startswith(ADDRESS) else nullcontext():
            yield
    except _failures(name) as error:
        reason = _TIMED_OUT.sub(r"no answer within \1 seconds", _RETRIED.sub(r"\1", _reason(error)))
        reason = mask(reason)[:300]
        failure = TrackingError(f"MLflow at {name} failed: {reason}", _hint(name, reason, error))
        failure.code = getattr(error, "error_code", "")
        raise failure from error


class _Explained:
    """What MLflow offers to be called, each call of which is `explained`."""

    def __init__(self, offered: object, name: str) -> None:
        self._offered = offered
        self._name = name

    def __getattr__(self, call: str) -> Callable[..., Any]:
        def ask(*given: object, **named: object) -> Any:
            with explained(self._name):
                return getattr(self._offered, call)(*given, **named)

        return ask


def ask_for(call: Callable[..., Any], *given: object, refusals: Collection[str] = (ABSENT,)) -> Any:
    """What MLflow's client answers to a call; None where it refuses so: it does not have what was asked for."""
    try:
        return call(*given)
    except TrackingError as error:
        if error.code not in refusals:
            raise
        return None


def _reason(error: Exception) -> str:
    """The machine's or the driver's own words, where there are any.

    MLflow takes a full disk for an estimator that cannot be saved, and repeats statements with their parameters.
    """
    for cause in _causes(error):
        refusal = of_machine(cause) if isinstance(cause, OSError) else None
        if refusal:
            return refusal.what
    words = _DRIVER.search(str(error))
    return first_line(getattr(error, "orig", None) or (words[1] if words else error))


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _hint(name: str, reason: str, error: Exception) -> str:
    if getattr(error, "error_code", "") == ABSENT:
        return "Name one that is there; `starterkit ui` shows them"
    for sign, hint in _HINTS:
        if re.search(sign, reason, re.IGNORECASE):
            return hint
    if name.startswith(ADDRESS):
        return "See that the file is whole and can be written, or move it away to begin with an empty store"
    return START


def _failures(name: str) -> tuple[type[Exception], ...]:
    from mlflow.exceptions import MlflowException

    if not name.startswith(ADDRESS):
        return MlflowException, OSError
    from alembic.util import CommandError  # a slim client of a server has neither of these two
    from sqlalchemy.exc import SQLAlchemyError

    return MlflowException, OSError, sqlite3.Error, SQLAlchemyError, CommandError


# --- Who a server takes us for.

_KNOCK_SECONDS = 5
_ANYTHING = "/api/2.0/mlflow/experiments/search?max_results=1"
_REFUSED = 401
_WELL = 300
_NOTHING = 999


def authenticated_user(settings: TrackingSettings) -> str:
    """The user whose password the server has checked; empty where it asks nobody for one.

    To be asked after `connect`, which has shown that the password is right. A server that also answers without one
    has checked nothing.
    """
    if not (settings.username and settings.password and settings.uri.startswith("http")):
        return ""
    return settings.username if _status(settings) == _REFUSED else ""


def takes_password(settings: TrackingSettings, user: str, password: str) -> bool:
    """Whether the server takes this password of a user, and answers nobody without one."""
    if not settings.uri.startswith("http"):
        return False
    said = b64encode(f"{user}:{password}".encode()).decode()
    return _status(settings, {"Authorization": f"Basic {said}"}) < _WELL and _status(settings) == _REFUSED


def _status(settings: TrackingSettings, headers: Mapping[str, str] | None = None) -> int:
    """With what the server answers; `_NOTHING` where it does not."""
    asked = Request(_address(settings.uri, _ANYTHING), headers=dict(headers or {}))  # noqa: S310  # http(s) alone
    try:
        with urlopen(asked, timeout=_KNOCK_SECONDS) as answer:  # noqa: S310
            return int(answer.status)
    except HTTPError as error:
        return error.code
    except OSError:
        return _NOTHING


# --- The connection.

_REQUEST_SECONDS = 20
_REQUEST_RETRIES = 3
_LOCK_SECONDS = 20


@dataclass(frozen=True)
class Connection:
    """A tracking server or a local store that answered.

    `uri` is its address, with a local file's path made absolute, `name` the one that the settings give, fit for
    messages. `artifacts` is where a local store keeps its artifacts; None for a server, which decides itself.
    """

    uri: str
    name: str
    artifacts: str | None

    @cached_property
    def client(self) -> "MlflowClient":
        """MLflow's client for that address. What it raises is a `TrackingError`."""
        import mlflow

        with explained(self.name):
            return cast("MlflowClient", _Explained(mlflow.MlflowClient(self.uri, self.uri), self.name))

    @cached_property
    def fluent(self) -> Any:
        """MLflow's functions about the run that is open, the same way."""
        import mlflow

        return _Explained(mlflow, self.name)

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
        if store and not store.exists:
            store.make()
        elif store and (earlier := store.left_behind()):
            store.follow(earlier)
    connection = Connection(uri, name, store.artifacts.as_uri() if store else None)
    connection.client.search_experiments(max_results=1)
    return connection


def local_store(settings: TrackingSettings, root: Path) -> LocalStore | None:
    """The store that the settings name, unless it is a server."""
    if not settings.uri.startswith(ADDRESS):
        return None
    return LocalStore(root / settings.uri.removeprefix(ADDRESS), root / "mlartifacts")


def ask_version(uri: str, name: str) -> str:
    """What a server says its version is; empty where it answers and does not say.

    MLflow's own client tries again for a quarter of a minute before it says that nobody is there.
    """
    try:
        with urlopen(_address(uri, "/version"), timeout=_KNOCK_SECONDS) as answer:  # noqa: S310  # http(s) alone
            return answer.read(100).decode("utf-8", "replace").strip()
    except HTTPError:
        return ""  # whoever refuses this address may still be the server; its API will tell
    except HTTPException as error:
        raise TrackingError(f"what answers at {name} is no web server", NOT_MLFLOW) from error
    except OSError as error:
        reason = getattr(error, "reason", error)
        what = f"MLflow at {name} does not answer: {getattr(reason, 'strerror', None) or reason}"
        raise TrackingError(what, START) from error


def ask_alias(settings: TrackingSettings, model: str, alias: str) -> tuple[str, str] | None:
    """The version that a server's alias points at and its run, by one request; None where it points at none.

    Raises
    ------
    TrackingError
        The server does not answer, or not so.
    """
    words = urlencode({"name": model, "alias": alias})
    request = Request(_address(settings.uri, f"/api/2.0/mlflow/registered-models/alias?{words}"))  # noqa: S310
    if settings.token:
        request.add_header("Authorization", f"Bearer {settings.token.get_secret_value()}")
    elif settings.username and settings.password:
        both = f"{settings.username}:{settings.password.get_secret_value()}"
        request.add_header("Authorization", f"Basic {b64encode(both.encode()).decode()}")
    try:
        with urlopen(request, timeout=_KNOCK_SECONDS) as answer:  # noqa: S310  # http(s) alone
            found = json.load(answer)["model_version"]
            return str(found["version"]), str(found.get("run_id") or "")
    except HTTPError as error:
        if error.code in (HTTPStatus.NOT_FOUND, HTTPStatus.BAD_REQUEST):  # no such model; no such alias
            return None
        raise TrackingError(f"MLflow refuses to say which version is '{alias}': {error.code}", NOT_MLFLOW) from None
    except (OSError, HTTPException, ValueError, KeyError) as error:
        raise TrackingError(f"MLflow does not say which version is '{alias}': {type(error).__name__}", START) from None


def _address(uri: str, path: str) -> str:
    """A page of the server, without the user and password that its address may hold."""
    parts = urlsplit(uri)
    return f"{parts._replace(netloc=parts.netloc.rpartition('@')[2], path=parts.path.rstrip('/')).geturl()}{path}"


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
