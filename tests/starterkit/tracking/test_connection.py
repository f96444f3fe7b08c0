"""Ways to a store that fail: one line with the driver's words, no statement, and the hint that fits."""

import socket
import sqlite3
import subprocess
import sys

import pytest
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

from starterkit.errors import TrackingError
from starterkit.settings import TrackingSettings
from starterkit.tracking.connection import connect, explained

ENDED = "API request to endpoint /api/2.0/mlflow/experiments/search failed with error code"


def of_driver(words: str) -> OperationalError:
    return OperationalError("INSERT INTO runs VALUES (?)", ("Rumpelstilzchen",), sqlite3.OperationalError(words))


def of_mlflow(words: str) -> Exception:
    return MlflowException(f"(raised as a result of Query-invoked autoflush; consider …)\n{of_driver(words)}")


@pytest.mark.parametrize("wrapped", [of_driver, of_mlflow])
@pytest.mark.parametrize(
    ("words", "hint"),
    [
        ("database or disk is full", "Free space on the disk"),
        ("attempt to write a readonly database", "See that you may write it"),
        ("unable to open database file", "See that you may write it"),
        ("database is locked", "wait for it or end it"),
        ("database disk image is malformed", "Bring a copy of it back"),
        ("something new", "See that the file is whole"),
    ],
)
def test_drivers_words_and_the_hint_that_fits(wrapped, words, hint):
    with pytest.raises(TrackingError) as raised, explained("sqlite:///mlflow.db"):
        raise wrapped(words)
    assert raised.value.what == f"MLflow at sqlite:///mlflow.db failed: {words}"
    assert hint in raised.value.hint
    assert "Rumpelstilzchen" not in str(raised.value)


MISTAKEN = MlflowException("The sklearn model could not be serialized")
MISTAKEN.__cause__ = OSError(28, "No space left on device")  # the machine's refusal, taken for something else


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MlflowException(f"{ENDED} 401 != 200. Response body: 'You are not authe…'"), "KIT_TRACKING__PASSWORD"),
        (MlflowException(f"{ENDED} 403 != 200. Response body: 'Permission denied'"), "This user may not do that"),
        (MlflowException("x. 403 Client Error: Forbidden for url: http://s/x. Response text: …"), "This user"),
        (MlflowException(f"{ENDED} 403 != 200. Response body: 'Invalid Host header - …'"), "Add this name with"),
        (OSError(28, "No space left on device", "/x/model.onnx"), r"on device: /x/model\.onnx\. Free space"),
        (MISTAKEN, r"failed: No space left on device.*Free space"),
    ],
)
def test_a_refusal_has_its_own_hint(error, said):
    with pytest.raises(TrackingError, match=said), explained("http://localhost:5000"):
        raise error


def test_server_that_fails_by_itself_is_told_in_short():
    answer = "(Caused by ResponseError('too many 500 error responses'))"
    long = f"API request to http://s:5000/api/{'x' * 300} failed with HTTPConnectionPool(host='s', port=5000): "
    with pytest.raises(TrackingError) as raised, explained("http://s:5000"):
        raise MlflowException(f"{long}Max retries exceeded with url: /api/{'x' * 300} {answer}")
    assert raised.value.what == "MLflow at http://s:5000 failed: too many 500 error responses"
    assert "its disk may be full" in raised.value.hint


def test_dead_server_is_one_line_with_its_address_and_no_password(settings):
    with socket.socket() as taken:  # bound and not listening: nobody answers there
        taken.bind(("127.0.0.1", 0))
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TrackingError) as raised:
            connect(TrackingSettings(uri=f"http://me:secret@{place}"), settings.root)
    assert raised.value.what == f"MLflow at http://me:***@{place} does not answer: Connection refused"
    assert "Start the server" in raised.value.hint


def test_corrupt_database_is_one_line(settings, repository):
    (repository / "broken.db").write_bytes(b"this is no database" * 100)
    with pytest.raises(TrackingError, match=r"broken\.db is not a database"):
        connect(TrackingSettings(uri="sqlite:///broken.db"), settings.root)


@pytest.mark.slow
def test_two_that_make_the_store_at_once_do_not_ruin_it(fresh_repository):
    probe = "from starterkit.settings import load_settings as l; s = l();"
    probe += "from starterkit.tracking.connection import connect; print(connect(s.tracking, s.root).name)"
    both = [
        subprocess.Popen([sys.executable, "-c", probe], cwd=fresh_repository, stdout=subprocess.PIPE) for _ in range(2)
    ]
    assert [process.communicate(timeout=90)[0].strip() for process in both] == [b"sqlite:///mlflow.db"] * 2
    assert not list(fresh_repository.glob(".mlflow.db.*"))
