"""Requests over real HTTP to a server that notes them and answers as it is told: counted, measured, held to limits."""

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from starterkit.errors import KitError, UserError
from starterkit.progress import Event
from starterkit.serving.loadtest import LimitResult, LoadReport, LoadTest, TrafficSender, address_of, usage_of
from starterkit.settings import LoadSettings, ServingSettings


class Api(ThreadingHTTPServer):
    """An API that is ready after some looks, and answers with these statuses, of which the last one stays."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.looks_before_ready, self.statuses = 0, [200]
        self.received: list[tuple[str | None, Any]] = []

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Api

    def do_GET(self) -> None:
        self.server.looks_before_ready -= 1
        ready = self.path == "/health/ready" and self.server.looks_before_ready < 0
        self._answer(200 if ready else 503, {"detail": "no model is loaded. Try again later."})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.headers.get("X-API-Key"), json.loads(body)))
        statuses = self.server.statuses
        status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
        if status == 0:
            self.close_connection = True
            return
        self._answer(status, {"detail": "row 0: is below 10."})

    def _answer(self, status: int, content: dict[str, str]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture
def api() -> Iterator[Api]:
    with Api() as server:
        Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


RECORDS = [{"bmi": 20.5, "sex": 1}, {"bmi": None, "sex": 2}]


def test_records_are_sent_in_turn_each_in_a_request_of_its_own_at_the_rate(api):
    sent = TrafficSender(api.address).send(RECORDS, count=3, rate=1000)
    bodies = [body for _, body in api.received]
    assert bodies == [{"records": [RECORDS[0]]}, {"records": [RECORDS[1]]}, {"records": [RECORDS[0]]}]
    assert (sent.answered, sent.refused, sent.why) == (3, 0, "")
    assert 0 < sent.median_ms <= sent.p95_ms
    sent.require_answers()
    began = time.monotonic()
    TrafficSender(api.address).send(RECORDS, count=6, rate=20)
    assert time.monotonic() - began >= 5 / 20


@pytest.mark.parametrize("key", ["schlüssel-0123456789", "ключ-0123456789-ключ"])
def test_the_key_is_sent_where_there_is_one_and_as_the_api_compares_it(api, key):
    assert TrafficSender(api.address, key).send(RECORDS, 1, 1000).answered == 1
    TrafficSender(api.address).send(RECORDS, 1, 1000)
    (given, none) = (key for key, _ in api.received)
    assert (given.encode("latin-1"), none) == (key.encode(), None)  # headers are read as Latin-1
    with pytest.raises(UserError, match="control character") as refused:
        TrafficSender(api.address, "0123456789\n0123456789")
    assert "0123456789" not in str(refused.value)


def test_a_slow_rate_does_not_meet_a_connection_that_the_api_closed(api):
    api.RequestHandlerClass = type("Impatient", (api.RequestHandlerClass,), {"timeout": 0.5})
    sent = TrafficSender(api.address).send(RECORDS, count=2, rate=0.5)
    assert (sent.answered, sent.why) == (2, "")


def test_refusals_are_counted_and_a_connection_that_is_lost_is_opened_again(api):
    api.statuses = [200, 422, 500, 200]
    sent = TrafficSender(api.address).send(RECORDS, 5, 1000)
    assert str(sent).startswith("3 answered, 2 refused; median ")
    with pytest.raises(KitError, match=r"^2 of 5 requests were refused: 422: row 0: is below 10\.$"):
        sent.require_answers()
    api.statuses = [200, 0, 200]
    sent = TrafficSender(api.address).send(RECORDS, 3, 1000)
    assert (sent.answered, sent.refused) == (2, 1)
    assert "closed" in sent.why
    api.statuses = [401]
    assert str(TrafficSender(api.address).send(RECORDS, 2, 1000)) == "0 answered, 2 refused"  # without a latency


def test_it_waits_until_the_api_is_ready_but_not_for_ever(api):
    api.looks_before_ready = 2
    events = list[Event]()
    TrafficSender(api.address, progress=events.append).wait_until_ready(10)
    assert api.looks_before_ready == -1
    assert "503: no model is loaded" in events[1].note
    with pytest.raises(KitError, match=r"127.0.0.1:9 is not ready after 0.3 s: Connection refused"):
        TrafficSender("http://127.0.0.1:9").wait_until_ready(0.3)


def test_what_is_no_address_is_refused_and_the_settings_own_can_be_met():
    for address in ("nonsense", "ftp://127.0.0.1", "http://", "http://127.0.0.1:port", "http://a..b", "http://a/ü"):
        with pytest.raises(UserError, match="is no address of an API"):
            TrafficSender(address)
    for host, met in (("127.0.0.1", "127.0.0.1"), ("0.0.0.0", "127.0.0.1"), ("::1", "[::1]"), ("::", "[::1]")):
        assert address_of(ServingSettings.model_validate({"host": host})) == f"http://{met}:8000"


QUICK = LoadSettings(connections=3, seconds=0.5)


def test_all_connections_ask_all_the_time_and_errors_are_counted(api):
    measured = LoadTest(QUICK, lambda: TrafficSender(api.address)).run(RECORDS)
    assert measured.errors == 0
    assert 3 < len(measured.latencies) <= len(api.received)  # the warm-up does not count
    assert list(measured.latencies) == sorted(measured.latencies)
    assert measured.figures["throughput"] == pytest.approx(len(measured.latencies) / 0.5)
    assert measured.cores is None
    assert "memory_mb" not in measured.figures
    assert {body["records"][0]["sex"] for _, body in api.received} == {1, 2}
    api.statuses = [422]
    measured = LoadTest(QUICK, lambda: TrafficSender(api.address)).run(RECORDS)
    assert (measured.errors > 0, measured.latencies, measured.why[:10]) == (True, [], "422: row 0")
    assert "p95_ms" not in measured.figures
    (errors,) = measured.held_against(LoadSettings())
    assert not errors.passed


def test_cores_and_memory_are_those_of_the_whole_tree_and_its_end_is_one_line(api):
    inner = "kept = bytearray(80_000_000)\nwhile True: pass"
    busy = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    process = subprocess.Popen([sys.executable, "-c", busy], start_new_session=True)
    loaded = LoadTest(QUICK, lambda: TrafficSender(api.address), process.pid)
    try:
        end = time.monotonic() + 20
        while (found := usage_of(process.pid)) is None or found.memory_mb < 80:
            assert time.monotonic() < end
            time.sleep(0.05)
        measured = loaded.run(RECORDS)
    finally:
        os.killpg(process.pid, 9)
        process.wait()
    assert measured.memory_mb > 80
    assert 0 < measured.cores < 1.5
    with pytest.raises(KitError, match="the API ended while it was loaded"):
        loaded.run(RECORDS)


MEASURED = LoadReport(seconds=2, latencies=[float(ms) for ms in range(1, 101)], errors=1, cores=0.5, memory_mb=300)


@pytest.mark.parametrize(
    ("limits", "passed"),
    [
        ({}, {"errors": False}),
        ({"max_errors": 1, "max_p95_ms": 95}, {"errors": True, "p95_ms": True}),
        ({"max_p95_ms": 94.9}, {"errors": False, "p95_ms": False}),
        ({"min_throughput": 50}, {"errors": False, "throughput": True}),
        ({"min_throughput": 50.1}, {"errors": False, "throughput": False}),
        ({"max_cores": 0.5, "max_memory_mb": 299}, {"errors": False, "cores": True, "memory_mb": False}),
    ],
)
def test_limits(limits, passed):
    assert {one.name: one.passed for one in MEASURED.held_against(LoadSettings(**limits))} == passed
    assert not LimitResult("cores", None, 4).passed  # what was not measured


def test_percentiles_are_the_nearest_rank():
    assert [MEASURED.percentile(share) for share in (0.001, 0.5, 0.95, 0.99, 1)] == [1, 50, 95, 99, 100]
    assert math.isinf(LoadReport(1, [], 0).percentile(0.5))
