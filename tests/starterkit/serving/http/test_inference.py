"""The Open Inference Protocol: tensors in, the same answers as everywhere, and refusals that name row and column."""

from typing import Any

import pytest

ROWS = [{"area": 100.0, "rooms": 3, "income": 4e4}, {"area": 20.5, "rooms": 1, "income": None}]
DAYS = [{"city": "Graz", "pressure": 990.0, "windy": True}, {"city": None, "pressure": 910.5, "windy": False}]
INFER = "/v2/models/local.houses/infer"


def tensors(rows: list[dict[str, Any]], **datatypes: str) -> list[dict[str, Any]]:
    """One a column."""
    shape = [len(rows)]
    return [
        {"name": name, "shape": shape, "datatype": datatypes.get(name, "FP64"), "data": [row[name] for row in rows]}
        for name in rows[0]
    ]


def test_a_regression_is_answered_as_at_predict(houses_client):
    expected = houses_client.post("/predict", json={"records": ROWS}).json()["predictions"]
    flat = [value for row in ROWS for value in row.values()]
    matrix: dict[str, Any] = {"name": "any", "shape": [2, 3], "datatype": "FP64"}
    for inputs in (
        tensors(ROWS, rooms="INT64")[::-1],
        [one | {"shape": [2, 1]} for one in tensors(ROWS)],
        [matrix | {"data": flat}],
        [matrix | {"data": [flat[:3], flat[3:]]}],
    ):
        told = houses_client.post(INFER, json={"id": "7", "inputs": inputs}).json()
        output = {"name": "price", "datatype": "FP64", "shape": [2], "data": expected}
        assert told == {"model_name": "local.houses", "model_version": "3", "id": "7", "outputs": [output]}


def test_a_classification_answers_labels_and_probabilities(days_client):
    body = {"inputs": tensors(DAYS, city="BYTES", windy="BOOL")}
    expected = days_client.post("/predict", json={"records": DAYS}).json()
    told = days_client.post("/v2/models/local.days/versions/1/infer", json=body).json()["outputs"]
    assert [one["name"] for one in told] == ["weather", "weather_is_dry", "weather_is_rain", "weather_is_snow"]
    assert (told[0]["datatype"], told[0]["data"]) == ("BYTES", expected["predictions"])
    assert told[1]["data"] == [row["dry"] for row in expected["probabilities"]]
    wanted = days_client.post("/v2/models/local.days/infer", json=body | {"outputs": [{"name": "weather_is_rain"}]})
    assert [one["name"] for one in wanted.json()["outputs"]] == ["weather_is_rain"]


GOOD = tensors(ROWS)
REFUSED = [
    ([GOOD[0] | {"data": [100.0, 9.0]}, *GOOD[1:]], "row 1, column 'area': is below 10"),
    ([GOOD[0] | {"data": [100.0, None]}, *GOOD[1:]], "row 1, column 'area': has no value"),
    ([GOOD[0], GOOD[1] | {"data": [1.5, 2]}, GOOD[2]], "row 0, column 'rooms': is not a whole number"),
    ([GOOD[0] | {"data": [True, 1.0]}, *GOOD[1:]], "row 0, column 'area': is not a number"),
    ([GOOD[0] | {"datatype": "BYTES", "data": ["a", "b"]}, *GOOD[1:]], "row 0, column 'area': is not a number"),
    ([GOOD[0] | {"datatype": "FP99"}, *GOOD[1:]], "the datatype of 'area' is unknown"),
    ([GOOD[0] | {"shape": [3]}, *GOOD[1:]], "the data of 'area' is not what its shape says"),
    ([GOOD[0] | {"shape": [1], "data": [100.0]}, *GOOD[1:]], "the inputs are not of one length"),
    (GOOD[1:], "the input 'area' is missing"),
    ([*GOOD, GOOD[0] | {"name": "colour"}], "'colour' is no input"),
    ([*GOOD, GOOD[0]], "an input stands twice"),
    (tensors(ROWS * 2), "there are 4 rows"),
    ([{"name": "x", "shape": [1, 2], "datatype": "FP64", "data": [1, 2]}], "an input of two dimensions is not of 3"),
    ([], "the input 'area' is missing"),
    ([{"name": "area"}], "the body is no request to infer"),
]


@pytest.mark.parametrize(("inputs", "said"), REFUSED)
def test_what_is_refused_says_where(houses_client, inputs, said):
    told = houses_client.post(INFER, json={"inputs": inputs})
    assert (told.status_code, [*told.json()]) == (400, ["error"])
    assert told.json()["error"].startswith(said)


def test_bodies_types_and_keys(houses_client):
    for headers, body, status in (
        ({"inference-header-content-length": "9"}, b"{}", 400),
        ({"content-type": "text/plain"}, b"{}", 415),
        ({"origin": "http://elsewhere"}, b"{}", 415),
        ({}, b'{"inputs": [], "inputs": []}', 400),
        ({}, b"no JSON", 400),
        ({}, b"[" * 1999, 400),
    ):
        told = houses_client.post(INFER, content=body, headers=headers)
        assert (told.status_code, [*told.json()]) == (status, ["error"]), told.text
    assert houses_client.get(INFER).status_code == 405


def test_what_is_asked_before(houses_client):
    assert houses_client.get("/v2/health/ready").json() == {"ready": True}
    assert houses_client.get("/v2/health/live").json() == {"live": True}
    assert houses_client.get("/v2").json()["extensions"] == ["binary_tensor_data"]
    assert houses_client.get("/v2/models/local.houses/ready").json()["ready"]
    told = houses_client.get("/v2/models/local.houses/versions/3").json()
    assert told["inputs"][1] == {"name": "rooms", "datatype": "INT64", "shape": [-1]}
    assert told["outputs"] == [{"name": "price", "datatype": "FP64", "shape": [-1]}]
    assert houses_client.get("/v2/models/other").status_code == 404
