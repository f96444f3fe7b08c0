"""How the server ends: the model may take its time, a client may not."""

import asyncio
import socket
import threading
import time
from http.client import HTTPConnection
from typing import Any

import pytest
import uvicorn

from starterkit.cli import server as answering


async def slow(scope: Any, receive: Any, send: Any) -> None:
    """A model that computes for a second."""
    await receive()
    await asyncio.sleep(1)
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
    await send({"type": "http.response.body", "body": b""})


def test_an_answer_that_is_computed_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(answering, "_SECONDS_TO_SEND", 0.2)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = answering._Server(uvicorn.Config(slow, lifespan="off", log_config=None))
        server.quiet = True
        thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
        thread.start()
        while not server.started:
            time.sleep(0.01)
        client = HTTPConnection(*listening.getsockname())
        client.request("POST", "/", "{}")
        time.sleep(0.2)
        server.should_exit = True
        assert client.getresponse().status == 200
        thread.join(10)
        assert not thread.is_alive()
