"""What an app says of the model that it serves, in an OpenAPI document that is true, and who has to bring a key."""

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from starlette.testclient import TestClient

from starterkit.errors import SettingsError
from starterkit.serving.http import keys

KEY = "schlüssel-of-sixteen"


def test_an_app_says_that_it_runs_and_what_a_client_needs_of_the_model(houses_client, days, days_client):
    assert houses_client.get("/health/live").json() == {"status": "live"}
    ready = {"status": "ready", "model": {"name": "local.houses", "version": "3"}}
    assert houses_client.get("/health/ready").json() == ready
    for address in ("/health/live", "/health/ready"):  # a balancer may ask for the head alone
        assert (houses_client.head(address).status_code, houses_client.head("/predict").status_code) == (200, 405)
    model, contract = days_client.get("/model").json(), days.contract
    pressure = {"name": "pressure", "type": "float", "unit": "hPa", "nullable": False, "description": ""}
    assert model["columns"][1] == {**pressure, "minimum": 900, "maximum": 1100, "categories": [], "proven": [900, 1100]}
    assert model["columns"][0]["categories"] == ["Graz", "Linz", "Zürich"]
    assert (model["target"]["name"], model["classes"]) == ("weather", ["dry", "rain", "snow"])
    assert (model["title"], model["task"], model["example"]) == ("Weather", "classification", contract.example)
    assert model["parity"]["largest"] == contract.parity.largest
    holdout, naive = contract.scores["log_loss"]
    assert next(iter(model["scores"].items())) == ("log_loss", {"holdout": holdout, "naive": naive})
    assert naive > holdout > 0
    assert abs(datetime.fromisoformat(model["since"]) - datetime.now(UTC)) < timedelta(hours=1)
    told = {name: getattr(contract.lineage, name) for name in ("run", "commit", "data_digest")}
    assert model["lineage"] == told
    assert "private.db" not in str(model)
    assert houses_client.get("/model").json()["name"] == "local.houses"  # apps share nothing
    assert "pressure" not in houses_client.get("/openapi.json").text


def valid(document: dict[str, Any], schema: dict[str, Any], value: object) -> bool:
    return Draft202012Validator({**schema, "components": document["components"]}).is_valid(value)


@pytest.mark.parametrize("name", ["houses", "days"])
def test_try_it_out_works_with_the_example(request, name):
    with TestClient(request.getfixturevalue(name).app(max_rows=2)) as client:
        document = client.get("/openapi.json").json()
        predict = document["paths"]["/predict"]["post"]
        offered = predict["requestBody"]["content"]["application/json"]
        assert valid(document, offered["schema"], offered["example"])
        assert not valid(document, offered["schema"], {"records": offered["example"]["records"] * 3})
        assert not valid(document, offered["schema"], {"records": [{}]})
        answer = client.post("/predict", json=offered["example"])
        promised = predict["responses"]["200"]["content"]["application/json"]["schema"]
        assert valid(document, promised, answer.json())
        refused = predict["responses"]["422"]["content"]["application/problem+json"]["schema"]
        assert valid(document, refused, client.post("/predict", json={"records": [{}]}).json())
        assert not valid(document, refused, answer.json())


def test_columns_say_type_unit_and_range(houses_client, days_client):
    record = houses_client.get("/openapi.json").json()["components"]["schemas"]["Record"]
    assert record["properties"] == {
        "area": {"type": "number", "description": "living area, in m²", "minimum": 10, "maximum": 500},
        "rooms": {"type": "integer", "minimum": 1, "maximum": 20},
        "income": {"type": ["number", "null"], "description": "in €", "minimum": -480_000, "maximum": 580_000},
    }
    assert record["required"] == ["area", "rooms", "income"]
    record = days_client.get("/openapi.json").json()["components"]["schemas"]["Record"]
    assert record["properties"]["city"] == {"type": ["string", "null"], "enum": ["Graz", "Linz", "Zürich", None]}


def test_the_first_address_has_a_page_for_people_and_json_for_programs(houses_client):
    told = houses_client.get("/")
    assert (told.json()["model"], told.headers["vary"]) == ({"name": "local.houses", "version": "3"}, "Accept")
    places = [one for one in told.json().values() if isinstance(one, str)]
    assert {houses_client.get(place).status_code for place in places} == {200, 405}  # 405: /predict is posted to
    page = houses_client.get("/", headers={"accept": "text/html,*/*;q=0.8"})
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert "house" not in page.text.lower()
    said = page.headers["content-security-policy"]
    assert ("default-src 'none'" in said, "unsafe" in said) == (True, False)
    for address in ("/docs", "/redoc"):
        page = houses_client.get(address)
        assert "default-src 'self'" in page.headers["content-security-policy"]
        assert f"<title>{houses_client.get('/openapi.json').json()['info']['title']} - " in page.text
        loaded = re.findall(r"""(?:src|href)=["'](?!data:)([^"']+)""", page.text)
        assert [one for one in loaded if not one.startswith("/") or not houses_client.get(one).is_success] == []


@pytest.fixture(scope="module")
def guarded(houses):
    with TestClient(houses.app(require_api_key=True, api_key=KEY)) as client:
        yield client


def test_without_the_key_there_is_no_answer(guarded):
    for sent in (None, "", KEY[:-1], KEY + "x", "schlussel-of-sixteen", "ü", "\xff"):
        headers = {} if sent is None else {"X-API-Key": sent.encode()}
        for method, address in (("POST", "/predict"), ("GET", "/model"), ("GET", "/metrics")):
            answer = guarded.request(method, address, headers=headers, content=b"broken")
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "APIKey")
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["errors"][0]["kind"] == "key"
            assert KEY not in answer.text
    assert 'reason="key"' in guarded.get("/metrics", headers={"Authorization": f"Bearer {KEY}".encode()}).text


def test_with_the_key_there_is_an_answer_and_without_it_nothing_of_the_model(houses, guarded, days):
    headers = {"X-API-Key": KEY.encode()}
    assert guarded.get("/model", headers=headers).status_code == 200
    assert guarded.post("/predict", headers=headers, json={"records": [houses.example]}).status_code == 200
    for address in ("/health/live", "/health/ready", "/docs", "/openapi.json"):
        assert guarded.get(address).status_code == 200
    with TestClient(houses.app(api_key=KEY)) as client:  # one that is not required is not asked for
        assert client.get("/model").status_code == 200
    bare, whole = (guarded.get("/openapi.json", headers=sent) for sent in ({}, {"X-API-Key": KEY.encode()}))
    assert "living area" in whole.text
    assert ("model" in guarded.get("/", headers=headers).json(), "model" in guarded.get("/").json()) == (True, False)
    for words in ("area", "rooms", "income", "House", "price"):
        assert words not in bare.text + guarded.get("/docs").text


ANY = {"200", "405", "408", "500", "503"}
ASKED = ANY | {"400", "401", "413", "415"}
STATUSES = dict.fromkeys(("/ping", "/health", "/version", "/health/live", "/health/ready"), ANY)
STATUSES |= {"/predict": ASKED | {"422"}, "/invocations": ASKED, "/v2/models/{model}/infer": ASKED | {"404"}}
STATUSES |= {"/model": ANY | {"401"}}


def test_each_address_names_every_status_and_shape_that_can_come_and_the_key_where_it_is_asked_for(guarded, houses):
    document = guarded.get("/openapi.json").json()
    paths = document["paths"]
    assert paths["/predict"]["post"]["security"] == [{"APIKeyHeader": []}]
    assert document["components"]["securitySchemes"]["APIKeyHeader"]["name"] == "X-API-Key"
    assert "security" not in paths["/health/ready"]["get"]
    assert KEY not in json.dumps(document, ensure_ascii=False)
    assert {path: set(next(iter(methods.values()))["responses"]) for path, methods in paths.items()} == STATUSES
    for other in ("/invocations", "/v2/models/{model}/infer"):  # other protocols' forms, for refusals too
        assert all("application/json" in told["content"] for told in paths.pop(other)["post"]["responses"].values())
    for methods in paths.values():
        for status, told in next(iter(methods.values()))["responses"].items():
            assert list(told["content"]) == ["application/json" if status == "200" else "application/problem+json"]
    with pytest.raises(SettingsError) as refusal:
        houses.app(require_api_key=True)
    assert refusal.value.hint == "Set KIT_SERVING__API_KEY or put it into secrets/KIT_SERVING__API_KEY"


def test_keys_of_a_file_come_and_go_while_the_api_runs(houses, tmp_path, monkeypatch):
    monkeypatch.setattr(keys, "_SECONDS_BETWEEN_LOOKS", 0.0)
    file = tmp_path / "keys"

    def write(*names: str) -> None:
        lines = [f"{name} {hashlib.sha256(name.encode()).hexdigest()}" for name in names]
        (tmp_path / "new").write_text("\n".join(["# whose", *lines]))
        (tmp_path / "new").replace(file)

    write("ada", "bob")
    with TestClient(houses.app(require_api_key=True, api_key=KEY, api_keys_file=str(file))) as client:

        def statuses() -> list[int]:
            sent = ({"x-api-key": "ada"}, {"authorization": "Bearer bob"}, {"x-api-key": "eve"})
            mine = {"x-amzn-sagemaker-custom-attributes": b"X-API-Key=" + KEY.encode()}  # as SageMaker hands it on
            return [client.get("/model", headers=one).status_code for one in (*sent, mine)]

        assert statuses() == [200, 200, 401, 200]
        write("eve", "bob")
        assert statuses() == [401, 200, 200, 200]
        file.write_text("no keys")  # half written: what was read before goes on
        assert statuses() == [401, 200, 200, 200]
    with pytest.raises(SettingsError, match="no list of keys at line 1"):
        houses.app(require_api_key=True, api_keys_file=str(file))
