"""What MLflow and its store raise, in one line with the mend that fits."""

import re
import sqlite3
from collections.abc import Generator, Iterator
from contextlib import contextmanager, nullcontext

from starterkit.errors import TrackingError, first_line, of_machine
from starterkit.settings import mask
from starterkit.tracking.local_store import ADDRESS
from starterkit.tracking.uninterrupted import uninterrupted

NOT_MLFLOW = (
    "See which program has that port; the stack takes another by MLFLOW_PORT in .env, KIT_TRACKING__URI names it"
)
START = "Start the server, or change tracking.uri; `starterkit doctor` looks closer"
_AGAIN = "then give the command again"
_MENDS = (
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
        raise TrackingError(f"MLflow at {name} failed: {reason}", _mend(name, reason, error)) from error


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


def _mend(name: str, reason: str, error: Exception) -> str:
    if getattr(error, "error_code", "") == "RESOURCE_DOES_NOT_EXIST":
        return "Name one that is there; `starterkit ui` shows them"
    for sign, mend in _MENDS:
        if re.search(sign, reason, re.IGNORECASE):
            return mend
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
