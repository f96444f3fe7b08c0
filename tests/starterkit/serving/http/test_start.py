"""What an app says of the model that it serves."""

from starlette.testclient import TestClient


def test_an_app_says_that_it_runs_and_what_it_serves(houses_client):
    assert houses_client.get("/health/live").json() == {"status": "live"}
    ready = {"status": "ready", "model": {"name": "local.houses", "version": "3"}}
    assert houses_client.get("/health/ready").json() == ready


def test_apps_share_nothing(houses, days):
    with TestClient(houses.app()) as first, TestClient(days.app()) as second:
        assert first.get("/model").json()["name"] == "local.houses"
        assert second.get("/model").json()["name"] == "local.days"
        assert "area" not in second.get("/openapi.json").text


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
