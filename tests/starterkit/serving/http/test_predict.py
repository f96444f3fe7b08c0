"""What the API answers is what the predictor answers."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from starlette.testclient import TestClient

from starterkit.contract import Prediction, Written
from starterkit.serving.http.app import answer, prediction_content
from starterkit.serving.validation import read_records

HOUSES = [
    {"area": 100.0, "rooms": 3, "income": 40000.0},
    {"area": 17, "rooms": 20.0, "income": None},
    {"income": -1e300, "rooms": 1, "area": 500},
]
DAYS = [
    {"city": "Zürich", "pressure": 960.5, "windy": True},
    {"city": None, "pressure": 1049, "windy": False},
    {"windy": False, "pressure": 900, "city": "Linz"},
]


def test_a_regression_answers_as_its_predictor_does(houses, houses_client):
    response = houses_client.post("/predict", json={"records": HOUSES})
    columns = {
        "area": np.array([100.0, 17.0, 500.0]),
        "rooms": np.array([3.0, 20.0, 1.0]),
        "income": np.array([40000.0, math.nan, -1e300]),
    }
    expected = houses.model.predictor.predict(columns).values.tolist()
    assert response.status_code == 200
    assert response.headers["content-type"] == "application/json"
    assert response.json() == {"model": {"name": "local.houses", "version": "3"}, "predictions": expected}
    assert len(set(expected)) == 3


def test_a_classification_answers_with_each_classs_probability(days, days_client):
    found = days_client.post("/predict", json={"records": DAYS}).json()
    expected = days.model.predictor.predict(read_records(days.contract, DAYS))
    assert found["predictions"] == expected.values.tolist() == ["rain", "dry", "snow"]
    for row, probabilities in zip(found["probabilities"], expected.probabilities, strict=True):
        assert list(row) == ["dry", "rain", "snow"]
        assert list(row.values()) == probabilities.tolist()


def test_a_boolean_class_is_no_number(days):
    contract = replace(days.contract, classes=(False, True))
    served = replace(days.model, predictor=SimpleNamespace(contract=contract))
    content = prediction_content(served, Prediction(np.array([1, 0]), np.array([[0.2, 0.8], [0.9, 0.1]])))
    assert [value is True for value in json.loads(answer(content).body)["predictions"]] == [True, False]
    assert json.loads(answer(content).body)["probabilities"][0] == {"false": 0.2, "true": 0.8}


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=latin-1"]
)
@pytest.mark.parametrize("encode", [str.encode, lambda text: text.encode("utf-8-sig")], ids=["plain", "with a BOM"])
def test_json_is_utf8_whatever_the_header_adds(days_client, content_type, encode):
    body = encode(json.dumps({"records": DAYS}, ensure_ascii=False))
    response = days_client.post("/predict", content=body, headers={"content-type": content_type})
    assert response.status_code == 200
    assert response.json()["predictions"] == ["rain", "dry", "snow"]


def written(days):
    """The weather's model, with columns that the file writes otherwise."""
    how = {
        "city": Written(header="Home City", missing=("?",)),
        "pressure": Written(header="p (hPa)", decimal=",", thousands=".", affixes=("hPa",)),
        "windy": Written(flags={"Y": True, "": False}),
    }
    columns = tuple(replace(one, written=how[one.name]) for one in days.contract.columns)
    contract = replace(days.contract, columns=columns)
    model = replace(days.model, predictor=SimpleNamespace(contract=contract, predict=days.model.predictor.predict))
    return replace(days, model=model)


def test_raw_records_are_answered_as_those_in_the_schemas_words(days, days_client):
    raw = [
        {"Home City": "Zürich", "p (hPa)": "960,5 hPa", "windy": "Y", "weather": "?", "": 1},
        {"Home City": "?", "p (hPa)": "1.049", "windy": ""},
        {"windy": False, "pressure": "900", "city": "Linz"},
    ]
    with TestClient(written(days).app(raw_records=True)) as client:
        answered = client.post("/predict", json={"records": raw})
        assert answered.json() == days_client.post("/predict", json={"records": DAYS}).json()
        assert "p (hPa)" in client.get("/openapi.json").json()["components"]["schemas"]["Record"]["description"]
    assert days_client.post("/predict", json={"records": raw}).status_code == 422


@pytest.mark.parametrize(
    ("change", "column", "problem", "mend"),
    [
        ({"p (hPa)": "960.5"}, "pressure", "is not a number", "Give a number in hPa, 900 to 1100"),
        ({"p (hPa)": [960]}, "pressure", "is not a number", "Give a number"),
        ({"p (hPa)": math.inf}, "pressure", "is not a finite number", "Give a number"),
        ({"Home City": "\ud800"}, "city", "is not a text", "Give one of"),
        ({"windy": "maybe"}, "windy", "is not true or false", "Give true or false"),
        ({"p (hPa)": None}, "pressure", "has no value", "Give a number"),
    ],
)
def test_a_raw_record_that_does_not_fit_is_told_where(days, change, column, problem, mend):
    record = {"Home City": "Linz", "p (hPa)": 960.5, "windy": True}
    with TestClient(written(days).app(raw_records=True)) as client:
        answered = client.post("/predict", content=json.dumps({"records": [record, record | change]}), headers=JSON)
        misspelt = client.post("/predict", json={"records": [{"Home Cty": "Linz", "p (hPa)": 950, "windy": True}, 7]})
    (error,) = answered.json()["errors"]
    assert (error["row"], error["column"], error["problem"]) == (1, column, problem)
    assert error["mend"].startswith(mend)
    first, second = misspelt.json()["errors"]
    assert (first["problem"], first["mend"]) == ("is missing", "Did you mean 'Home Cty'?")
    assert (second["row"], second["problem"]) == (1, "is not an object")


JSON = {"content-type": "application/json"}
