"""A server that takes requests and never answers: MLflow waits for long, so it is asked as seldom as can be."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from starterkit.errors import TrackingError
from starterkit.tracking import connection
from starterkit.tracking.connection import Connection
from starterkit.tracking.runs import Tracker


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the server was asked for. Its address comes first."""
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "1")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setattr(connection, "_KNOCK_SECONDS", 0.5)
    kept = []
    with socket.create_server(("127.0.0.1", 0)) as server, ThreadPoolExecutor(1) as pool:
        said = [f"http://127.0.0.1:{server.getsockname()[1]}"]

        def listen() -> None:
            while True:
                one, _ = server.accept()
                kept.append(one)  # a connection that is forgotten is closed, which is an answer
                first = one.recv(65536).split(b"\r\n")[0].decode()
                if not first:
                    return
                said.append(first.removesuffix(" HTTP/1.1").split("?")[0])

        pool.submit(listen)
        yield said
        socket.create_connection(server.getsockname()).close()
    for one in kept:
        one.close()


def test_after_a_failure_a_server_that_hangs_is_not_asked_to_mark_the_run(asked: list[str]) -> None:
    from mlflow import MlflowClient

    address = asked[0]
    tracker = Tracker(Connection(address, address, None, MlflowClient(address, address)), "trial")
    with pytest.raises(TrackingError) as raised, tracker.start("first"):
        pass
    assert raised.value.what == f"MLflow at {address} failed: no answer within 1 seconds"
    assert "Start the server" in raised.value.hint
    assert asked[1:] == ["GET /api/2.0/mlflow/experiments/get-by-name", "GET /version"]
