"""A load test against a real server: counted, measured, and held against limits."""

import math
import os
import subprocess
import sys
import time

import pytest

from starterkit.errors import KitError
from starterkit.serving.loadtest import LimitResult, LoadReport, LoadTest, TrafficSender, usage_of
from starterkit.settings import LoadSettings

RECORDS = [{"bmi": 20.5, "sex": 1}, {"bmi": None, "sex": 2}]
QUICK = LoadSettings(connections=3, seconds=0.5)


def test_all_connections_ask_all_the_time(api):
    measured = LoadTest(QUICK, lambda: TrafficSender(api.address)).run(RECORDS)
    assert measured.errors == 0
    assert 3 < len(measured.latencies) <= len(api.received)  # the warm-up does not count
    assert list(measured.latencies) == sorted(measured.latencies)
    assert measured.figures["throughput"] == pytest.approx(len(measured.latencies) / 0.5)
    assert measured.cores is None
    assert "memory_mb" not in measured.figures
    assert {body["records"][0]["sex"] for _, body in api.received} == {1, 2}


def test_errors_are_counted_and_the_first_is_told(api):
    api.statuses = [422]
    measured = LoadTest(QUICK, lambda: TrafficSender(api.address)).run(RECORDS)
    assert measured.errors > 0
    assert measured.latencies == []
    assert measured.why.startswith("422: row 0")
    assert "p95_ms" not in measured.figures
    (errors,) = measured.held_against(LoadSettings())
    assert not errors.passed


def test_cores_and_memory_are_those_of_the_whole_tree(api):
    inner = "kept = bytearray(80_000_000)\nwhile True: pass"
    busy = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {inner!r}])"
    process = subprocess.Popen([sys.executable, "-c", busy], start_new_session=True)
    try:
        end = time.monotonic() + 20
        while (found := usage_of(process.pid)) is None or found.memory_mb < 80:
            assert time.monotonic() < end
            time.sleep(0.05)
        measured = LoadTest(QUICK, lambda: TrafficSender(api.address), process.pid).run(RECORDS)
    finally:
        os.killpg(process.pid, 9)
        process.wait()
    assert measured.memory_mb > 80
    assert 0 < measured.cores < 1.5


def test_an_api_that_ends_under_load_is_one_line(api):
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(KitError, match="the API ended while it was loaded"):
        LoadTest(QUICK, lambda: TrafficSender(api.address), process.pid).run(RECORDS)


MEASURED = LoadReport(seconds=2, latencies=[float(ms) for ms in range(1, 101)], errors=1, cores=0.5, memory_mb=300)


@pytest.mark.parametrize(
    ("limits", "passed"),
    [
        ({}, {"errors": False}),
        ({"max_errors": 1}, {"errors": True}),
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
    assert [MEASURED.percentile(share) for share in (0.5, 0.95, 0.99, 1)] == [50, 95, 99, 100]
    assert MEASURED.percentile(0.001) == 1
    assert math.isinf(LoadReport(1, [], 0).percentile(0.5))
