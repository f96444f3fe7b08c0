"""The OpenAPI document is true: what it allows is answered, what it promises comes."""

import json
import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient


def valid(document: dict[str, Any], schema: dict[str, Any], value: object) -> bool:
    return Draft202012Validator({**schema, "components": document["components"]}).is_valid(value)


@pytest.fixture(params=["houses", "days"])
def exported(request):
    return request.getfixturevalue(request.param)


def test_try_it_out_works_with_the_example(exported):
    with TestClient(exported.app(max_rows=2)) as client:
        document = client.get("/openapi.json").json()
        predict = document["paths"]["/predict"]["post"]
        offered = predict["requestBody"]["content"]["application/json"]
        assert valid(document, offered["schema"], offered["example"])
        assert not valid(document, offered["schema"], {"records": offered["example"]["records"] * 3})
        assert not valid(document, offered["schema"], {"records": [{}]})
        answer = client.post("/predict", json=offered["example"])
        promised = predict["responses"]["200"]["content"]["application/json"]["schema"]
        assert valid(document, promised, answer.json())
        refused = predict["responses"]["default"]["content"]["application/problem+json"]["schema"]
        assert valid(document, refused, client.post("/predict", json={"records": [{}]}).json())
        assert not valid(document, refused, answer.json())


def test_the_page_bears_the_models_title(houses_client):
    title = houses_client.get("/openapi.json").json()["info"]["title"]
    assert f"<title>{title} - Swagger UI</title>" in houses_client.get("/docs").text


def test_columns_say_type_unit_and_range(houses_client, days_client):
    record = houses_client.get("/openapi.json").json()["components"]["schemas"]["Record"]
    assert record["properties"] == {
        "area": {"type": "number", "description": "living area, in m²", "minimum": 10, "maximum": 500},
        "rooms": {"type": "integer", "minimum": 1, "maximum": 20},
        "income": {"type": ["number", "null"], "description": "in €"},
    }
    assert record["required"] == ["area", "rooms", "income"]
    record = days_client.get("/openapi.json").json()["components"]["schemas"]["Record"]
    assert record["properties"]["city"] == {"type": ["string", "null"], "enum": ["Graz", "Linz", "Zürich", None]}


def test_the_key_is_described_where_it_is_asked_for(houses):
    with TestClient(houses.app(require_api_key=True, api_key="k" * 16)) as client:
        document = client.get("/openapi.json").json()
    predict = document["paths"]["/predict"]["post"]
    assert predict["security"] == [{"APIKeyHeader": []}]
    assert document["components"]["securitySchemes"]["APIKeyHeader"]["name"] == "X-API-Key"
    assert "security" not in document["paths"]["/health/ready"]["get"]
    assert json.dumps(document).count("kkkk") == 0


@pytest.mark.parametrize("page", ["/docs", "/redoc"])
def test_pages_load_nothing_from_elsewhere(houses_client, page):
    loaded = re.findall(r"""(?:src|href)=["']([^"']+)""", houses_client.get(page).text)
    assert loaded
    for address in loaded:
        if not address.startswith("data:"):
            assert address.startswith("/")
            assert houses_client.get(address).status_code == 200
