"""The champion changes while requests come; what cannot take its place is refused, and told; MLflow's message wakes."""

import base64
import hmac
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace

import pytest
from pydantic import SecretStr
from starlette.testclient import TestClient

from starterkit.errors import ContractError, Refused, TrackingError
from starterkit.serving import follower as module
from starterkit.serving.follower import Bell, Follower, Named
from starterkit.serving.http import create_app
from starterkit.serving.http.prometheus import Metrics
from starterkit.settings import ServingSettings

GOOD = {"area": 100.0, "rooms": 3, "income": 40000.0}
SECRET, LONG = "a secret of the webhook's", b" " * 70_000


class Registry:
    """A champion that a test moves, and what happens when it is asked for."""

    def __init__(self, served):
        self.served, self.failure, self.is_away, self.fetched, self.kept = served, None, False, 0, []

    def named(self):
        if self.is_away:
            raise TrackingError("the server is away", "Start it")
        return Named(self.served.version, self.served.mark)

    @contextmanager
    def opened(self, wanted):
        self.fetched += 1
        if self.failure:
            raise self.failure
        yield self.served
        self.kept.append(wanted.version)


@pytest.fixture
def live(houses):
    registry, metrics = Registry(houses.model), Metrics()
    app = create_app(houses.model, ServingSettings(), metrics)
    return registry, Follower(houses.model, registry, app.swap, metrics.swapped), TestClient(app)


def test_a_new_champion_answers_and_no_request_fails_meanwhile(houses, live):
    registry, follower, client = live
    answers, ends = [], threading.Event()

    def ask() -> None:
        while not ends.is_set():
            answers.append(client.post("/predict", json={"records": [GOOD]}))

    asking = threading.Thread(target=ask)
    asking.start()
    for number in range(4, 24):
        registry.served = replace(houses.model, version=str(number))
        follower.look()
    ends.set()
    asking.join()
    assert {answer.status_code for answer in answers} == {200}
    assert all(one.json()["model"]["version"] == one.headers["x-model-version"] for one in answers)
    assert client.get("/health/ready").json()["model"]["version"] == "23"
    assert 'starterkit_swaps_total{outcome="swapped"} 20' in client.get("/metrics").text
    registry.served = replace(houses.model, version="23", mark="of a server that was set up anew")
    follower.look()
    assert (registry.fetched, registry.kept[-1]) == (21, "23")


def test_what_cannot_be_had_is_tried_again_ever_later(live, monkeypatch):
    registry, follower, client = live
    now = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: now[0]))
    away, doubted = TrackingError("the files are away", "Start it"), Refused("no gate has passed it", "Ask it")
    for version, failure in (("4", away), ("5", doubted)):
        registry.served = replace(registry.served, version=version)
        registry.failure, registry.fetched = failure, 0
        tried = []
        for second in range(600):
            now[0], before = now[0] + 1, registry.fetched
            follower.look()
            tried += [second] * (registry.fetched - before)
        gaps = [later - earlier for earlier, later in pairwise(tried)]
        assert 4 <= len(tried) <= 9
        assert gaps == sorted(gaps)
    follower.look(called=True)
    assert registry.fetched == len(tried) + 1
    registry.failure, registry.is_away = None, True
    follower.look()
    assert client.get("/health/ready").json()["registry"] == "does not give its champion"
    assert "starterkit_registry_missed_processes 1" in client.get("/metrics").text
    registry.is_away = False
    follower.look(called=True)
    assert client.get("/health/ready").json() == {"status": "ready", "model": {"name": "local.houses", "version": "5"}}
    assert "starterkit_registry_missed_processes 0" in client.get("/metrics").text


def test_what_cannot_take_its_place_is_refused_and_told(houses, days, live):
    registry, follower, client = live
    for version, served, failure, said in (
        ("4", houses.model, ContractError("model.onnx is not the file", "Export it"), "model.onnx is not the file"),
        ("5", houses.model, ValueError("a value of a person"), "ValueError"),
        ("6", days.model, None, "it has other columns than the version that answers"),
    ):
        registry.served, registry.failure = replace(served, version=version), failure
        follower.look()
        follower.look()  # it is not tried again
        ready = client.get("/health/ready").json()
        assert (ready["model"]["version"], ready["refused"]) == ("3", f"version {version}: {said}")
    assert (registry.fetched, registry.kept) == (3, [])
    assert 'starterkit_swaps_total{outcome="refused"} 3' in client.get("/metrics").text
    registry.served, registry.failure = houses.model, None
    follower.look()  # the alias is back where it was
    assert client.get("/health/ready").json() == {"status": "ready", "model": {"name": "local.houses", "version": "3"}}


def signed(body: bytes, secret: str = SECRET, age: float = 0, **changed: str) -> dict[str, str]:
    stamp = str(int(time.time() - age))
    digest = hmac.digest(secret.encode(), b"1." + stamp.encode() + b"." + body, "sha256")
    signature = f"v1,{base64.b64encode(digest).decode()}"
    return {"X-MLflow-Delivery-Id": "1", "X-MLflow-Timestamp": stamp, "X-MLflow-Signature": signature, **changed}


def test_a_signed_message_wakes_and_nothing_else_does(houses):
    rung: list[int] = []
    settings = ServingSettings(webhook_secret=SecretStr(SECRET))
    client = TestClient(create_app(houses.model, settings, ring=lambda: rung.append(1)))
    body = b'{"data": {"alias": "champion", "version": "99"}}'
    later = str(int(time.time()) + 100)
    unsigned = [{}, signed(body, "another secret"), signed(body, age=900), signed(body, age=-900), signed(body + b" ")]
    for name, value in (("Timestamp", later), ("Timestamp", "²"), ("Delivery-Id", "ü")):
        unsigned.append(signed(body, **{f"X-MLflow-{name}": value}))
    for headers, sent, status in [(one, body, 401) for one in unsigned] + [(signed(LONG), LONG, 413)]:
        encoded = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = client.post("/webhooks/mlflow", content=sent, headers=encoded)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert client.get("/webhooks/mlflow").status_code == 405
    assert rung == []
    assert client.post("/webhooks/mlflow", content=body, headers=signed(body)).status_code == 204
    assert rung == [1]
    for without in (create_app(houses.model, settings), create_app(houses.model, ServingSettings(), ring=print)):
        assert TestClient(without).post("/webhooks/mlflow", content=body, headers=signed(body)).status_code == 404


def test_a_bell_wakes_its_own_process_and_its_siblings(tmp_path):
    for file in (None, tmp_path / "bell"):
        mine, other = Bell(file), Bell(file)
        assert not mine.wait(0.01)
        mine.ring()
        assert (mine.wait(5), other.wait(0.6), other.wait(0.01)) == (True, file is not None, False)
