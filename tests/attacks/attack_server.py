"""What clients without a key try on an API in a process of its own: held connections, junk, and its end."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Thread

import psutil
import pytest

REPOSITORY = Path(__file__).parents[2]
QUIET = {"MLFLOW_DISABLE_TELEMETRY": "true", "ORT_DISABLE_TELEMETRY": "1"}
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith(("KIT_", "MLFLOW_"))} | QUIET
HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
SIZE = 5_000_000
SECONDS = 2.0  # the API waits for a whole request


class Api:
    def __init__(self, root: Path, port: int, **environ: str) -> None:
        self.port, self.log = port, root / f"{port}.log"
        given = CLEAN | {"KIT_SERVING__PORT": str(self.port), "KIT_SERVING__SECONDS_TO_ASK": str(SECONDS)} | environ
        command = [sys.executable, "-m", "starterkit", "serve", "--folder", "model"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, cwd=root, env=given, stdout=log, stderr=log)
        while "Answering on" not in self.said:
            assert self.process.poll() is None, self.said
            time.sleep(0.1)

    @property
    def said(self) -> str:
        return self.log.read_text("utf-8")

    @property
    def megabytes(self) -> float:
        return psutil.Process(self.process.pid).memory_info().rss / 1e6

    def ask(self, body: str | bytes) -> int:
        client = HTTPConnection("127.0.0.1", self.port, timeout=30)
        client.request("POST", "/predict", body, {"Content-Type": "application/json"})
        response = client.getresponse()
        response.read()
        client.close()
        return response.status

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("api")
    for name in ("config", "data"):
        shutil.copytree(REPOSITORY / name, root / name)
    shutil.copy(REPOSITORY / "requirements.txt", root)
    for words in (["run"], ["fetch", "model"]):
        command = [sys.executable, "-m", "starterkit", *words]
        subprocess.run(command, cwd=root, env=CLEAN | {"KIT_EXPORT__PARITY_ROWS": "500"}, check=True)
    return root


@pytest.fixture(scope="module")
def row(root: Path) -> str:
    return json.dumps({"records": [json.loads((root / "model" / "contract.json").read_text("utf-8"))["example"]]})


@pytest.fixture
def start(root: Path, free_tcp_port_factory: Callable[[], int]) -> Iterator[Callable[..., Api]]:
    with ExitStack() as ended:

        def make(**environ: str) -> Api:
            api = Api(root, free_tcp_port_factory(), **environ)
            ended.callback(api.process.wait)
            ended.callback(api.process.kill)
            return api

        yield make


def test_held_connections_keep_nobody_out_and_fill_no_log(start, row):
    """More than there may be, and more than the process has descriptors for."""
    api = start(KIT_SERVING__MAX_CONNECTIONS="64", KIT_SERVING__SECONDS_TO_ASK="60")
    before = len(api.said)
    with ExitStack() as opened:
        for number in range(400):
            held = opened.enter_context(api.connect())
            if number % 2:
                held.sendall(HEAD)
        began = time.monotonic()
        assert api.ask(row) == 200
        print(f"answered in {time.monotonic() - began:.2f} s beside 400 held connections")  # noqa: T201
        assert time.monotonic() - began < 20
        assert len(psutil.Process(api.process.pid).net_connections()) <= 64 + 2
    assert len(api.said) - before < 1000


def test_the_end_costs_no_request(start, row):
    """32 clients ask again and again on connections that they keep, as long as nobody tells them not to."""
    api, lost, answered, closed = start(), list[str](), [0] * 32, [0] * 32

    def ask(number: int) -> None:
        client = HTTPConnection("127.0.0.1", api.port, timeout=20)
        while True:
            try:
                client.connect()
            except OSError:  # it takes no more
                return
            while True:
                try:
                    client.request("POST", "/predict", row, {"Content-Type": "application/json"})
                    response = client.getresponse()
                    response.read()
                    answered[number] += response.status == 200
                except (OSError, HTTPException) as error:
                    lost.append(repr(error))
                    client.close()
                    break
                if response.will_close:
                    closed[number] += 1
                    client.close()
                    break

    clients = [Thread(target=ask, args=(number,)) for number in range(32)]
    for client in clients:
        client.start()
    time.sleep(2)
    api.process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    for client in clients:
        client.join()
    assert api.process.wait(20) == 0
    print(f"{sum(answered)} answered, {len(lost)} lost, ended after {time.monotonic() - began:.1f} s")  # noqa: T201
    assert lost == []
    assert min(closed) >= 1


def _junk(row: str) -> dict[str, str]:
    record = row.removeprefix('{"records": [').removesuffix("]}")
    return {
        "a text": '"' + "x" * (SIZE - 2) + '"',
        "empty lists": '{"records": [' + "[]," * (SIZE // 3 - 10) + "[]]}",
        "empty objects": '{"records": [' + "{}," * (SIZE // 3 - 10) + "{}]}",
        "numbers": '{"records": [' + "1," * (SIZE // 2 - 10) + "1]}",
        "rows": '{"records": [' + f"{record}," * (SIZE // len(record) - 300) + record + "]}",
        "one row of many columns": '{"records": [{' + ",".join(f'"c{number}":1' for number in range(400_000)) + "}]}",
        "deep": "[" * SIZE,
        "texts": '{"records": [' + '"a",' * (SIZE // 4 - 10) + '"a"]}',
        "no JSON": "}" * SIZE,
        "commas": "," * SIZE,
    }


def test_junk_costs_little(start, row):
    for name, body in _junk(row).items():
        api = start()
        assert (len(body) <= SIZE, api.ask(row)) == (True, 200)
        before, most, statuses = api.megabytes, 0.0, list[int]()
        asked = Thread(target=lambda api=api, body=body, got=statuses: got.append(api.ask(body)))
        asked.start()
        while asked.is_alive():
            most = max(most, api.megabytes)
            time.sleep(0.001)
        print(f"{name}: {len(body) / 1e6:.1f} MB cost {most - before:.1f} MB, {statuses}")  # noqa: T201
        assert statuses == [422]
        assert most - before <= 3 * SIZE / 1e6, name
