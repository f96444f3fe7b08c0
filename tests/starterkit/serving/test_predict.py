"""What the API answers is what the predictor answers."""

import json
import math

import numpy as np
import pytest

from starterkit.inference import read_records

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
    answer = houses_client.post("/predict", json={"records": HOUSES})
    columns = {
        "area": np.array([100.0, 17.0, 500.0]),
        "rooms": np.array([3.0, 20.0, 1.0]),
        "income": np.array([40000.0, math.nan, -1e300]),
    }
    expected = houses.model.predictor.predict(columns).values.tolist()
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {"model": {"name": "local.houses", "version": "3"}, "predictions": expected}
    assert len(set(expected)) == 3


def test_a_classification_answers_with_each_classs_probability(days, days_client):
    answer = days_client.post("/predict", json={"records": DAYS}).json()
    expected = days.model.predictor.predict(read_records(days.contract, DAYS))
    assert answer["predictions"] == expected.values.tolist() == ["rain", "dry", "snow"]
    for row, probabilities in zip(answer["probabilities"], expected.probabilities, strict=True):
        assert list(row) == ["dry", "rain", "snow"]
        assert list(row.values()) == probabilities.tolist()


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/json; charset=utf-8", "Application/JSON;charset=latin-1"]
)
@pytest.mark.parametrize("encode", [str.encode, lambda text: text.encode("utf-8-sig")], ids=["plain", "with a BOM"])
def test_json_is_utf8_whatever_the_header_adds(days_client, content_type, encode):
    body = encode(json.dumps({"records": DAYS}, ensure_ascii=False))
    answer = days_client.post("/predict", content=body, headers={"content-type": content_type})
    assert answer.status_code == 200
    assert answer.json()["predictions"] == ["rain", "dry", "snow"]
