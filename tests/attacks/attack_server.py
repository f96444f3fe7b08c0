"""What clients without a key try on an API in a process of its own: held connections, and junk."""

import json
import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from http.client import HTTPConnection
from pathlib import Path
from threading import Thread
from typing import Any

import psutil
import pytest

HEAD = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
SIZE = 5_000_000
SECONDS = 2.0  # the API waits for a whole request


def ask(api: Any, body: str | bytes) -> int:
    client = HTTPConnection("127.0.0.1", api.port, timeout=30)
    client.request("POST", "/predict", body, {"Content-Type": "application/json"})
    response = client.getresponse()
    response.read()
    client.close()
    return response.status


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, copied: Callable[..., Path], kit: Any) -> Path:
    root = copied(tmp_path_factory.mktemp("api") / "copy")
    for words in (["run"], ["fetch", "model"]):
        kit(root, *words, code=0)
    return root


@pytest.fixture(scope="module")
def row(root: Path) -> str:
    return json.dumps({"records": [json.loads((root / "model" / "contract.json").read_text("utf-8"))["example"]]})


@pytest.fixture
def start(root: Path, serve: Callable[..., Any]) -> Callable[..., Any]:
    def make(**environ: str) -> Any:
        api = serve(root, "--folder", "model", **{"KIT_SERVING__SECONDS_TO_ASK": str(SECONDS)} | environ)
        api.wait_for()
        return api

    return make


def test_the_end_costs_no_request(start, load, row):
    """32 clients ask again and again on connections that they keep; once it has ended, no connection is had at all."""
    api = start()
    with load(api, row, clients=32) as asking:
        time.sleep(2)
        assert api.end() == 0
        time.sleep(0.5)
    assert asking.harmed[0] == 0
    assert asking.lost
    assert [one for one in asking.lost if "refused" not in one] == []


def test_held_connections_keep_nobody_out_and_fill_no_log(start, row):
    """More than there may be, and more than the process has descriptors for."""
    api = start(KIT_SERVING__MAX_CONNECTIONS="64", KIT_SERVING__SECONDS_TO_ASK="60")
    before = len(api.said)
    with ExitStack() as opened:
        for number in range(400):
            held = opened.enter_context(socket.create_connection(("127.0.0.1", api.port), timeout=20))
            if number % 2:
                held.sendall(HEAD)
        began = time.monotonic()
        assert ask(api, row) == 200
        print(f"answered in {time.monotonic() - began:.2f} s beside 400 held connections")  # noqa: T201
        assert time.monotonic() - began < 20
        assert len(psutil.Process(api.process.pid).net_connections()) <= 64 + 2
    assert len(api.said) - before < 1000


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
        assert (len(body) <= SIZE, ask(api, row)) == (True, 200)
        memory = psutil.Process(api.process.pid).memory_info
        before, most, statuses = memory().rss, 0, list[int]()
        asked = Thread(target=lambda api=api, body=body, got=statuses: got.append(ask(api, body)))
        asked.start()
        while asked.is_alive():
            most = max(most, memory().rss)
            time.sleep(0.001)
        print(f"{name}: {len(body) / 1e6:.1f} MB cost {(most - before) / 1e6:.1f} MB, {statuses}")  # noqa: T201
        assert statuses == [422]
        assert most - before <= 3 * SIZE, name
