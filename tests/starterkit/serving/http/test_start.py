"""From the start to an app that says what it serves."""

import pytest
from starlette.testclient import TestClient

from starterkit.errors import ContractError
from starterkit.serving.http.app import create_app
from starterkit.settings import ServingSettings


def test_nothing_is_loaded_before_the_start(houses):
    loaded = []
    app = create_app(lambda: loaded.append(1) or houses.model, ServingSettings.model_validate({}))
    client = TestClient(app)  # without its context there is no start
    assert client.get("/health/live").json() == {"status": "live"}
    for answer in (client.get("/health/ready"), client.get("/model"), client.post("/predict")):
        assert answer.status_code == 503
        assert answer.json()["detail"] == "no model is loaded. Try again later."
    assert loaded == []
    with client:
        ready = {"status": "ready", "model": {"name": "local.houses", "version": "3"}}
        assert client.get("/health/ready").json() == ready
        assert client.get("/health/live").json() == {"status": "live"}
    assert loaded == [1]


def test_apps_share_nothing(houses, days):
    with TestClient(houses.app()) as first, TestClient(days.app()) as second:
        assert first.get("/model").json()["name"] == "local.houses"
        assert second.get("/model").json()["name"] == "local.days"
        assert "area" not in second.get("/openapi.json").text


def test_a_model_that_cannot_be_opened_stops_the_start():
    def load():
        raise ContractError("model.onnx is not there", "Export the model again")

    with pytest.raises(ContractError), TestClient(create_app(load, ServingSettings.model_validate({}))):
        pass


def test_the_model_says_what_a_client_needs(days, days_client):
    model = days_client.get("/model").json()
    contract = days.contract
    assert model["columns"][1] == {
        "name": "pressure",
        "type": "float",
        "unit": "hPa",
        "nullable": False,
        "minimum": 900,
        "maximum": 1100,
        "categories": [],
        "description": "",
    }
    assert model["columns"][0]["categories"] == ["Graz", "Linz", "Zürich"]
    assert model["target"]["name"] == "weather"
    assert model["classes"] == ["dry", "rain", "snow"]
    assert (model["title"], model["task"], model["example"]) == ("Weather", "classification", contract.example)
    assert model["parity"]["largest"] == contract.parity.largest
    digest = contract.lineage.data_digest
    assert model["lineage"] == {"run": "0123456789abcdef", "commit": "fedcba", "data_digest": digest}
    assert "private.db" not in str(model)
