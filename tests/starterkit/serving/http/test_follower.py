"""The champion changes while requests come; what cannot take its place is refused, and told."""

import threading
from dataclasses import replace

import pytest
from starlette.testclient import TestClient

from starterkit.errors import ContractError, TrackingError
from starterkit.serving.follower import Champion, Follower
from starterkit.serving.http.app import create_app
from starterkit.serving.http.prometheus import Metrics
from starterkit.settings import ServingSettings

GOOD = {"area": 100.0, "rooms": 3, "income": 40000.0}


class Registry:
    """A champion that a test moves, and what happens when it is asked for."""

    def __init__(self, served):
        self.served, self.failure = served, None

    def version(self):
        if isinstance(self.failure, TrackingError):
            raise self.failure
        return self.served.version

    def open(self):
        if self.failure:
            raise self.failure
        return self.served


@pytest.fixture
def live(houses):
    """A registry, a follower and a client of the app that follows."""
    registry, metrics = Registry(houses.model), Metrics()
    app = create_app(houses.model, ServingSettings(), metrics)
    follower = Follower(houses.model, Champion(registry.version, registry.open), app.swap, metrics.swapped)
    return registry, follower, TestClient(app)


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


def test_a_champion_that_could_not_be_fetched_is_tried_again(houses):
    outcomes, away = [], iter([TrackingError("the server is away", "Start it"), None])

    def fetch():
        if failure := next(away):
            raise failure
        return replace(houses.model, version="4")

    follower = Follower(houses.model, Champion(lambda: "4", fetch), lambda _: None, lambda *said: outcomes.append(said))
    for _ in range(3):
        follower.look()
    assert outcomes == [("unreachable", "the server is away"), ("swapped", "")]


def test_what_cannot_take_its_place_is_refused_and_told(houses, days, live):
    registry, follower, client = live
    registry.failure = TrackingError("the server is away", "Start it")
    follower.look()
    assert "refused" not in client.get("/health/ready").json()
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
    text = client.get("/metrics").text
    assert 'starterkit_swaps_total{outcome="refused"} 3' in text
    assert 'starterkit_swaps_total{outcome="unreachable"} 1' in text
    registry.served, registry.failure = replace(houses.model, version="7"), None
    follower.look()
    assert client.get("/health/ready").json() == {"status": "ready", "model": {"name": "local.houses", "version": "7"}}
