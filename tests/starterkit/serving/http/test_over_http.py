"""A real server on a loopback port, and what its log says."""

import asyncio
import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from threading import Thread
from typing import Any, BinaryIO

import httpx
import numpy as np
import pytest

from starterkit.errors import SettingsError
from starterkit.machine import limit_memory, this_machine
from starterkit.serving.http import JsonLines, protocol
from starterkit.serving.http.protocol import Patience, Server

ASK = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
HALF = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{"


@contextmanager
def running(app: Any, seconds: float = 10, most: int = 64) -> Iterator[tuple[str, int]]:
    """Serve an app on a free port; `log_config=None` leaves the log to pytest."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        server = Server(app, Patience(seconds, most), log_config=None, access_log=False)
        thread = Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started and thread.is_alive():
            time.sleep(0.01)
        try:
            yield listening.getsockname()
        finally:
            server.should_exit = True
            thread.join(10)
            assert not thread.is_alive()


@pytest.fixture(scope="module")
def address(houses) -> Iterator[tuple[str, int]]:
    with running(houses.app(max_body_bytes=2000)) as address:
        yield address


@pytest.fixture
def client(address) -> Iterator[httpx.Client]:
    with httpx.Client(base_url="http://{}:{}".format(*address)) as client:
        yield client


def test_a_body_that_is_too_long_costs_the_connection_nothing_and_is_not_read_to_its_end(houses, client, address):
    long = (b" " * 1000 for _ in range(2000))
    assert client.post("/predict", content=long, headers={"content-type": "application/json"}).status_code == 413
    assert len(client.post("/predict", json={"records": [houses.example]}).json()["predictions"]) == 1
    head = "POST /predict HTTP/1.1\nHost: localhost\nContent-Type: application/json\n"
    announced = "Content-Length: 1000000000\n\n"
    for body in (announced, "Transfer-Encoding: chunked\n\n7d1\n" + "x" * 2001 + "\n"):
        with socket.create_connection(address, timeout=5) as connection:
            connection.sendall((head + body).replace("\n", "\r\n").encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 413")


def test_every_answer_tells_browsers_to_be_careful_and_nobody_what_serves(address, client, houses):
    careful = {"x-content-type-options": "nosniff", "content-security-policy": "frame-ancestors 'none'"}
    careful |= {"referrer-policy": "no-referrer", "cache-control": "no-store"}
    asked = [client.post("/predict", json={"records": [one]}) for one in (houses.example, {})]
    asked += [client.get(path) for path in ("/nothing", "/model", "/predict", "/health/ready", "/docs")]
    for answer in asked:
        told = answer.headers
        assert {name: told[name].removesuffix(f", {told.get_list(name)[-1]}") for name in careful} == careful
        assert "server" not in told
    with running(houses.app(), 0.2) as slow, socket.create_connection(slow, timeout=5) as late:
        late.sendall(HALF)
        assert b"\r\nx-content-type-options: nosniff\r\n" in late.recv(4096).lower()


def test_a_client_that_leaves_is_no_error(address, client, caplog):
    with socket.create_connection(address, timeout=5) as connection:
        connection.sendall(HALF)
        time.sleep(0.1)
    time.sleep(0.1)
    assert client.get("/health/ready").status_code == 200
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_failing_graph_is_logged_without_the_value(faulty, caplog):
    with running(faulty(failure=ValueError("income 54321.5"))) as (host, port):
        record = {"area": 100.0, "rooms": 3, "income": 54321.5}
        sent = {"x-request-id": "mine-1"}
        answer = httpx.post(f"http://{host}:{port}/predict", json={"records": [record]}, headers=sent)
    assert answer.status_code == 500
    (failed,) = (json.loads(JsonLines().format(one)) for one in caplog.records if one.levelname == "ERROR")
    assert (failed["request"], failed["error"], failed["level"]) == ("mine-1", "ModelFailed", "error")
    assert "the graph of local.houses version 3 failed: ValueError" in caplog.text
    assert "54321.5" not in f"{failed}{caplog.text}"


@pytest.mark.parametrize(
    ("line", "more", "cut"),
    [
        ("HTTP/1.1", "", 0), ("HTTP/1.1", "", 1), ("HTTP/1.1", "", 60), ("HTTP/1.0", "", 0),
        ("HTTP/1.1", "Connection: close\r\n", 0), ("HTTP/1.1", "Expect: 100-continue\r\n", 0),
        ("HTTP/1.1", "Transfer-Encoding: chunked\r\n", 0),
    ],
    ids=["whole", "byte by byte", "in parts", "1.0", "for the last time", "asked first", "in chunks"],
)  # fmt: skip
def test_however_a_request_comes_it_gets_the_same_answer(houses, address, line, more, cut):
    body = json.dumps({"records": [houses.example]}).encode()
    head = f"POST /predict {line}\r\nHost: x\r\nContent-Type: application/json\r\n{more}"
    if "chunked" in more:
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    else:
        head += f"Content-Length: {len(body)}\r\n"
    request = f"{head}\r\n".encode() + body
    ends = line == "HTTP/1.0" or "close" in more
    with socket.create_connection(address, timeout=5) as connection, connection.makefile("rb") as told:
        for _ in range(1 if ends else 3):  # a kept connection answers again
            for part in range(0, len(request), cut or len(request)):
                connection.sendall(request[part : part + (cut or len(request))])
            assert answer(told) == expected(houses)
        assert not ends or told.read() == b""


def test_a_head_that_is_known_again_is_that_of_its_own_request(houses, address):
    def written(path: str, form: str, areas: list[float]) -> bytes:
        return request({form: [houses.example | {"area": area} for area in areas]}, path)

    with socket.create_connection(address, timeout=5) as connection, connection.makefile("rb") as told:
        for number in range(6):  # all of one length, so that their heads are the same
            first, second, third = 100.0 + number, 200.0 + number, 300.0 + number
            one, other = written("/predict", "records", [first]), written("/predict", "records", [second])
            scoring = written("/invocations", "dataframe_records", [third])
            both = ((one + other) * 9, [first, second] * 9)  # at once, and answered in order
            for sent, areas in ((one, [first]), (scoring, [third]), (other, [second]), both):
                connection.sendall(sent)
                for area in areas:
                    predicted = answer(told)
                    (value,) = predicted if sent != scoring else [*predicted[0].values()]
                    assert value == expected(houses, area=area)[0]
            connection.sendall(one[:-9])
            time.sleep(0.01)
            connection.sendall(one[-9:])
            assert answer(told) == expected(houses, area=first)


def test_clients_who_ask_at_once_get_their_own_answers(houses, address):
    areas = [20.0 + 5 * number for number in range(24)]
    with ExitStack() as stack:
        clients = [stack.enter_context(socket.create_connection(address, timeout=5)) for _ in areas]
        for _ in range(5):
            for client, area in zip(clients, areas, strict=True):
                client.sendall(request({"records": [houses.example | {"area": area if area != 55 else 5}]}))
            for client, area in zip(clients, areas, strict=True):
                if area == 55:
                    assert client.recv(65_536).startswith(b"HTTP/1.1 422")
                else:
                    assert answer(client.makefile("rb")) == expected(houses, area=area)


def request(content: Any, path: str = "/predict") -> bytes:
    body = json.dumps(content).encode()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def expected(houses: Any, **other: float) -> list[float]:
    columns = {name: np.array([value], float) for name, value in (houses.example | other).items()}
    return houses.model.predictor.predict(columns).values.tolist()


def answer(told: BinaryIO) -> Any:
    """What comes next on a connection: the predictions."""
    while (line := told.readline()).startswith(b"HTTP/1.1 100"):
        told.readline()
    assert line == b"HTTP/1.1 200 OK\r\n"
    headers = dict(line.strip().lower().split(b": ", 1) for line in iter(told.readline, b"\r\n"))
    assert {b"date", b"content-type", b"x-model-version", b"x-request-id"} < set(headers)
    return json.loads(told.read(int(headers[b"content-length"])))["predictions"]


async def for_a_second(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await asyncio.sleep(1)
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})


@pytest.mark.parametrize(
    ("begun", "more"), [(b"", b""), (HALF[:40], b""), (HALF[:40], b"x"), (HALF, b""), (HALF, b"x")],
    ids=["nothing", "half a head", "a head, byte by byte", "half a body", "a body, byte by byte"],
)  # fmt: skip
def test_a_connection_that_comes_to_no_request_is_ended(houses, begun, more):
    with running(houses.app(), 0.3) as address, socket.create_connection(address, timeout=0.05) as held:
        held.sendall(begun)
        began, told, got = time.monotonic(), b"", b"not ended"
        while got and time.monotonic() - began < 20:
            try:
                got = held.recv(4096)
                told += got
            except TimeoutError:
                with suppress(OSError):  # it ends right now
                    held.sendall(more)
            except OSError:
                break
        assert 0.2 < time.monotonic() - began < 20
    assert told.startswith(b"HTTP/1.1 408 ") == (b"x-model-version: " in told) == bool(begun)


def test_an_answer_that_is_computed_is_waited_for(monkeypatch):
    monkeypatch.setattr(protocol, "_SECONDS_TO_SEND", 0.2)
    with running(for_a_second) as address:
        asked = socket.create_connection(address, timeout=5)
        asked.sendall(ASK)
        time.sleep(0.1)
    with asked:
        assert asked.recv(12) == b"HTTP/1.1 200"


def test_who_waits_makes_room_and_who_is_answered_does_not(monkeypatch):
    monkeypatch.setattr(for_a_second, "marks", [(b"x-model-version", b"7")], raising=False)
    with running(for_a_second, most=2) as address, ExitStack() as opened:
        idle, *others = (opened.enter_context(socket.create_connection(address, timeout=5)) for _ in range(3))
        assert idle.recv(9) == b""  # the third made it go
        for one in others:
            one.sendall(ASK)
        time.sleep(0.3)
        late = opened.enter_context(socket.create_connection(address, timeout=5))
        late.sendall(ASK)
        told = late.recv(4096).lower()
        assert all(words in told for words in (b"http/1.1 503 ", b"retry-after: 1", b"x-model-version: 7", b"close"))
        assert [one.recv(12) for one in others] == [b"HTTP/1.1 200"] * 2


CODE = """
from starterkit.machine import limit_memory
assert limit_memory(256)
kept = bytearray(100 * 2**20)
try:
    more = bytearray(400 * 2**20)
except MemoryError:
    print("refused")
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="not run: only Linux holds a process to its data")
def test_a_process_gets_no_more_than_its_limit_and_no_limit_is_beyond_the_machine():
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "refused", done.stderr
    there = this_machine().memory // 2**20
    said = f"serving.memory_mb is {there + 1}, and this machine or container has {there}"
    with pytest.raises(SettingsError, match=said):
        limit_memory(there + 1)
