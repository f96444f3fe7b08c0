"""What MLflow and the drivers raise becomes one line: the driver's words, no statement, and the hint that fits."""

import sqlite3

import pytest
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

from starterkit.errors import TrackingError
from starterkit.tracking.connection import explained

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


def mistaken() -> Exception:
    """The machine's refusal, which MLflow takes for something else."""
    error = MlflowException("The sklearn model could not be serialized")
    error.__cause__ = OSError(28, "No space left on device")
    return error


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MlflowException(f"{ENDED} 401 != 200. Response body: 'You are not authe…'"), "KIT_TRACKING__PASSWORD"),
        (MlflowException(f"{ENDED} 403 != 200. Response body: 'Permission denied'"), "This user may not do that"),
        (MlflowException("x. 403 Client Error: Forbidden for url: http://s/x. Response text: …"), "This user"),
        (MlflowException(f"{ENDED} 403 != 200. Response body: 'Invalid Host header - …'"), "Add this name with"),
        (OSError(28, "No space left on device", "/x/model.onnx"), r"on device: /x/model\.onnx\. Free space"),
        (mistaken(), r"failed: No space left on device.*Free space"),
    ],
)
def test_a_refusal_has_its_own_hint(error: Exception, said: str) -> None:
    with pytest.raises(TrackingError, match=said), explained("http://localhost:5000"):
        raise error


def test_server_that_fails_by_itself_is_told_in_short():
    answer = "(Caused by ResponseError('too many 500 error responses'))"
    long = f"API request to http://s:5000/api/{'x' * 300} failed with HTTPConnectionPool(host='s', port=5000): "
    with pytest.raises(TrackingError) as raised, explained("http://s:5000"):
        raise MlflowException(f"{long}Max retries exceeded with url: /api/{'x' * 300} {answer}")
    assert raised.value.what == "MLflow at http://s:5000 failed: too many 500 error responses"
    assert "its disk may be full" in raised.value.hint
