"""What the API answers is what the predictor answers."""

import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from starterkit.contract import Prediction
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
