"""The key guards the model and its answers; health is open."""

import pytest
from starlette.testclient import TestClient

from starterkit.errors import SettingsError
from starterkit.serving.http.app import create_app
from starterkit.settings import ServingSettings

KEY = "schlüssel-of-sixteen"


@pytest.fixture(scope="module")
def guarded(houses):
    with TestClient(houses.app(require_api_key=True, api_key=KEY)) as client:
        yield client


@pytest.mark.parametrize("sent", [None, "", KEY[:-1], KEY + "x", "schlussel-of-sixteen", "ü", "\xff"])
@pytest.mark.parametrize(("method", "address"), [("POST", "/predict"), ("GET", "/model")])
def test_without_the_key_there_is_no_answer(guarded, method, address, sent):
    headers = {} if sent is None else {"X-API-Key": sent.encode()}
    answer = guarded.request(method, address, headers=headers, content=b"broken")
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["www-authenticate"] == "APIKey"
    assert KEY not in answer.text


def test_with_the_key_there_is_one(houses, guarded):
    headers = {"X-API-Key": KEY.encode()}
    assert guarded.get("/model", headers=headers).status_code == 200
    assert guarded.post("/predict", headers=headers, json={"records": [houses.example]}).status_code == 200


@pytest.mark.parametrize("address", ["/health/live", "/health/ready"])
def test_a_balancer_may_ask_for_the_head_alone(houses_client, address):
    assert (houses_client.head(address).status_code, houses_client.head("/predict").status_code) == (200, 405)


@pytest.mark.parametrize("address", ["/health/live", "/health/ready", "/docs", "/openapi.json"])
def test_what_is_open_stays_open(guarded, address):
    assert guarded.get(address).status_code == 200


def test_a_key_that_is_not_required_is_not_asked_for(houses):
    with TestClient(houses.app(api_key=KEY)) as client:
        assert client.get("/model").status_code == 200


def test_a_required_key_has_to_be_set(houses):
    with pytest.raises(SettingsError) as refusal:
        create_app(houses.model, ServingSettings.model_validate({"require_api_key": True}))
    assert refusal.value.hint == "Set KIT_SERVING__API_KEY or put it into secrets/KIT_SERVING__API_KEY"
